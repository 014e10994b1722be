//! The pool of Uploaders.

use crate::messages::StoreSegment;
use crate::ports::{ObjectStore, StoreAnswer};
use actix::prelude::*;
use kafka_store_statecharts::failure::Failure;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::oneshot;

type Answer = Result<StoreAnswer, Failure>;

/// Gives each segment to an Uploader that is idle; the others wait in order.
///
/// Each partition has at most one segment here, since the name of the next depends on how this one ends.
/// So what waits is bounded by the number of partitions, and it is spool files, not memory.
#[derive(Debug)]
pub struct UploaderPool {
    idle: Vec<Addr<Uploader>>,
    waiting: VecDeque<(StoreSegment, oneshot::Sender<Answer>)>,
}

impl UploaderPool {
    /// A pool of these Uploaders.
    pub fn new(uploaders: Vec<Addr<Uploader>>) -> UploaderPool {
        UploaderPool { idle: uploaders, waiting: VecDeque::new() }
    }

    fn dispatch(&mut self, ctx: &mut Context<Self>) {
        while !self.waiting.is_empty()
            && let Some(uploader) = self.idle.pop()
            && let Some((segment, reply)) = self.waiting.pop_front()
        {
            let upload = uploader.send(segment).into_actor(self).map(|answer, pool, ctx| {
                let answer = answer.expect("an Uploader lives as long as the process");
                // The writer may be gone, with its partition; the object is in the store all the same.
                let _ = reply.send(answer);
                pool.idle.push(uploader);
                pool.dispatch(ctx);
            });
            ctx.spawn(upload);
        }
    }
}

impl Actor for UploaderPool {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(64);
    }
}

impl Handler<StoreSegment> for UploaderPool {
    type Result = ResponseFuture<Answer>;

    fn handle(&mut self, segment: StoreSegment, ctx: &mut Self::Context) -> Self::Result {
        let (reply, answer) = oneshot::channel();
        self.waiting.push_back((segment, reply));
        self.dispatch(ctx);
        Box::pin(async move { answer.await.expect("the pool answers every segment") })
    }
}

/// Stores one segment at a time.
#[derive(Debug)]
pub struct Uploader {
    store: Arc<dyn ObjectStore>,
}

impl Uploader {
    /// An Uploader into the arbiter store.
    pub fn new(store: Arc<dyn ObjectStore>) -> Uploader {
        Uploader { store }
    }
}

impl Actor for Uploader {
    type Context = Context<Self>;
}

impl Handler<StoreSegment> for Uploader {
    type Result = ResponseFuture<Answer>;

    fn handle(&mut self, StoreSegment(segment, spool): StoreSegment, _: &mut Self::Context) -> Self::Result {
        let store = Arc::clone(&self.store);
        Box::pin(async move {
            // The segment, and with it its spool file, is held until the store has answered.
            let answer = store.store(&segment).await;
            drop((segment, spool));
            answer
        })
    }
}

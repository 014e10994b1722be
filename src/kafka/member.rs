//! The member of the group: the client of the moment, and what its successors are made with.

use super::ffi::{Client, KafkaError};
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Properties that clients are made with. `Debug` shows none of them: some are secrets.
#[derive(Clone)]
pub struct ClientMaker(Vec<(String, String)>);

impl ClientMaker {
    /// A maker of clients with these properties.
    pub fn new(properties: Vec<(String, String)>) -> ClientMaker {
        ClientMaker(properties)
    }

    /// Makes a client. It joins no group before it subscribes.
    ///
    /// # Errors
    /// An unknown property or a bad value.
    pub fn make(&self) -> Result<Client, KafkaError> {
        Client::new(self.0.iter().map(|(name, value)| (&**name, &**value)))
    }
}

impl fmt::Debug for ClientMaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientMaker").finish_non_exhaustive()
    }
}

/// The member of the group, for other threads than the one that polls it. There is none while a failed one is replaced.
#[derive(Clone, Debug, Default)]
pub struct Member(Arc<RwLock<Option<Arc<Client>>>>);

impl Member {
    /// Asks the member something that it answers at once; `None` while there is none.
    pub fn with<T>(&self, ask: impl FnOnce(&Client) -> T) -> Option<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_deref().map(ask)
    }

    fn set(&self, client: Option<Arc<Client>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = client;
    }
}

/// The poll thread's own hold of the member.
#[derive(Debug)]
pub(super) struct OwnMember {
    client: Option<Arc<Client>>,
    shared: Member,
}

impl OwnMember {
    pub(super) fn new(client: Client) -> OwnMember {
        let mut member = OwnMember { client: None, shared: Member::default() };
        member.replace(client);
        member
    }

    /// What other threads are given.
    pub(super) fn shared(&self) -> Member {
        self.shared.clone()
    }

    /// The client. Whoever keeps it keeps it from being destroyed.
    pub(super) fn client(&self) -> Arc<Client> {
        Arc::clone(self.client.as_ref().expect("asked only while there is one"))
    }

    /// Destroys the client; false if that takes longer than `within`, and ends by itself or never. It must not be used
    /// before it is replaced.
    pub(super) fn destroy(&mut self, within: Duration) -> bool {
        self.shared.set(None);
        // Nobody else has it: other threads ask it only while they hold the lock.
        let client = self.client.take();
        let (destroyed, ended) = crossbeam_channel::bounded(1);
        let destroy = move || {
            drop(client);
            // Nobody may wait any more.
            let _ = destroyed.send(());
        };
        std::thread::Builder::new()
            .name("kafka-destroy".to_owned())
            .spawn(destroy)
            .expect("the system starts one more thread");
        ended.recv_timeout(within).is_ok()
    }

    /// Leaves a client alone that could not be closed: to destroy it might wait for the group's coordinator. For the end of
    /// the process.
    pub(super) fn abandon(&self) {
        std::mem::forget(self.client.clone());
    }

    pub(super) fn replace(&mut self, client: Client) {
        let client = Arc::new(client);
        self.shared.set(Some(Arc::clone(&client)));
        self.client = Some(client);
    }
}

impl Deref for OwnMember {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client.as_deref().expect("used only while there is one")
    }
}

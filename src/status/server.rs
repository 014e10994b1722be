//! The server of the status page: read only, on the address that `--status-listen` names.

use super::view::{Sources, View};
use super::{json, metrics, page};
use crate::blocking::BlockingPool;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Server, ServerHandle, ServiceRequest, ServiceResponse};
use actix_web::http::header::{ContentType, HOST};
use actix_web::http::{KeepAlive, StatusCode};
use actix_web::middleware::{DefaultHeaders, Next, from_fn};
use actix_web::web::{self, Data};
use actix_web::{App, Error, HttpResponse, HttpServer};
use kafka_store_statecharts::assignment::AssignmentStateKind;
use kafka_store_statecharts::chart::Kind;
use slog::{Logger, error};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// More connections wait.
const CONNECTIONS_MAX: usize = 32;
/// How long a client may take for its request, and to take a part of the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server that runs until it is stopped.
#[derive(Debug)]
pub struct StatusServer(ServerHandle);

/// What the handlers work with.
#[derive(Clone, Debug)]
struct Shown {
    sources: Arc<Sources>,
    /// What blocks is done there.
    pool: BlockingPool,
    /// Held while it is done: who waits for it and goes away has asked for nothing.
    turn: Arc<Semaphore>,
    /// Only who sits at this machine is to be answered.
    is_local: bool,
}

impl StatusServer {
    /// Serves what connects to the listener. To be called where the actors' runtime runs.
    ///
    /// # Errors
    /// If the listener cannot be used.
    pub fn start(listener: TcpListener, sources: Sources, log: &Logger) -> io::Result<StatusServer> {
        let server = server(listener, sources)?;
        let (handle, log) = (server.handle(), log.clone());
        actix_web::rt::spawn(async move {
            if let Err(error) = server.await {
                error!(log, "the status page is not served"; "reason" => %error);
            }
        });
        Ok(StatusServer(handle))
    }

    /// Ends it, and every connection.
    pub async fn stop(self) {
        self.0.stop(false).await;
    }
}

fn server(listener: TcpListener, sources: Sources) -> io::Result<Server> {
    // The accepted connections have it, too: a client that takes nothing does not keep its place.
    let patience_ms = u32::try_from(PATIENCE.as_millis()).expect("seconds");
    rustix::net::sockopt::set_tcp_user_timeout(&listener, patience_ms)?;
    let shown = Shown {
        sources: Arc::new(sources),
        pool: BlockingPool::new("status", 1),
        turn: Arc::new(Semaphore::new(1)),
        is_local: listener.local_addr()?.ip().is_loopback(),
    };
    let app = move || {
        App::new()
            .app_data(Data::new(shown.clone()))
            .wrap(from_fn(refuse_other_hosts))
            .wrap(
                DefaultHeaders::new()
                    .add(("Cache-Control", "no-store"))
                    .add(("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"))
                    .add(("X-Content-Type-Options", "nosniff")),
            )
            .service(web::resource("/").get(show_page).head(show_page))
            .service(web::resource("/status.json").get(show_json).head(show_json))
            .service(web::resource("/metrics").get(show_metrics).head(show_metrics))
            .service(web::resource("/healthz").get(show_health).head(show_health))
            .service(web::resource("/readyz").get(show_readiness).head(show_readiness))
    };
    Ok(HttpServer::new(app)
        .workers(1)
        .max_connections(CONNECTIONS_MAX)
        .client_request_timeout(PATIENCE)
        // A second request of a connection would have no time limit.
        .keep_alive(KeepAlive::Disabled)
        // The daemon's own.
        .disable_signals()
        .listen(listener)?
        .run())
}

/// Where only this machine is to be answered, a browser on it must not be led here under another name.
async fn refuse_other_hosts(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let is_local = request.app_data::<Data<Shown>>().is_some_and(|shown| shown.is_local);
    let host = request.headers().get(HOST).map(|host| host.to_str().unwrap_or_default());
    if is_local && host.is_some_and(|host| !is_this_machine(host)) {
        let text = "this address is for this machine only: ask for localhost, or give --status-listen another\n";
        return Ok(request.into_response(plain(StatusCode::FORBIDDEN, text.to_owned())));
    }
    next.call(request).await.map(ServiceResponse::map_into_boxed_body)
}

fn is_this_machine(host: &str) -> bool {
    let is_port = |text: &str| text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let after = |name| host.strip_prefix(name).is_some_and(|rest| rest.is_empty() || is_port(rest));
    ["localhost", "127.0.0.1", "[::1]"].into_iter().any(after)
}

impl Shown {
    async fn render(&self, with: impl FnOnce(&View) -> String + Send + 'static) -> String {
        let turn = Arc::clone(&self.turn).acquire_owned().await.expect("it is never closed");
        let sources = Arc::clone(&self.sources);
        let render = move || {
            let _turn = turn;
            with(&sources.view())
        };
        self.pool.run(render).await
    }
}

async fn show_page(shown: Data<Shown>) -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::html()).body(shown.render(page::render).await)
}

async fn show_json(shown: Data<Shown>) -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::json()).body(shown.render(json::render).await)
}

async fn show_metrics(shown: Data<Shown>) -> HttpResponse {
    HttpResponse::Ok().content_type(metrics::CONTENT_TYPE).body(shown.render(metrics::render).await)
}

/// Whether a restart would help: a frozen partition is none of its business, and Kafka's absence neither.
async fn show_health(shown: Data<Shown>) -> HttpResponse {
    match shown.sources.hangs_since() {
        None => plain(StatusCode::OK, "ok\n".to_owned()),
        Some(since) => {
            let text = format!("the thread that polls Kafka has made no step for {} s\n", since.as_secs());
            plain(StatusCode::SERVICE_UNAVAILABLE, text)
        }
    }
}

/// Whether it is a member of the group that has been given its partitions, and nothing has to be tried again; if not, why.
/// What is frozen is told and counts for ready: nothing that a supervisor does helps.
async fn show_readiness(shown: Data<Shown>) -> HttpResponse {
    let state = shown.sources.group_state();
    let troubles = shown.sources.troubles();
    let is_ready = state == AssignmentStateKind::Assigned.as_str() && troubles.is_empty();
    let lines: Vec<String> = std::iter::once(state.to_owned()).chain(troubles).chain(shown.sources.frozen()).collect();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    plain(status, format!("{}\n", lines.join("\n")))
}

fn plain(status: StatusCode, text: String) -> HttpResponse {
    HttpResponse::build(status).content_type(ContentType::plaintext()).body(text)
}

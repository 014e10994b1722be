//! The server of the status page: read only, on the address that `--status-listen` names.

use super::view::Sources;
use super::{json, metrics, page};
use crate::blocking::BlockingPool;
use actix_web::dev::{Server, ServerHandle};
use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use actix_web::middleware::DefaultHeaders;
use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse, HttpServer};
use kafka_store_statecharts::assignment::AssignmentStateKind;
use kafka_store_statecharts::chart::Kind;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// More connections wait.
const CONNECTIONS_MAX: usize = 32;
/// How long a client may take for a request, and keep an idle connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server that runs until it is stopped.
#[derive(Debug)]
pub struct StatusServer(ServerHandle);

/// What the handlers work with. What blocks is done on one thread, one question after the other.
#[derive(Clone, Debug)]
struct Shown {
    sources: Arc<Sources>,
    pool: BlockingPool,
}

impl StatusServer {
    /// Serves what connects to the listener. To be called where the actors' runtime runs.
    ///
    /// # Errors
    /// If the listener cannot be used.
    pub fn start(listener: TcpListener, sources: Sources) -> io::Result<StatusServer> {
        let server = server(listener, sources)?;
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Ok(StatusServer(handle))
    }

    /// Ends it, and every connection.
    pub async fn stop(self) {
        self.0.stop(false).await;
    }
}

fn server(listener: TcpListener, sources: Sources) -> io::Result<Server> {
    let shown = Shown { sources: Arc::new(sources), pool: BlockingPool::new("status", 1) };
    let app = move || {
        App::new()
            .app_data(Data::new(shown.clone()))
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
        .keep_alive(PATIENCE)
        // The daemon's own.
        .disable_signals()
        .listen(listener)?
        .run())
}

impl Shown {
    async fn render(&self, with: impl FnOnce(&super::view::View) -> String + Send + 'static) -> String {
        let sources = Arc::clone(&self.sources);
        self.pool.run(move || with(&sources.view())).await
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

/// Whether it is a member of the group that has been given its partitions.
async fn show_readiness(shown: Data<Shown>) -> HttpResponse {
    let state = shown.sources.group_state();
    let is_ready = state == AssignmentStateKind::Assigned.as_str();
    plain(if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, format!("{state}\n"))
}

fn plain(status: StatusCode, text: String) -> HttpResponse {
    HttpResponse::build(status).content_type(ContentType::plaintext()).body(text)
}

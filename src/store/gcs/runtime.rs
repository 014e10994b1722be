//! The runtime of HTTP.

use std::sync::OnceLock;
use tokio::runtime::{Builder, Runtime};

/// The runtime that connections and tokens live on. It is never dropped: credentials refresh their tokens on it in the
/// background, and fail for good where it is gone.
pub(super) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("gcs")
            .enable_all()
            .build()
            .expect("the system starts two more threads")
    })
}

//! The lab's HTTP port: metrics and health here, the AWS API merged in.
//!
//! The daemon lives in its user's network namespace, so what it binds is the
//! user's own, without root too: 127.0.0.1, unless requests are verified.

mod bind;
pub mod metrics;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

pub use bind::{DEFAULT_PORT, HttpChoice, PortInUse, bind, local};

use crate::host::{Context, HostError};
use metrics::Sample;

/// What is served: asked at each request, on a thread that may wait.
pub trait Source: Send + Sync + 'static {
    /// The lab as it is now; an error if its data plane does not answer.
    fn sample(&self) -> Result<Sample, String>;

    /// Name of the lab, once it runs; an error says what is wrong.
    fn health(&self) -> Result<String, String>;
}

/// The lab's own routes. The AWS API answers `/`.
pub fn router(source: Arc<dyn Source>) -> Router {
    Router::new()
        .route("/metrics", get(serve_metrics))
        .route("/health", get(serve_health))
        .fallback(nothing)
        .with_state(source)
}

/// Serves `router` on a thread of its own until the process ends.
pub fn serve(listener: TcpListener, router: Router) -> Result<SocketAddr, HostError> {
    let address = listener.local_addr().context("HTTP port")?;
    listener.set_nonblocking(true).context("HTTP port")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("HTTP port")?;
    let run = move || {
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, router).await
        })
    };
    thread::Builder::new()
        .name("http".to_owned())
        .spawn(move || {
            if let Err(error) = run() {
                tracing::error!("HTTP port: {error}");
            }
        })
        .context("thread")?;
    Ok(address)
}

/// The URL of a lab that serves at `at`: of all addresses, the machine's own.
pub fn url(at: SocketAddr) -> String {
    let own: IpAddr = match at.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    format!("http://{}", SocketAddr::new(own, at.port()))
}

/// What `/` says to somebody who looks.
pub const INDEX: &str = "vpclab\nPOST /    the AWS API: AWS_ENDPOINT_URL=http://127.0.0.1:PORT\n/metrics  counters for Prometheus (OpenMetrics)\n/health   200 while the lab runs\n";

async fn serve_metrics(State(source): State<Arc<dyn Source>>) -> Response {
    match ask(move || source.sample()).await {
        Ok(sample) => {
            let kind = [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)];
            (kind, metrics::text(&sample)).into_response()
        }
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error + "\n").into_response(),
    }
}

async fn serve_health(State(source): State<Arc<dyn Source>>) -> Response {
    let (status, body) = match ask(move || source.health()).await {
        Ok(lab) => (StatusCode::OK, json!({"status": "ok", "lab": lab})),
        Err(error) => {
            let body = json!({"status": "failed", "reason": error});
            (StatusCode::SERVICE_UNAVAILABLE, body)
        }
    };
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, body.to_string() + "\n").into_response()
}

async fn nothing() -> (StatusCode, &'static str) {
    (
        StatusCode::NOT_FOUND,
        "there is /metrics, /health, and the AWS API at /\n",
    )
}

/// The packet worker is asked by a channel: not on the thread that serves.
async fn ask<T: Send + 'static>(
    question: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let answer = tokio::task::spawn_blocking(question).await;
    answer.unwrap_or_else(|error| Err(error.to_string()))
}

#[cfg(test)]
mod tests;

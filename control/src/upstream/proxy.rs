//! Connections to services, served: each request is answered by `echo` or passed on
//! to the upstream, and nowhere else.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{Request, Response, StatusCode};
use futures_util::StreamExt;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::echo::Echo;
use super::{Client, HEADER_PREFIX, Upstream};
use crate::host::{Context, HostError};

/// How long an upstream may take to accept.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a client may take to say what it wants.
const HEAD: Duration = Duration::from_secs(60);
/// Headers of one connection, not of the request (RFC 9110 §7.6.1).
const OF_A_CONNECTION: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Upstreams by the full names of their services.
pub type Upstreams = Arc<RwLock<BTreeMap<Arc<str>, Upstream>>>;

/// A connection of the lab, whose other end the data plane has.
type Arrival = (UnixStream, Client);

/// Where connections go in; the thread ends with the last of these.
#[derive(Clone, Debug)]
pub struct Proxy {
    arrivals: UnboundedSender<Arrival>,
}

impl Proxy {
    /// Starts the thread that serves.
    ///
    /// # Errors
    /// The operating system has no thread for it.
    pub fn start(upstreams: Upstreams) -> Result<Self, HostError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("services")?;
        let (arrivals, arrived) = unbounded_channel();
        thread::Builder::new()
            .name("aws-services".to_owned())
            .spawn(move || runtime.block_on(serve(arrived, upstreams)))
            .context("thread")?;
        Ok(Self { arrivals })
    }

    /// Takes a client's connection in: what it sends comes out of the other end of
    /// the stream, which is non-blocking. None if there is no room for it.
    pub fn open(&self, client: Client) -> Option<UnixStream> {
        let (near, far) = UnixStream::pair().ok()?;
        near.set_nonblocking(true).ok()?;
        far.set_nonblocking(true).ok()?;
        self.arrivals.send((far, client)).ok()?;
        Some(near)
    }
}

async fn serve(mut arrived: UnboundedReceiver<Arrival>, upstreams: Upstreams) {
    while let Some((stream, client)) = arrived.recv().await {
        let Ok(stream) = tokio::net::UnixStream::from_std(stream) else {
            continue;
        };
        let upstreams = upstreams.read().unwrap_or_else(PoisonError::into_inner);
        let upstream = upstreams.get(&client.through.service).cloned();
        drop(upstreams);
        tokio::spawn(connection(stream, client, upstream));
    }
}

/// One connection, to its end. What it was given at first stays its upstream.
async fn connection(stream: tokio::net::UnixStream, client: Client, upstream: Option<Upstream>) {
    let way = Arc::new(Way {
        client,
        upstream,
        held: Mutex::new(None),
    });
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let way = Arc::clone(&way);
        async move { Ok::<_, Infallible>(way.answer(request.map(Body::new)).await) }
    });
    let served = Builder::new()
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!("service: {error}");
    }
}

/// From a client's connection to its upstream.
struct Way {
    client: Client,
    upstream: Option<Upstream>,
    /// The connection to the upstream, kept for the next request.
    held: Mutex<Option<SendRequest<Body>>>,
}

impl Way {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        match &self.upstream {
            Some(Upstream::Echo) => {
                let answer = self.echo(&request);
                // One that is answered while it is sent is cut off.
                let mut body = request.into_body().into_data_stream();
                while let Some(Ok(_)) = body.next().await {}
                answer
            }
            Some(Upstream::Http(authority)) => match self.pass(authority, request).await {
                Ok(mut answer) => {
                    strip(answer.headers_mut());
                    answer
                }
                Err(why) => {
                    tracing::warn!(service = &*self.client.through.service, "{why}");
                    said(StatusCode::BAD_GATEWAY, &why)
                }
            },
            None => said(StatusCode::BAD_GATEWAY, "nothing answers for this service"),
        }
    }

    fn echo(&self, request: &Request<Body>) -> Response<Body> {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = request.headers().iter();
        let headers = headers.map(|(name, value)| (name.as_str().to_owned(), text(value)));
        let path = path_of(request.uri());
        let echo = Echo::new(
            &self.client,
            request.method().as_str(),
            path.as_str(),
            headers,
        );
        let mut answer = Response::new(Body::from(echo.body()));
        let json = HeaderValue::from_static("application/json");
        answer.headers_mut().insert(header::CONTENT_TYPE, json);
        answer
    }

    async fn pass(
        &self,
        authority: &str,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, String> {
        strip(request.headers_mut());
        let ours: Vec<HeaderName> = request
            .headers()
            .keys()
            .filter(|name| name.as_str().starts_with(HEADER_PREFIX))
            .cloned()
            .collect();
        for name in ours {
            request.headers_mut().remove(name);
        }
        for (name, value) in self.client.headers() {
            if let Ok(value) = HeaderValue::from_str(&value) {
                request
                    .headers_mut()
                    .insert(HeaderName::from_static(name), value);
            }
        }
        *request.uri_mut() = Uri::from(path_of(request.uri()));
        let mut held = self.held.lock().await;
        let mut kept = held.take();
        if let Some(sender) = &mut kept
            && sender.ready().await.is_err()
        {
            // The upstream has ended it meanwhile.
            kept = None;
        }
        let mut sender = match kept {
            Some(sender) => sender,
            None => connect(authority).await?,
        };
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| format!("the upstream http://{authority}: {error}"))?;
        *held = Some(sender);
        Ok(answer.map(Body::new))
    }
}

async fn connect(authority: &str) -> Result<SendRequest<Body>, String> {
    let reaching = tokio::time::timeout(CONNECT, tokio::net::TcpStream::connect(authority));
    let failed = |why: String| format!("the upstream http://{authority} cannot be reached: {why}");
    let stream = match reaching.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => return Err(failed("it does not answer".to_owned())),
    };
    // What waits to be sent is sent at once, as the client sent it.
    let _ = stream.set_nodelay(true);
    let made = handshake(TokioIo::new(stream)).await;
    let (sender, connection) = made.map_err(|error| failed(error.to_string()))?;
    tokio::spawn(async move {
        // How it ended, the request on it says.
        let _ = connection.await;
    });
    Ok(sender)
}

/// Path and query: clients of a proxy write the whole URL.
fn path_of(uri: &Uri) -> PathAndQuery {
    let given = uri.path_and_query().cloned();
    given.unwrap_or_else(|| PathAndQuery::from_static("/"))
}

/// Takes out what is of one connection only.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&OF_A_CONNECTION) {
        headers.remove(name);
    }
}

fn said(status: StatusCode, why: &str) -> Response<Body> {
    let mut answer = Response::new(Body::from(format!("vpclab: {why}\n")));
    *answer.status_mut() = status;
    answer
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;

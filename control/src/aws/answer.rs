//! One HTTP request, from its bytes to its answer.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::call::{At, CallError, Effect, Entry};
use super::form::Node;
use super::identity::Identity;
use super::json;
use super::known::{self, Known};
use super::protocol::Protocol;
use super::signature::{Asked, Refusal};
use super::tokens::Tokened;
use super::{Backend, ec2, elbv2, sts};
use crate::api::{ApiError, Caller, Transaction};
use crate::model::Model;

/// Bytes of a request, at most.
const BODY_MAX: usize = 1 << 20;

/// The API of one control plane.
pub struct Api {
    backend: Arc<dyn Backend>,
    requests: std::sync::atomic::AtomicU64,
}

/// A service: how it speaks, what AWS knows of it, and what is implemented.
struct Service {
    protocol: Protocol,
    known: &'static Known,
    families: &'static [&'static [Entry]],
}

impl Service {
    /// The service that a credential scope and an API version mean.
    fn of(scope: &str, version: Option<&str>) -> Result<Self, ApiError> {
        match (scope, version) {
            ("elasticloadbalancing", Some("2012-06-01")) => Err(ApiError::new(
                "UnsupportedOperation",
                "Classic load balancers (API version 2012-06-01) are not emulated; use elbv2",
            )),
            ("elasticloadbalancing", _) | (_, Some("2015-12-01")) => Ok(Self {
                protocol: Protocol::Query(
                    "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/",
                ),
                known: &known::ELBV2,
                families: elbv2::FAMILIES,
            }),
            ("sts", _) | (_, Some("2011-06-15")) => Ok(Self {
                protocol: Protocol::Query("https://sts.amazonaws.com/doc/2011-06-15/"),
                known: &known::STS,
                families: &[sts::CALLS],
            }),
            ("ec2", _) => Ok(Self {
                protocol: Protocol::Ec2,
                known: &known::EC2,
                families: ec2::FAMILIES,
            }),
            (other, _) => Err(ApiError::new(
                "UnsupportedOperation",
                format!(
                    "vpclab has no service '{other}'; it has ec2, elasticloadbalancing and sts"
                ),
            )),
        }
    }

    fn entry(&self, action: &str) -> Result<Entry, ApiError> {
        let mut all = self.families.iter().copied().flatten();
        if let Some(entry) = all.find(|entry| entry.name == action) {
            return Ok(*entry);
        }
        if self.known.has_action(action) {
            return Err(ApiError::new(
                "UnsupportedOperation",
                format!("vpclab does not implement {action}"),
            ));
        }
        Err(ApiError::new(
            "InvalidAction",
            format!("The action {action} is not valid for this web service"),
        ))
    }
}

/// Every action that there is, after its service.
pub fn actions() -> Vec<(&'static str, &'static str)> {
    let of = |service, families: &[&[Entry]]| {
        let entries = families.iter().copied().flatten();
        entries
            .map(|entry| (service, entry.name))
            .collect::<Vec<_>>()
    };
    let mut all = of("ec2", ec2::FAMILIES);
    all.extend(of("elbv2", elbv2::FAMILIES));
    all.extend(of("sts", &[sts::CALLS]));
    all
}

/// The routes of the API, to be merged with a lab's others.
pub fn router(backend: Arc<dyn Backend>) -> Router {
    let api = Arc::new(Api::new(backend));
    Router::new()
        .route("/", post(serve).get(serve_query))
        .route(
            "/_vpclab/health",
            get(|| async { axum::Json(json!({"status": "ok"})) }),
        )
        .route("/_vpclab/consistency", get(consistency))
        .route("/_vpclab/reset", post(reset))
        // Existing test suites call this one.
        .route("/moto-api/reset", post(reset))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(api)
}

/// The parts of a request that its signature is over.
#[derive(Debug)]
struct Parts {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Parts {
    fn asked(&self) -> Asked<'_> {
        Asked {
            method: self.method.as_str(),
            path: self.uri.path(),
            query: self.uri.query().unwrap_or_default(),
            headers: &self.headers,
            body: &self.body,
        }
    }
}

/// A presigned request, or somebody who looks what is here.
async fn serve_query(
    state: State<Arc<Api>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match uri.query() {
        None => crate::http::INDEX.into_response(),
        Some(_) => serve(state, method, uri, headers, body).await,
    }
}

async fn serve(
    State(api): State<Arc<Api>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let mut parts = Parts {
        method,
        uri,
        headers,
        body: Bytes::new(),
    };
    match body {
        Ok(body) => parts.body = body,
        Err(why) => return api.unread(&parts.asked(), why.status()),
    }
    let answer = tokio::task::spawn_blocking(move || api.answer(&parts.asked())).await;
    answer.unwrap_or_else(|_| {
        let error = ApiError::new("InternalError", "vpclab failed to answer; see its log");
        Protocol::Ec2.error(&error, "0")
    })
}

/// Whether the packet tables are what the resources say: for tests.
async fn consistency(
    State(api): State<Arc<Api>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let parts = Parts {
        method,
        uri,
        headers,
        body: Bytes::new(),
    };
    if let Err(refused) = api.believe(&parts.asked(), Protocol::Ec2) {
        return Protocol::Ec2.error(&refused, &api.request_id());
    }
    let looked = move || api.backend.control().inconsistency();
    match tokio::task::spawn_blocking(looked).await {
        Ok(None) => axum::Json(json!({"consistent": true})).into_response(),
        Ok(Some(difference)) => {
            let body = json!({"consistent": false, "difference": difference});
            (StatusCode::INTERNAL_SERVER_ERROR, axum::Json(body)).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn reset(
    State(api): State<Arc<Api>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let parts = Parts {
        method,
        uri,
        headers,
        body,
    };
    if let Err(refused) = api.believe(&parts.asked(), Protocol::Ec2) {
        return Protocol::Ec2.error(&refused, &api.request_id());
    }
    let done = tokio::task::spawn_blocking(move || api.reset()).await;
    match done {
        Ok(Ok(())) => axum::Json(json!({"status": "ok"})).into_response(),
        Ok(Err(why)) => {
            (StatusCode::FORBIDDEN, axum::Json(json!({"message": why}))).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The form of a request: its body, and what its query has beside a signature.
fn form<'a>(asked: &Asked<'a>) -> Cow<'a, [u8]> {
    let parameter = |part: &&str| !part.is_empty() && !part.starts_with("X-Amz-");
    let mut parts = asked.query.split('&').filter(parameter).peekable();
    if parts.peek().is_none() {
        return Cow::Borrowed(asked.body);
    }
    let mut form = asked.body.to_vec();
    for part in parts {
        if !form.is_empty() {
            form.push(b'&');
        }
        form.extend_from_slice(part.as_bytes());
    }
    Cow::Owned(form)
}

impl Api {
    /// The API of what is behind `backend`.
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        Self {
            backend,
            requests: std::sync::atomic::AtomicU64::new(0),
        }
    }

    /// Answers a request whose body did not come whole.
    fn unread(&self, asked: &Asked<'_>, status: StatusCode) -> Response {
        let error = match status {
            StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(
                "RequestEntityTooLarge",
                format!("The request has more than {BODY_MAX} bytes"),
            ),
            _ => ApiError::new("IncompleteBody", "The request's body did not come whole"),
        };
        let protocol = Self::looks_like(asked, &Identity::of(asked));
        protocol.error(&error, &self.request_id())
    }

    /// How a request wants to be answered, before it is read.
    fn looks_like(asked: &Asked<'_>, identity: &Identity) -> Protocol {
        if json::speaks(asked) {
            return Protocol::Json;
        }
        let service = Service::of(&identity.service, None);
        service.map_or(Protocol::Ec2, |service| service.protocol)
    }

    fn request_id(&self) -> String {
        let count = self
            .requests
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        format!("{:08x}-7670-4c61-8000-{count:012x}", std::process::id())
    }

    /// Whose request it is, where signatures count; nobody's in particular where
    /// they do not.
    ///
    /// # Errors
    /// It is not signed, or not by anybody known.
    fn believe(&self, asked: &Asked<'_>, protocol: Protocol) -> Result<Option<Arc<str>>, ApiError> {
        let Some(credentials) = self.backend.credentials() else {
            return Ok(None);
        };
        let now_s = self.backend.since_1970_s();
        let key = credentials.verify(asked, now_s);
        let key = key.map_err(|refusal: Refusal| protocol.not_believed(refusal))?;
        Ok(Some(key.account.clone()))
    }

    /// Answers one request.
    pub fn answer(&self, asked: &Asked<'_>) -> Response {
        let clock = self.backend.clock();
        let start = clock.now();
        let request_id = self.request_id();
        let mut identity = Identity::of(asked);
        // What it looks like, until the version says what it is.
        let mut protocol = Self::looks_like(asked, &identity);
        let mut action = String::new();
        let believed = self.believe(asked, protocol);
        let result = believed.and_then(|account| {
            if let Some(account) = account {
                identity.caller.account = account;
            }
            if protocol == Protocol::Json {
                return Err(json::refusal(asked, &identity.service));
            }
            let mut request = Node::parse(&form(asked))?;
            let version = request.take("Version");
            let service = Service::of(&identity.service, version.as_deref())?;
            protocol = service.protocol;
            action = request.take("Action").ok_or_else(|| {
                ApiError::new("MissingAction", "The request has no parameter Action")
            })?;
            self.call(&service, &action, request, &identity.caller)
        });
        let code = result.as_ref().err().map_or("ok", |error| &*error.code);
        let took = clock.real(clock.now().since(start));
        let ms = took.as_nanos() as f64 / 1e6;
        let caller = &identity.caller;
        tracing::info!(
            action,
            code,
            ms,
            account = &*caller.account,
            region = &*caller.region,
            "request"
        );
        match result {
            Ok(fields) => protocol.answer(&action, &fields, &request_id),
            Err(error) => protocol.error(&error, &request_id),
        }
    }

    fn call(
        &self,
        service: &Service,
        action: &str,
        mut request: Node,
        caller: &Caller,
    ) -> Result<Value, ApiError> {
        let entry = service.entry(action)?;
        let mut common = |name: &str| {
            let known = service.known.has_parameter(action, name);
            known.then(|| request.take(name)).flatten()
        };
        let dry_run = common("DryRun").is_some_and(|yes| yes.eq_ignore_ascii_case("true"));
        let token = common("ClientToken").filter(|token| !token.is_empty());
        let now_s = self.backend.since_1970_s();
        let tokened = token.map(|token| Tokened::new(caller, action, token, &request));
        let run = |tx: &mut Transaction<'_>| {
            tx.set_now(now_s);
            let mut at = At {
                tx,
                backend: &*self.backend,
            };
            (entry.run)(&request, &mut at).map_err(|error| match error {
                CallError::Api(error) => error,
                CallError::Form(error) => service.protocol.unreadable(action, service.known, error),
            })
        };
        if dry_run {
            self.backend.control().rehearse(caller, run)?;
            return Err(ApiError::new(
                "DryRunOperation",
                "Request would have succeeded, but DryRun flag is set",
            ));
        }
        if entry.effect == Effect::Read {
            // On a copy: a long answer keeps nobody waiting.
            let reader = self.backend.control().reader();
            return reader.rehearse(caller, run);
        }
        // Only those: making namespaces takes long, and other calls need not wait.
        let _turn = (entry.effect == Effect::Hosts).then(|| self.backend.alone());
        let mut control = self.backend.control();
        let before = control.model().clone();
        let mut from_memory = false;
        let answer = control.transact(caller, |tx| {
            let Some(tokened) = tokened else {
                return run(tx);
            };
            if let Some(answer) = tokened.answer_before(tx)? {
                from_memory = true;
                return Ok(answer);
            }
            let answer = run(tx)?;
            tokened.remember(tx, &answer);
            Ok(answer)
        })?;
        let after = control.model().clone();
        drop(control);
        if entry.effect == Effect::Hosts && !from_memory {
            let wired = self.backend.rewire(&before, &after);
            wired.map_err(|why| self.undo(action, &before, &after, &why))?;
        }
        Ok(answer)
    }

    /// Takes back a change whose hosts cannot be made, and says so. Nobody has
    /// heard of what it made.
    fn undo(&self, action: &str, before: &Model, after: &Model, why: &str) -> ApiError {
        let undone = self.backend.control().undo(before, after);
        tracing::error!(action, why, undone = undone.is_ok(), "hosts cannot be made");
        match undone {
            Ok(()) => {
                // What of them was made goes; what went comes back if it can.
                let restored = self.backend.control().model().clone();
                if let Err(why) = self.backend.rewire(after, &restored) {
                    tracing::error!(action, why, "nor can they be taken back");
                }
                ApiError::new(
                    "InsufficientInstanceCapacity",
                    format!(
                        "This machine cannot give what {action} needs, nothing was changed: {why}"
                    ),
                )
            }
            Err(error) => ApiError::new(
                "InternalError",
                format!("{why}; and it could not be undone: {}", error.message),
            ),
        }
    }

    fn reset(&self) -> Result<(), String> {
        if !self.backend.allows_reset() {
            return Err("start vpclab with --allow-reset to allow this".to_owned());
        }
        let _turn = self.backend.alone();
        let (before, after) = {
            let mut control = self.backend.control();
            let before = control.model().clone();
            control.clear().map_err(|error| error.message)?;
            (before, control.model().clone())
        };
        self.backend.rewire(&before, &after)
    }
}

//! The instance metadata service: HTTP, with session tokens (IMDSv2).
//!
//! AWS: EC2 "Use the Instance Metadata Service", "Instance metadata categories".

pub(crate) mod http;
mod token;
mod tree;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use vpclab_dataplane::time::Instant;

use super::asker::Asker;
use super::stream::Reply;
use http::{Parsed, Request, Response};

/// Hops that the answer to a request for a token may travel: to the instance
/// itself and not behind it (`HttpPutResponseHopLimit`, 1 unless set).
const PUT_HOPS: u8 = 1;

const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";
const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";

/// What the service makes of the bytes that came so far on a connection.
pub(super) fn answer(asker: &Asker<'_>, now: Instant, seed: u64, asked: &[u8]) -> Reply {
    match http::parse(asked) {
        Parsed::Incomplete => Reply::default(),
        Parsed::Malformed => reply(asked.len(), &Response::new(400), false),
        Parsed::Request(request, taken) => {
            let response = respond(asker, now, seed, &request);
            let of_put = request.method == "PUT";
            Reply {
                hop_limit: of_put.then_some(PUT_HOPS),
                ..reply(taken, &response, request.method == "HEAD")
            }
        }
    }
}

fn reply(taken: usize, response: &Response, head: bool) -> Reply {
    Reply {
        taken,
        bytes: response.bytes(head),
        close: true,
        hop_limit: None,
        later: None,
    }
}

fn respond(asker: &Asker<'_>, now: Instant, seed: u64, request: &Request) -> Response {
    let host = asker.host();
    match &*request.method {
        "PUT" if request.path == "/latest/api/token" => put_token(host, now, seed, request),
        "GET" | "HEAD" => {
            if let Some(token) = request.header(TOKEN_HEADER)
                && !token::is_valid(token, host, now, seed)
            {
                return Response::new(401);
            }
            get(asker, &request.path)
        }
        _ => Response::new(405),
    }
}

fn put_token(host: &str, now: Instant, seed: u64, request: &Request) -> Response {
    // A request that came through a proxy gets no token.
    if request.header("x-forwarded-for").is_some() {
        return Response::new(403);
    }
    let ttl = request.header(TTL_HEADER);
    let ttl = ttl.and_then(|ttl| ttl.trim().parse::<u32>().ok());
    let Some(ttl) = ttl.filter(|ttl| (1..=token::TTL_MAX_S).contains(ttl)) else {
        return Response::new(400);
    };
    Response::text(token::make(host, now, ttl, seed)).with(TTL_HEADER, &ttl.to_string())
}

fn get(asker: &Asker<'_>, path: &str) -> Response {
    let path = path.split('?').next().unwrap_or_default();
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let Some(version) = parts.next() else {
        return Response::text("latest".to_owned());
    };
    // Versions are dates; each has what the latest has.
    let dated = version == "1.0" || version.split('-').count() == 3;
    if version != "latest" && !dated {
        return Response::new(404);
    }
    let rest: Vec<&str> = parts.collect();
    match rest.split_first() {
        None => {
            let user_data = user_data(asker).map_or("", |_| "\nuser-data");
            Response::text(format!("dynamic\nmeta-data{user_data}"))
        }
        Some((&"user-data", [])) => match user_data(asker) {
            Some(data) => Response::raw(data),
            None => Response::new(404),
        },
        Some((&top @ ("meta-data" | "dynamic"), rest)) => {
            match tree::of(asker, top).find(&rest.join("/")) {
                Some(text) => Response::text(text),
                None => Response::new(404),
            }
        }
        Some(_) => Response::new(404),
    }
}

/// What the instance was given to run.
fn user_data(asker: &Asker<'_>) -> Option<Vec<u8>> {
    let text = asker.instance()?.user_data.as_ref()?;
    STANDARD.decode(text.trim()).ok()
}

#[cfg(test)]
mod tests;

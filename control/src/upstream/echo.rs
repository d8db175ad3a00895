//! The built-in service: says what it was asked, and by whom.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::{Client, HEADER_PREFIX};
use crate::local::http::{Parsed, Response, parse};

/// What `echo` answers, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo {
    /// The service that was asked.
    pub service: String,
    /// The endpoint by which the request came; none by the internet.
    pub vpce: Option<String>,
    /// Its VPC.
    pub vpc: Option<String>,
    /// The client's address, as the service sees it.
    pub client: String,
    /// `GET`
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers by name in lower case, without those that vpclab took out.
    pub headers: BTreeMap<String, String>,
}

impl Echo {
    /// What there is to say of a request.
    pub fn new(
        client: &Client,
        method: &str,
        path: &str,
        headers: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let endpoint = client.through.endpoint.as_ref();
        let headers = headers.into_iter();
        let kept = headers.filter(|(name, _)| !name.starts_with(HEADER_PREFIX));
        let mut all: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in kept {
            all.entry(name)
                .and_modify(|held| *held = format!("{held}, {value}"))
                .or_insert(value);
        }
        Self {
            service: client.through.service.to_string(),
            vpce: endpoint.map(|(id, _)| id.to_string()),
            vpc: endpoint.map(|(_, vpc)| vpc.to_string()),
            client: client.address.to_string(),
            method: method.to_owned(),
            path: path.to_owned(),
            headers: all,
        }
    }

    /// What an answer's body says.
    pub fn read(body: &str) -> Option<Self> {
        serde_json::from_str(body).ok()
    }

    /// The body of the answer.
    pub fn body(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        text.unwrap_or_else(|error| unreachable!("plain data is JSON: {error}")) + "\n"
    }
}

/// The whole answer to what came on a connection so far; none until a request is
/// there in full. For hosts that are simulated: others are served by `proxy`.
pub(crate) fn answer(client: &Client, asked: &[u8]) -> Option<Vec<u8>> {
    match parse(asked) {
        Parsed::Incomplete => None,
        Parsed::Malformed => Some(Response::new(400).bytes(false)),
        Parsed::Request(request, _) => {
            let headers = request
                .headers()
                .map(|(name, value)| (name.into(), value.into()));
            let echo = Echo::new(client, &request.method, &request.path, headers);
            let answer = Response::json(echo.body());
            Some(answer.bytes(request.method == "HEAD"))
        }
    }
}

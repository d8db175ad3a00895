//! What the fuzz targets call, so that `cargo test` can replay their corpora.
//!
//! Each function takes any bytes and panics when an invariant is broken.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::to_bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode};

use super::alone::Alone;
use super::form::{FormError, Node};
use super::{Api, Asked, Credentials, ec2};
use crate::api::ApiError;

/// Requests of one input, at most.
const REQUESTS_MAX: usize = 64;

/// A form, read as requests of many shapes.
///
/// # Errors
/// The form cannot be read at all.
pub fn form(data: &[u8]) -> Result<(), ApiError> {
    let node = Node::parse(data)?;
    assert_eq!(
        Node::parse(data).as_ref(),
        Ok(&node),
        "one form, two readings"
    );
    shape::<ec2::run_instances::RunInstances>(&node);
    shape::<ec2::security_group::AuthorizeSecurityGroupIngress>(&node);
    shape::<ec2::security_group_rule::ModifySecurityGroupRules>(&node);
    shape::<ec2::network_acl::CreateNetworkAclEntry>(&node);
    shape::<ec2::interface::CreateNetworkInterface>(&node);
    shape::<ec2::prefix_list::ModifyManagedPrefixList>(&node);
    shape::<ec2::vpc::DescribeVpcs>(&node);
    Ok(())
}

fn shape<T: serde::de::DeserializeOwned>(node: &Node) {
    let named = match node.read::<T>() {
        Ok(_) => return,
        Err(FormError::Unknown(name) | FormError::Missing(name)) => name,
        Err(FormError::Invalid { why, .. }) => why,
    };
    assert!(!named.is_empty(), "an error that names nothing");
}

/// Key of the seeds' signatures: that of AWS's Signature Version 4 test suite.
const KEY: &str = "[suite]\naws_access_key_id = AKIDEXAMPLE\n\
                   aws_secret_access_key = wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\n";
/// When they were made: 2015-08-30, 12:36.
const SIGNED_S: u64 = 1_440_938_160;

/// A request whose signature is to be verified, a line each: `Authorization`,
/// `X-Amz-Date`, query, body. Whether it is believed. The whole is read as a file of
/// credentials, too.
pub fn signed(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    // Whatever it says, it is read or refused.
    let _ = Credentials::parse("fuzz", &text);
    let Ok(credentials) = Credentials::parse("suite", KEY) else {
        return false;
    };
    let mut lines = text.splitn(4, '\n');
    let mut headers = HeaderMap::new();
    let mut header = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    header("host", "example.amazonaws.com");
    let authorization = lines.next().unwrap_or_default();
    if !authorization.is_empty() {
        header("authorization", authorization);
    }
    header("x-amz-date", lines.next().unwrap_or_default());
    let asked = Asked {
        method: "GET",
        query: lines.next().unwrap_or_default(),
        ..Asked::post(&headers, lines.next().unwrap_or_default().as_bytes())
    };
    credentials.verify(&asked, SIGNED_S).is_ok()
}

/// A request in JSON: the first line names its action, the rest is its body. The code
/// of its refusal.
pub fn json(data: &[u8]) -> String {
    let (target, body) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[][..]),
    };
    let mut headers = HeaderMap::new();
    let typed = HeaderValue::from_static("application/x-amz-json-1.1");
    headers.insert("content-type", typed);
    if let Ok(target) = HeaderValue::from_bytes(target) {
        headers.insert("x-amz-target", target);
    }
    let api = Api::new(Arc::new(Alone::default()));
    let answer = api.answer(&Asked::post(&headers, body));
    assert!(answer.status().is_client_error(), "{}", answer.status());
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else {
        return String::new();
    };
    let body = runtime.block_on(to_bytes(answer.into_body(), usize::MAX));
    let fields: BTreeMap<String, String> = body
        .ok()
        .and_then(|body| serde_json::from_slice(&body).ok())
        .unwrap_or_default();
    let said = |name: &str| fields.get(name).filter(|text| !text.is_empty()).cloned();
    assert!(said("message").is_some(), "a refusal that says nothing");
    said("__type").unwrap_or_else(|| panic!("a refusal without a code: {fields:?}"))
}

/// Requests, a line each, to one control plane; how each was answered. `{vpcId}`
/// stands for what the latest answer with such an element has there.
pub fn requests(data: &[u8]) -> Vec<StatusCode> {
    let api = Api::new(Arc::new(Alone::default()));
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else {
        return Vec::new();
    };
    let mut ids = BTreeMap::new();
    let mut statuses = Vec::new();
    for line in data.split(|byte| *byte == b'\n').take(REQUESTS_MAX) {
        if line.is_empty() {
            continue;
        }
        let line = with_ids(line, &ids);
        let answer = api.answer(&Asked::post(&HeaderMap::new(), &line));
        let status = answer.status();
        assert!(
            !status.is_server_error(),
            "{status}: {}",
            String::from_utf8_lossy(&line)
        );
        statuses.push(status);
        let body = runtime.block_on(to_bytes(answer.into_body(), usize::MAX));
        let body = String::from_utf8(body.unwrap_or_default().to_vec());
        // Answers are text, whatever the request was.
        assert!(body.is_ok(), "an answer that is no text");
        remember(&body.unwrap_or_default(), &mut ids);
    }
    statuses
}

/// Keeps the first of each element whose name ends in `Id`.
fn remember(body: &str, ids: &mut BTreeMap<String, String>) {
    let elements = body.split('<').filter_map(|part| part.split_once('>'));
    let found: Vec<_> = elements.filter(|(name, _)| name.ends_with("Id")).collect();
    for (name, text) in found.into_iter().rev() {
        ids.insert(format!("{{{name}}}"), text.to_owned());
    }
}

fn with_ids(line: &[u8], ids: &BTreeMap<String, String>) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(line) else {
        return line.to_vec();
    };
    let put = |text: String, (name, id): (&String, &String)| text.replace(name, id);
    ids.iter().fold(text.to_owned(), put).into_bytes()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Mutations of each seed.
    const MUTATIONS: usize = 40;

    /// A corpus' files, in the order of their names.
    fn corpus(name: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(name);
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files.iter().map(|file| fs::read(file).unwrap()).collect()
    }

    /// SplitMix64: a fixed stream of numbers, so that a failure repeats.
    struct Stream(u64);

    impl Stream {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            usize::try_from((z ^ (z >> 31)) % limit as u64).unwrap()
        }

        fn mutate(&mut self, seed: &[u8]) -> Vec<u8> {
            const PIECES: [&[u8]; 9] = [
                b"&",
                b"=",
                b".1",
                b"%",
                b"%00",
                b"-1",
                b"99999999999999999999",
                b"Filter.1.Value.1=*",
                b"\xff",
            ];
            let mut data = seed.to_vec();
            for _ in 0..=self.below(4) {
                let at = self.below(data.len() + 1);
                match self.below(4) {
                    0 => data.truncate(at),
                    1 => {
                        data.splice(at..at, PIECES[self.below(PIECES.len())].iter().copied());
                    }
                    2 => {
                        let end = data.len().min(at + self.below(12));
                        data.drain(at..end);
                    }
                    _ => {
                        if let Some(byte) = data.get_mut(at) {
                            *byte ^= 1 << self.below(8);
                        }
                    }
                }
            }
            data
        }
    }

    #[test]
    fn forms_are_read_or_refused() {
        let mut stream = Stream(1);
        let (mut read, mut refused) = (0, 0);
        for seed in corpus("form") {
            for number in 0..=MUTATIONS {
                let data = if number == 0 {
                    seed.clone()
                } else {
                    stream.mutate(&seed)
                };
                match form(&data) {
                    Ok(()) => read += 1,
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(read > 0 && refused > 0, "{read} read, {refused} refused");
    }

    #[test]
    fn signatures_are_verified_or_refused() {
        let mut stream = Stream(3);
        for seed in corpus("signed") {
            assert!(signed(&seed), "the seed is AWS's");
            let believed = (0..MUTATIONS).filter(|_| signed(&stream.mutate(&seed)));
            // A few change nothing that is signed: what follows the name of a part.
            assert!(believed.count() < MUTATIONS / 2);
        }
    }

    #[test]
    fn json_is_read_and_refused_in_json() {
        let mut stream = Stream(4);
        let mut codes = std::collections::BTreeSet::new();
        for seed in corpus("json") {
            assert_eq!(json(&seed), "UnknownOperationException");
            codes.extend((0..MUTATIONS).map(|_| json(&stream.mutate(&seed))));
        }
        let expected = ["SerializationException", "UnknownOperationException"];
        assert_eq!(codes.iter().collect::<Vec<_>>(), expected);
        // Deep nesting is bounded, and large numbers are numbers.
        for body in ["[".repeat(100_000), format!("[{}]", "9".repeat(100_000))] {
            json(format!("A.B\n{body}").as_bytes());
        }
    }

    #[test]
    fn requests_are_answered_or_refused_but_never_a_fault() {
        let mut stream = Stream(2);
        for seed in corpus("requests") {
            let statuses = requests(&seed);
            assert!(
                statuses.iter().all(|status| status.is_success()),
                "the seed is valid: {statuses:?}"
            );
            for _ in 0..MUTATIONS {
                requests(&stream.mutate(&seed));
            }
        }
    }
}

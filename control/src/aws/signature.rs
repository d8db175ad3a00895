//! Signatures, version 4: the canonical request and its MAC, as AWS's "Signature
//! Version 4 signing process" has them, in a header or in the query (presigned).

use std::fmt::Write;
use std::time::UNIX_EPOCH;

use axum::http::{HeaderMap, header};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::credentials::{Credentials, Key};

/// The only algorithm that is verified.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far the client's clock may be from ours, either way.
pub(super) const SKEW_S: u64 = 15 * 60;
/// Seconds that a presigned request may be good for, at most: a week.
const EXPIRES_S_MAX: u64 = 7 * 24 * 60 * 60;

/// A request as it came.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// `POST`
    pub method: &'a str,
    /// As it was written.
    pub path: &'a str,
    /// As it was written, without the question mark.
    pub query: &'a str,
    /// All of them.
    pub headers: &'a HeaderMap,
    /// All of it.
    pub body: &'a [u8],
}

impl<'a> Asked<'a> {
    /// `POST /`
    pub fn post(headers: &'a HeaderMap, body: &'a [u8]) -> Self {
        Self {
            method: "POST",
            path: "/",
            query: "",
            headers,
            body,
        }
    }
}

/// A signature and what it says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Claim {
    /// Access key id.
    pub(super) key: String,
    /// Day, region, service, `aws4_request`.
    pub(super) scope: [String; 4],
    /// Names of the headers that it is over, as they were signed: in lower case.
    headers: Vec<String>,
    /// Hexadecimal.
    signature: String,
    /// `20261125T120000Z`
    date: String,
    /// Seconds that it is good for, where it says so: in a query.
    expires_s: Option<u64>,
    token: Option<String>,
}

/// Why a request is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not signed.
    Missing,
    /// Its signature cannot be read: why.
    Incomplete(String),
    /// Nobody has this access key id, or not with this session token.
    UnknownKey,
    /// The signature is another's, or of another request.
    Mismatch,
    /// It was signed too long ago, or is not good yet: how AWS says it.
    Expired(String),
}

impl Claim {
    /// What a request says who signed it; nothing if it is not signed.
    pub(super) fn of(asked: &Asked<'_>) -> Result<Option<Self>, Refusal> {
        if let Some(value) = asked.headers.get(header::AUTHORIZATION) {
            let value = value.to_str().unwrap_or_default();
            let (algorithm, parts) = value.split_once(' ').unwrap_or((value, ""));
            check_algorithm(algorithm)?;
            let mut claim = Self {
                date: text(asked.headers, "x-amz-date")
                    .unwrap_or_default()
                    .to_owned(),
                token: text(asked.headers, "x-amz-security-token").map(str::to_owned),
                ..Self::default()
            };
            let mut scope = None;
            for part in parts.split(',') {
                match part.trim().split_once('=') {
                    Some(("Credential", value)) => scope = Some(value.to_owned()),
                    Some(("SignedHeaders", value)) => claim.headers = names(value),
                    Some(("Signature", value)) => value.clone_into(&mut claim.signature),
                    _ => {}
                }
            }
            return claim.complete(scope, "Authorization header").map(Some);
        }
        let mut claim = Self::default();
        let (mut algorithm, mut scope, mut expires) = (None, None, None);
        for (name, value) in form_urlencoded::parse(asked.query.as_bytes()) {
            let value = value.into_owned();
            match &*name {
                "X-Amz-Algorithm" => algorithm = Some(value),
                "X-Amz-Credential" => scope = Some(value),
                "X-Amz-SignedHeaders" => claim.headers = names(&value),
                "X-Amz-Signature" => claim.signature = value,
                "X-Amz-Date" => claim.date = value,
                "X-Amz-Security-Token" => claim.token = Some(value),
                "X-Amz-Expires" => expires = Some(value),
                _ => {}
            }
        }
        let Some(algorithm) = algorithm else {
            return Ok(None);
        };
        check_algorithm(&algorithm)?;
        let seconds = expires.and_then(|text| text.parse().ok());
        let seconds = seconds.filter(|seconds| (1..=EXPIRES_S_MAX).contains(seconds));
        claim.expires_s = Some(seconds.ok_or_else(|| {
            let why = format!("X-Amz-Expires must be 1 to {EXPIRES_S_MAX} seconds");
            Refusal::Incomplete(why)
        })?);
        claim.complete(scope, "query").map(Some)
    }

    /// The claim, unless something of it is missing.
    fn complete(mut self, scope: Option<String>, place: &str) -> Result<Self, Refusal> {
        let lacks = |what: &str| Refusal::Incomplete(format!("{place} requires '{what}'"));
        let scope = scope.ok_or_else(|| lacks("Credential"))?;
        let parts: Vec<String> = scope.split('/').map(str::to_owned).collect();
        let Ok([key, scope @ ..]) = <[String; 5]>::try_from(parts) else {
            let why = format!(
                "Credential must have 5 slash-delimited elements, KEYID/DATE/REGION/SERVICE/TERM, \
                 got '{scope}'"
            );
            return Err(Refusal::Incomplete(why));
        };
        (self.key, self.scope) = (key, scope);
        if self.headers.is_empty() {
            return Err(lacks("SignedHeaders"));
        }
        if self.signature.is_empty() {
            return Err(lacks("Signature"));
        }
        if self.date.is_empty() {
            return Err(lacks("X-Amz-Date"));
        }
        Ok(self)
    }
}

impl Credentials {
    /// Whose request it is: its key, if the signature is right.
    ///
    /// # Errors
    /// Why it is not believed.
    pub(super) fn verify(&self, asked: &Asked<'_>, now_s: u64) -> Result<&Key, Refusal> {
        let claim = Claim::of(asked)?.ok_or(Refusal::Missing)?;
        let [day, _region, _service, end] = &claim.scope;
        let signed_s = seconds(&claim.date).ok_or_else(|| {
            Refusal::Incomplete(format!("X-Amz-Date '{}' is no time", claim.date))
        })?;
        if end != "aws4_request" || !claim.date.starts_with(day.as_str()) || day.len() != 8 {
            let why = format!(
                "Credential should be scoped to the day of X-Amz-Date and end in aws4_request, \
                 got '{day}' and '{end}'"
            );
            return Err(Refusal::Incomplete(why));
        }
        // What names the receiver cannot be left open.
        if !claim.headers.iter().any(|name| name == "host") {
            return Err(Refusal::Incomplete("'host' must be a signed header".into()));
        }
        let key = self.key(&claim.key).ok_or(Refusal::UnknownKey)?;
        if key.session_token != claim.token {
            return Err(Refusal::UnknownKey);
        }
        let given = unhex(&claim.signature).ok_or(Refusal::Mismatch)?;
        let mac = mac(key.secret.as_str(), &claim, &canonical(asked, &claim));
        // In constant time.
        mac.verify_slice(&given).map_err(|_| Refusal::Mismatch)?;
        in_time(&claim, signed_s, now_s)?;
        Ok(key)
    }
}

/// Whether it is neither too old nor from the future.
fn in_time(claim: &Claim, signed_s: u64, now_s: u64) -> Result<(), Refusal> {
    let date = &claim.date;
    if signed_s > now_s + SKEW_S {
        let (latest, now) = (stamp(now_s + SKEW_S), stamp(now_s));
        return Err(Refusal::Expired(format!(
            "Signature not yet current: {date} is still later than {latest} ({now} + 15 min.)"
        )));
    }
    let good_s = claim.expires_s.unwrap_or(SKEW_S);
    if signed_s + good_s < now_s {
        let (earliest, now) = (stamp(now_s.saturating_sub(good_s)), stamp(now_s));
        let minutes = good_s / 60;
        return Err(Refusal::Expired(format!(
            "Signature expired: {date} is now earlier than {earliest} ({now} - {minutes} min.)"
        )));
    }
    Ok(())
}

fn check_algorithm(algorithm: &str) -> Result<(), Refusal> {
    match algorithm {
        ALGORITHM => Ok(()),
        other => Err(Refusal::Incomplete(format!(
            "Unsupported AWS 'algorithm': '{other}'; it is {ALGORITHM}"
        ))),
    }
}

fn names(list: &str) -> Vec<String> {
    list.split(';').map(str::to_owned).collect()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The canonical request: what is signed, written the one way.
fn canonical(asked: &Asked<'_>, claim: &Claim) -> String {
    let mut pairs: Vec<(String, String)> = form_urlencoded::parse(asked.query.as_bytes())
        .filter(|(name, _)| name != "X-Amz-Signature")
        .map(|(name, value)| {
            (
                encoded(name.as_bytes(), b""),
                encoded(value.as_bytes(), b""),
            )
        })
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let path = if asked.path.is_empty() {
        "/"
    } else {
        asked.path
    };
    let mut text = format!(
        "{}\n{}\n{}\n",
        asked.method,
        encoded(path.as_bytes(), b"/"),
        pairs.join("&")
    );
    for name in &claim.headers {
        let values = asked.headers.get_all(name.as_str()).iter();
        let values: Vec<String> = values
            .map(|value| {
                let value = String::from_utf8_lossy(value.as_bytes());
                value.split_whitespace().collect::<Vec<_>>().join(" ")
            })
            .collect();
        let _ = writeln!(text, "{name}:{}", values.join(","));
    }
    let body = hex(&Sha256::digest(asked.body));
    let _ = write!(text, "\n{}\n{body}", claim.headers.join(";"));
    text
}

/// The MAC of a canonical request, to be compared.
fn mac(secret: &str, claim: &Claim, canonical: &str) -> Hmac<Sha256> {
    let key = claim
        .scope
        .iter()
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| {
            keyed(&key, part).finalize().into_bytes().to_vec()
        });
    let canonical = hex(&Sha256::digest(canonical));
    let scope = claim.scope.join("/");
    keyed(
        &key,
        &format!("{ALGORITHM}\n{}\n{scope}\n{canonical}", claim.date),
    )
}

fn keyed(key: &[u8], text: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("an HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac
}

/// Percent-encodes all but AWS's unreserved characters and `also`.
fn encoded(bytes: &[u8], also: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also.contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| Some(digit.to_digit(16)? as u8))
        .collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}

/// `20150830T123600Z` in seconds since 1970.
fn seconds(date: &str) -> Option<u64> {
    if date.len() != 16 || !date.is_ascii() {
        return None;
    }
    let part = |from: usize, to: usize| &date[from..to];
    let rfc3339 = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(9, 11),
        part(11, 13),
        part(13, 15)
    );
    let fits = part(8, 9) == "T" && part(15, 16) == "Z";
    let at = humantime::parse_rfc3339(&rfc3339).ok().filter(|_| fits)?;
    at.duration_since(UNIX_EPOCH)
        .ok()
        .map(|since| since.as_secs())
}

/// Seconds since 1970 as `20150830T123600Z`.
fn stamp(seconds: u64) -> String {
    let at = UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let text = humantime::format_rfc3339_seconds(at).to_string();
    text.replace(['-', ':'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: u64 = 1_440_938_160;

    /// The credentials of AWS's Signature Version 4 test suite.
    fn credentials() -> Credentials {
        let text = "[suite]\naws_access_key_id = AKIDEXAMPLE\n\
                    aws_secret_access_key = wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\n\
                    aws_account_id = 111122223333\n";
        Credentials::parse("suite", text).unwrap()
    }

    fn headers(signed: &str, signature: &str, more: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("host", "example.amazonaws.com".parse().unwrap());
        headers.insert("x-amz-date", "20150830T123600Z".parse().unwrap());
        for (name, value) in more {
            headers.append(*name, value.parse().unwrap());
        }
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders={signed}, Signature={signature}"
        );
        headers.insert("authorization", authorization.parse().unwrap());
        headers
    }

    fn vanilla() -> HeaderMap {
        let signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        headers("host;x-amz-date", signature, &[])
    }

    fn get(headers: &HeaderMap) -> Asked<'_> {
        Asked {
            method: "GET",
            ..Asked::post(headers, b"")
        }
    }

    /// Requests and signatures of AWS's Signature Version 4 test suite.
    #[test]
    fn awss_test_suite_is_verified() {
        let plain = "host;x-amz-date";
        let mine = "host;my-header1;x-amz-date";
        type Case = (
            &'static str,
            &'static str,
            &'static str,
            &'static [(&'static str, &'static str)],
            &'static str,
            &'static str,
        );
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let form: &'static [_] = Box::leak(Box::new(form));
        let cases: [Case; 6] = [
            (
                "GET",
                "",
                plain,
                &[],
                "",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "POST",
                "",
                plain,
                &[],
                "",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "GET",
                "Param2=value2&Param1=value1",
                plain,
                &[],
                "",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "GET",
                "",
                mine,
                &[
                    ("my-header1", "value2"),
                    ("my-header1", "value2"),
                    ("my-header1", "value1"),
                ],
                "",
                "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
            ),
            (
                "GET",
                "",
                mine,
                &[("my-header1", "value1,value2,value3")],
                "",
                "ba17b383a53190154eb5fa66a1b836cc297cc0a3d70a5d00705980573d8ff790",
            ),
            (
                "POST",
                "",
                "content-type;host;x-amz-date",
                form,
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ];
        for (method, query, signed, more, body, signature) in cases {
            let headers = headers(signed, signature, more);
            let asked = Asked {
                method,
                path: "/",
                query,
                headers: &headers,
                body: body.as_bytes(),
            };
            let credentials = credentials();
            let found = credentials.verify(&asked, AT);
            assert_eq!(
                found.map(|key| &*key.account),
                Ok("111122223333"),
                "{method} {query} {signed}"
            );
            // Whatever of it changes, it is another request.
            let others = [
                Asked {
                    method: "PUT",
                    ..asked
                },
                Asked {
                    path: "/x",
                    ..asked
                },
                Asked {
                    query: "Param1=value2",
                    ..asked
                },
                Asked {
                    body: b"Param1=value2",
                    ..asked
                },
            ];
            for other in others {
                assert_eq!(
                    credentials.verify(&other, AT),
                    Err(Refusal::Mismatch),
                    "{other:?}"
                );
            }
        }
    }

    #[test]
    fn a_signature_is_good_for_a_quarter_of_an_hour() {
        let credentials = credentials();
        let headers = vanilla();
        let at = |now_s| credentials.verify(&get(&headers), now_s).map(drop);
        for good in [AT, AT - SKEW_S, AT + SKEW_S] {
            assert_eq!(at(good), Ok(()));
        }
        let Err(Refusal::Expired(early)) = at(AT - SKEW_S - 1) else {
            panic!("it is not good yet");
        };
        assert_eq!(
            early,
            "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z \
             (20150830T122059Z + 15 min.)"
        );
        let Err(Refusal::Expired(late)) = at(AT + SKEW_S + 1) else {
            panic!("it is too old");
        };
        assert!(
            late.starts_with("Signature expired: 20150830T123600Z is now earlier"),
            "{late}"
        );
    }

    #[test]
    fn what_is_wrong_with_a_signature_is_told_apart() {
        let credentials = credentials();
        let verify = |headers: &HeaderMap| credentials.verify(&get(headers), AT).map(drop);
        assert_eq!(verify(&HeaderMap::new()), Err(Refusal::Missing));
        let edited = |old: &str, new: &str| {
            let mut headers = vanilla();
            let text = headers["authorization"].to_str().unwrap().to_owned();
            assert!(text.contains(old), "no {old}");
            headers.insert("authorization", text.replace(old, new).parse().unwrap());
            verify(&headers)
        };
        assert_eq!(edited("AKIDEXAMPLE", "AKIDOTHER"), Err(Refusal::UnknownKey));
        assert_eq!(edited("5fa00fa3", "5fa00fa4"), Err(Refusal::Mismatch));
        assert_eq!(edited("5fa00fa3", "nothing "), Err(Refusal::Mismatch));
        assert_eq!(edited("us-east-1", "us-east-2"), Err(Refusal::Mismatch));
        for (old, new, why) in [
            ("20150830/", "20150831/", "day"),
            ("aws4_request", "aws5_request", "aws4_request"),
            ("/service/", "/", "5 slash-delimited"),
            ("Credential=", "Credentials=", "'Credential'"),
            ("SignedHeaders=", "Signed=", "'SignedHeaders'"),
            ("Signature=", "Sign=", "'Signature'"),
            ("host;", "", "'host' must be"),
            ("host;", "Host;", "'host' must be"),
            ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", "algorithm"),
        ] {
            match edited(old, new) {
                Err(Refusal::Incomplete(found)) => assert!(found.contains(why), "{found}"),
                other => panic!("{new}: {other:?}"),
            }
        }
        let mut undated = vanilla();
        undated.remove("x-amz-date");
        assert!(matches!(verify(&undated), Err(Refusal::Incomplete(_))));
        for date in ["2015-08-30T12:36", "20150830T126000Z", "20150830t123600z"] {
            let mut headers = vanilla();
            headers.insert("x-amz-date", date.parse().unwrap());
            assert!(
                matches!(verify(&headers), Err(Refusal::Incomplete(_))),
                "{date}"
            );
        }
        // A token that the key does not have.
        let mut token = vanilla();
        token.insert("x-amz-security-token", "t".parse().unwrap());
        assert_eq!(verify(&token), Err(Refusal::UnknownKey));
    }
}

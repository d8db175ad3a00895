//! Who calls, where, and which service: from SigV4's credential scope
//! (`AKID/20261125/us-east-1/ec2/aws4_request`), in a header or in the query.

use std::borrow::Cow;

use axum::http::header;

use super::signature::Asked;
use crate::api::{Caller, DEFAULT_ACCOUNT, DEFAULT_REGION};

/// Service that unsigned requests mean, unless their version says otherwise.
const DEFAULT_SERVICE: &str = "ec2";

/// What a request's credential scope says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Access key id; none if the request is unsigned.
    pub(super) access_key: Option<String>,
    /// Account and region.
    pub(super) caller: Caller,
    /// `ec2`, `elasticloadbalancing`, `sts`.
    pub(super) service: String,
}

impl Identity {
    /// Of a request. An access key of twelve digits is the account; any other means
    /// the default one.
    pub(super) fn of(asked: &Asked<'_>) -> Self {
        let authorization = asked.headers.get(header::AUTHORIZATION);
        let scope = authorization.and_then(|value| credential(value.to_str().ok()?));
        let scope = scope.map(Cow::Borrowed).or_else(|| presigned(asked.query));
        let parts: Vec<&str> = scope.iter().flat_map(|scope| scope.split('/')).collect();
        let Ok([key, _date, region, service, _end]) = <[&str; 5]>::try_from(parts) else {
            return Self {
                access_key: None,
                caller: Caller::default(),
                service: DEFAULT_SERVICE.to_owned(),
            };
        };
        let region = if region.is_empty() {
            DEFAULT_REGION
        } else {
            region
        };
        Self {
            access_key: Some(key.to_owned()),
            caller: Caller::new(account_of(key), region),
            service: service.to_owned(),
        }
    }
}

/// The account that an access key id stands for, unless a file says another.
pub(super) fn account_of(key: &str) -> &str {
    let is_account = key.len() == 12 && key.bytes().all(|b| b.is_ascii_digit());
    if is_account { key } else { DEFAULT_ACCOUNT }
}

/// `X-Amz-Credential` of a query.
fn presigned(query: &str) -> Option<Cow<'_, str>> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs
        .find(|(name, _)| name == "X-Amz-Credential")
        .map(|(_, value)| value)
}

/// `Credential=` in an `Authorization` header.
fn credential(authorization: &str) -> Option<&str> {
    let rest = authorization.strip_prefix("AWS4-HMAC-SHA256")?;
    let part = |part: &'_ str| -> bool { part.trim_start().starts_with("Credential=") };
    let found = rest.split(',').find(|each| part(each))?;
    Some(found.trim_start().strip_prefix("Credential=")?.trim())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::*;

    fn of(authorization: &str) -> Identity {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
        Identity::of(&Asked::post(&headers, b""))
    }

    #[test]
    fn the_scope_says_account_region_and_service() {
        let signed = |key: &str| {
            of(&format!(
                "AWS4-HMAC-SHA256 Credential={key}/20261125/eu-west-1/elasticloadbalancing/aws4_request, \
                 SignedHeaders=host, Signature=00"
            ))
        };
        let one = signed("111122223333");
        assert_eq!(one.caller, Caller::new("111122223333", "eu-west-1"));
        assert_eq!(one.service, "elasticloadbalancing");
        assert_eq!(&*signed("AKIAEXAMPLE").caller.account, DEFAULT_ACCOUNT);
    }

    #[test]
    fn a_presigned_request_has_its_scope_in_the_query() {
        let headers = HeaderMap::new();
        let asked = Asked {
            query: "Action=x&X-Amz-Credential=111122223333%2F20261125%2Feu-west-1%2Fsts%2Faws4_request",
            ..Asked::post(&headers, b"")
        };
        let identity = Identity::of(&asked);
        assert_eq!(identity.caller, Caller::new("111122223333", "eu-west-1"));
        assert_eq!(identity.service, "sts");
    }

    #[test]
    fn what_is_no_scope_is_an_unsigned_request() {
        for other in [
            "Basic abc",
            "AWS4-HMAC-SHA256 Credential=a/b",
            "AWS4-HMAC-SHA256 x",
        ] {
            let identity = of(other);
            assert_eq!(identity.access_key, None, "{other}");
            assert_eq!(identity.caller, Caller::default());
        }
    }
}

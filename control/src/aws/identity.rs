//! Who calls, where, and which service: from SigV4's credential scope
//! (`AKID/20261125/us-east-1/ec2/aws4_request`).

use axum::http::{HeaderMap, header};

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
    /// Of a request with these headers. An access key of twelve digits is the
    /// account; any other means the default one.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let authorization = headers.get(header::AUTHORIZATION);
        let scope = authorization.and_then(|value| credential(value.to_str().ok()?));
        let Some([key, _date, region, service, _end]) = scope else {
            return Self {
                access_key: None,
                caller: Caller::default(),
                service: DEFAULT_SERVICE.to_owned(),
            };
        };
        let is_account = key.len() == 12 && key.bytes().all(|b| b.is_ascii_digit());
        let account = if is_account { key } else { DEFAULT_ACCOUNT };
        let region = if region.is_empty() {
            DEFAULT_REGION
        } else {
            region
        };
        Self {
            access_key: Some(key.to_owned()),
            caller: Caller::new(account, region),
            service: service.to_owned(),
        }
    }
}

/// The five parts of `Credential=` in an `Authorization` header.
fn credential(authorization: &str) -> Option<[&str; 5]> {
    let rest = authorization.strip_prefix("AWS4-HMAC-SHA256")?;
    let part = |part: &'_ str| -> bool { part.trim_start().starts_with("Credential=") };
    let found = rest.split(',').find(|each| part(each))?;
    let scope = found.trim_start().strip_prefix("Credential=")?.trim();
    let parts: Vec<&str> = scope.split('/').collect();
    parts.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(authorization: &str) -> Identity {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
        Identity::of(&headers)
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

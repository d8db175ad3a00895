//! Requests of clients that speak JSON. Of their services none is here yet: what
//! they send is read, and refused in the shape that they understand.

use axum::http::header;
use serde::de::IgnoredAny;

use super::signature::Asked;
use crate::api::ApiError;

/// How such a request names its action: `DynamoDB_20120810.ListTables`.
const TARGET: &str = "x-amz-target";

/// Whether a request is in JSON: by its type, or because it names its action so.
/// (A form of the wrong type is a form still: clients of EC2 send those.)
pub(super) fn speaks(asked: &Asked<'_>) -> bool {
    let of = |name: header::HeaderName| asked.headers.get(name)?.to_str().ok();
    let typed =
        of(header::CONTENT_TYPE).is_some_and(|it| it.starts_with("application/x-amz-json-"));
    typed || asked.headers.contains_key(TARGET)
}

/// Why it is not answered otherwise.
pub(super) fn refusal(asked: &Asked<'_>, service: &str) -> ApiError {
    // Nothing of it is kept, however large or deep it is.
    let read = serde_json::from_slice::<IgnoredAny>(asked.body);
    if let (false, Err(error)) = (asked.body.is_empty(), read) {
        let message = format!("The request's body is no JSON: {error}");
        return ApiError::new("SerializationException", message);
    }
    let target = asked.headers.get(TARGET);
    let target = target.and_then(|target| target.to_str().ok());
    let asks = target.map_or_else(String::new, |target| format!(" for {target}"));
    ApiError::new(
        "UnknownOperationException",
        format!(
            "vpclab has no JSON service{asks} ('{service}' is signed for); it has ec2, \
             elasticloadbalancing and sts, which take forms"
        ),
    )
}

//! How answers and errors are written: in XML by the Query protocols, or in JSON.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::form::FormError;
use super::known::Known;
use super::signature::Refusal;
use super::xml::{self, ListStyle};
use crate::api::ApiError;

/// A dialect of the Query protocol, or JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// EC2's.
    Ec2,
    /// Everybody else's, with the service's XML name space.
    Query(&'static str),
    /// `{"__type": code, "message": …}`
    Json,
}

const EC2_NAME_SPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";

impl Protocol {
    /// The answer of an action that went well.
    pub(super) fn answer(self, action: &str, fields: &Value, request_id: &str) -> Response {
        let body = match self {
            Self::Ec2 => xml::fields(fields, ListStyle::Item).map(|fields| {
                format!(
                    "<{action}Response xmlns=\"{EC2_NAME_SPACE}\"><requestId>{request_id}\
                     </requestId>{fields}</{action}Response>"
                )
            }),
            Self::Query(name_space) => xml::fields(fields, ListStyle::Member).map(|fields| {
                format!(
                    "<{action}Response xmlns=\"{name_space}\"><{action}Result>{fields}</{action}Result>\
                     <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>\
                     </{action}Response>"
                )
            }),
            Self::Json => return object(StatusCode::OK, None, fields, request_id),
        };
        match body {
            Ok(body) => document(StatusCode::OK, &body, request_id),
            Err(error) => self.error(&error, request_id),
        }
    }

    /// The answer of an action that was refused.
    pub(super) fn error(self, error: &ApiError, request_id: &str) -> Response {
        let shown = |text: &str| {
            xml::fields(&Value::String(text.to_owned()), ListStyle::Item).unwrap_or_default()
        };
        let (code, message) = (shown(&error.code), shown(&error.message));
        let status = status(&error.code);
        let body = match self {
            Self::Ec2 => format!(
                "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error>\
                 </Errors><RequestID>{request_id}</RequestID></Response>"
            ),
            Self::Query(name_space) => {
                let fault = if status.is_server_error() {
                    "Receiver"
                } else {
                    "Sender"
                };
                format!(
                    "<ErrorResponse xmlns=\"{name_space}\"><Error><Type>{fault}</Type><Code>{code}\
                     </Code><Message>{message}</Message></Error><RequestId>{request_id}</RequestId>\
                     </ErrorResponse>"
                )
            }
            Self::Json => {
                let fields = json!({"__type": error.code, "message": error.message});
                return object(status, Some(&error.code), &fields, request_id);
            }
        };
        document(status, &body, request_id)
    }

    /// The refusal of a request whose signature does not count.
    pub(super) fn not_believed(self, refusal: Refusal) -> ApiError {
        let (code, message) = match (self, refusal) {
            (Self::Ec2, Refusal::Missing) => (
                "MissingAuthenticationToken",
                "The request must be signed: this lab was started with --credentials".to_owned(),
            ),
            (_, Refusal::Missing) => (
                "MissingAuthenticationToken",
                "Missing Authentication Token".to_owned(),
            ),
            (_, Refusal::Incomplete(why)) => ("IncompleteSignature", why),
            // EC2 does not tell which of the two it is.
            (Self::Ec2, Refusal::UnknownKey | Refusal::Mismatch) => (
                "AuthFailure",
                "AWS was not able to validate the provided access credentials".to_owned(),
            ),
            (_, Refusal::UnknownKey) => (
                "InvalidClientTokenId",
                "The security token included in the request is invalid.".to_owned(),
            ),
            (_, Refusal::Mismatch) => (
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. \
                 Check your AWS Secret Access Key and signing method. Consult the service \
                 documentation for details."
                    .to_owned(),
            ),
            (Self::Ec2, Refusal::Expired(why)) => {
                ("RequestExpired", format!("Request has expired. {why}"))
            }
            (_, Refusal::Expired(why)) => ("SignatureDoesNotMatch", why),
        };
        ApiError::new(code, message)
    }

    /// The refusal of a request that cannot be read.
    pub(super) fn unreadable(self, action: &str, known: &Known, error: FormError) -> ApiError {
        match error {
            FormError::Unknown(path) if known.has_parameter(action, &path) => ApiError::new(
                "UnsupportedOperation",
                format!("vpclab does not implement the parameter {path} of {action}"),
            ),
            FormError::Unknown(path) => match self {
                Self::Ec2 => ApiError::new(
                    "UnknownParameter",
                    format!("The parameter {path} is not recognized"),
                ),
                Self::Query(_) | Self::Json => ApiError::new(
                    "ValidationError",
                    format!("The parameter {path} is not recognized"),
                ),
            },
            FormError::Missing(path) => match self {
                Self::Ec2 => ApiError::missing(&path),
                Self::Query(_) | Self::Json => {
                    ApiError::new("ValidationError", format!("{path} is missing"))
                }
            },
            FormError::Invalid { at, why } => match self {
                Self::Ec2 => {
                    ApiError::invalid_value(format!("Value for parameter {at} is invalid: {why}"))
                }
                Self::Query(_) | Self::Json => {
                    ApiError::new("ValidationError", format!("{at} is invalid: {why}"))
                }
            },
        }
    }
}

fn status(code: &str) -> StatusCode {
    match code {
        "DryRunOperation" => StatusCode::PRECONDITION_FAILED,
        "AuthFailure" => StatusCode::UNAUTHORIZED,
        "UnauthorizedOperation"
        | "MissingAuthenticationToken"
        | "SignatureDoesNotMatch"
        | "InvalidClientTokenId" => StatusCode::FORBIDDEN,
        "RequestEntityTooLarge" => StatusCode::PAYLOAD_TOO_LARGE,
        "InternalError" | "InsufficientInstanceCapacity" => StatusCode::INTERNAL_SERVER_ERROR,
        "ServiceUnavailable" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn document(status: StatusCode, body: &str, request_id: &str) -> Response {
    let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}\n");
    let headers = [
        (header::CONTENT_TYPE, "text/xml;charset=UTF-8".to_owned()),
        (
            HeaderName::from_static("x-amzn-requestid"),
            request_id.to_owned(),
        ),
    ];
    (status, headers, text).into_response()
}

fn object(status: StatusCode, code: Option<&str>, fields: &Value, request_id: &str) -> Response {
    let mut response = (status, axum::Json(fields)).into_response();
    let headers = response.headers_mut();
    let typed = HeaderValue::from_static("application/x-amz-json-1.1");
    headers.insert(header::CONTENT_TYPE, typed);
    let named = [
        ("x-amzn-requestid", Some(request_id)),
        ("x-amzn-errortype", code),
    ];
    for (name, value) in named {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}

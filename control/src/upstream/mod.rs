//! What answers for AWS's services behind endpoints: an HTTP server of the user's,
//! or `echo`, which says what it was asked and by whom.
//!
//! A request is passed on as it came, `Host` and signature included, but for the
//! headers that say by which endpoint it came: only vpclab knows, so what a client
//! says of that is taken out. Plain HTTP at port 80: for TLS the lab would need
//! certificates of AWS's names.

pub mod echo;
pub mod proxy;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::Through;

/// The endpoint by which a request came: `vpce-…`.
pub const VPCE_HEADER: &str = "x-vpclab-vpce-id";
/// The VPC of that endpoint: `vpc-…`.
pub const VPC_HEADER: &str = "x-vpclab-vpc-id";
/// The client's address: private by an endpoint, public by the internet.
pub const SOURCE_HEADER: &str = "x-vpclab-source-ip";
/// The service that was asked: `com.amazonaws.us-east-1.s3`.
pub const SERVICE_HEADER: &str = "x-vpclab-service";
/// Clients have no say in headers that begin so.
pub const HEADER_PREFIX: &str = "x-vpclab-";

/// The port at which services are asked.
pub const PORT: u16 = 80;

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// Says what it was asked.
    Echo,
    /// An HTTP server, as `host:port`.
    Http(Arc<str>),
}

impl Upstream {
    /// `echo` or `http://HOST[:PORT]`.
    ///
    /// # Errors
    /// In words, with what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "echo" {
            return Ok(Self::Echo);
        }
        let hint = "write `echo`, or an HTTP server such as http://127.0.0.1:4566";
        if text.starts_with("https://") {
            return Err(format!(
                "'{text}' wants TLS, for which the lab has no certificates of AWS's names; name \
                 the server's plain port: http://HOST:PORT"
            ));
        }
        let rest = text.strip_prefix("http://");
        let rest = rest.ok_or_else(|| format!("'{text}' is nothing that answers; {hint}"))?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let parsed = authority.parse::<axum::http::uri::Authority>();
        let parsed = parsed.ok().filter(|it| !it.host().is_empty());
        let parsed = parsed.filter(|_| !authority.contains('@'));
        let parsed = parsed.ok_or_else(|| {
            format!("'{text}' is no server: a path and a user have no place there; {hint}")
        })?;
        let authority = match parsed.port_u16() {
            Some(0) => None,
            Some(_) => Some(authority.to_owned()),
            None => (authority == parsed.host()).then(|| format!("{authority}:80")),
        };
        let authority = authority.ok_or_else(|| format!("'{text}' has no port; {hint}"))?;
        Ok(Self::Http(Arc::from(authority)))
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Echo => f.write_str("echo"),
            Self::Http(authority) => write!(f, "http://{authority}"),
        }
    }
}

/// Who asks a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// By which way.
    pub through: Through,
    /// From which address.
    pub address: IpAddr,
}

impl Client {
    /// Names and values of the headers that tell it.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, String)> + use<'_> {
        let endpoint = self.through.endpoint.iter();
        let by = endpoint
            .flat_map(|(id, vpc)| [(VPCE_HEADER, id.to_string()), (VPC_HEADER, vpc.to_string())]);
        by.chain([
            (SOURCE_HEADER, self.address.to_string()),
            (SERVICE_HEADER, self.through.service.to_string()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_echo_or_an_http_server() {
        for (text, is) in [
            ("echo", "echo"),
            ("http://127.0.0.1:4566", "http://127.0.0.1:4566"),
            ("http://127.0.0.1:4566/", "http://127.0.0.1:4566"),
            ("http://minio", "http://minio:80"),
            ("http://[::1]:9000", "http://[::1]:9000"),
        ] {
            assert_eq!(Upstream::parse(text).unwrap().to_string(), is, "{text}");
        }
        for (text, said) in [
            ("https://127.0.0.1:4566", "TLS"),
            ("127.0.0.1:4566", "http://127.0.0.1:4566"),
            ("http://", "no server"),
            ("http://a/b", "no server"),
            ("http://me@host", "no server"),
            ("http://host:0", "port"),
            ("http://host:99999", "port"),
            ("tcp://host:1", "nothing that answers"),
        ] {
            let why = Upstream::parse(text).unwrap_err();
            assert!(why.contains(said), "{text}: {why}");
        }
    }
}

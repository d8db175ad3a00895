//! Shapes that many of EC2's requests and answers share.

use std::str::FromStr;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use vpclab_dataplane::addr::Prefix;

use crate::api::Unsuccessful;

/// `<return>true</return>`
#[derive(Debug, Serialize)]
pub struct Done {
    #[serde(rename = "return")]
    done: bool,
}

/// It is done.
pub const DONE: Done = Done { done: true };

/// `NAME.Value=…` in requests, `<value>` in answers.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Attribute<T> {
    #[serde(rename(deserialize = "Value", serialize = "value"))]
    /// It.
    pub value: T,
}

impl<T> Attribute<T> {
    /// An attribute of an answer.
    pub fn new(value: T) -> Self {
        Self { value }
    }
}

/// `<state>`: of things that are what they are at once.
#[derive(Debug, Serialize)]
pub struct State {
    state: &'static str,
}

impl State {
    /// A block or an association that is there.
    pub const ASSOCIATED: Self = Self {
        state: "associated",
    };
    /// One that is gone.
    pub const DISASSOCIATED: Self = Self {
        state: "disassociated",
    };
}

/// A block of addresses in a request.
#[derive(Clone, Copy, Debug)]
pub struct Cidr(pub Prefix);

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Prefix::from_str(&text)
            .map(Self)
            .map_err(|_| de::Error::custom(format!("'{text}' is not a valid CIDR block")))
    }
}

/// Items of a bulk request that were refused.
#[derive(Debug, Serialize)]
pub struct Refused {
    unsuccessful: Vec<RefusedItem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RefusedItem {
    resource_id: String,
    error: RefusedWhy,
}

#[derive(Debug, Serialize)]
struct RefusedWhy {
    code: std::borrow::Cow<'static, str>,
    message: String,
}

impl Refused {
    /// The answer of a bulk request.
    pub fn new(all: Vec<Unsuccessful>) -> Self {
        let item = |refused: Unsuccessful| RefusedItem {
            resource_id: refused.resource_id,
            error: RefusedWhy {
                code: refused.error.code,
                message: refused.error.message,
            },
        };
        Self {
            unsuccessful: all.into_iter().map(item).collect(),
        }
    }
}

/// Seconds since 1970 as AWS writes times.
pub fn time(seconds: u64) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    humantime::format_rfc3339_millis(at).to_string()
}

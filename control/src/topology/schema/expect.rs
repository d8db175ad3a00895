//! What a topology says about itself, for `vpclab test`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::topology::located::{Many, Value};

/// An assertion about one conversation. Addresses are reached by the network's
/// rules alone: in `vpclab test` every host listens wherever it is asked.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// What it is about, for the report [default: from, to and protocol].
    #[serde(default)]
    pub name: Option<String>,
    /// Host that starts the conversation.
    pub from: Value<String>,
    /// Host, endpoint, load balancer or address, with a port for TCP and UDP.
    pub to: Value<String>,
    /// tcp, udp, icmp or icmpv6 [default: tcp].
    #[serde(default, alias = "protocol")]
    pub proto: Option<Value<String>>,
    /// Whether an answer comes back [default: true, unless `code` is given].
    #[serde(default)]
    pub reachable: Option<bool>,
    /// What the way there crosses, in this order: names or ids of hosts,
    /// endpoints, load balancers, route tables, groups, ACLs, gateways.
    #[serde(default)]
    pub via: Many<String>,
    /// Why it is not reachable: AWS's reachability code, or vpclab's reason.
    #[serde(default)]
    pub code: Option<Value<String>>,
    /// Address from which the other end sees the conversation.
    #[serde(default)]
    pub seen_as: Option<Value<String>>,
}

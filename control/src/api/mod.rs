//! The one way in: every change is an action, executed in a transaction.
//!
//! clone the model → validate and apply → compile what was touched onto the last
//! snapshot → commit → publish → answer. A failure at any step leaves everything
//! as it was.

mod address;
mod caller;
mod control;
mod error;
mod keep;
mod transaction;

pub mod aws_service;
pub mod default_vpc;
pub mod dhcp_options;
pub mod elastic_ip;
pub mod endpoint;
pub mod endpoint_service;
pub(crate) mod gateway_endpoint;
pub mod health_check;
pub mod hosted_zone;
pub mod insights;
pub mod instance;
pub mod interface;
pub mod interface_address;
pub mod internet_gateway;
pub mod internet_host;
pub mod listener;
pub mod load_balancer;
pub mod nat_gateway;
pub mod network_acl;
pub mod peering;
pub mod plug;
pub mod prefix_list;
pub mod private_dns;
pub mod route;
pub mod route_table;
pub mod security_group;
pub mod subnet;
pub mod tag;
pub mod target;
pub mod target_group;
pub mod vpc;
pub mod vpc_cidr;
pub mod vpn;
pub mod zone_fault;

pub use aws_service::*;
pub use caller::{Caller, DEFAULT_ACCOUNT, DEFAULT_REGION};
pub use control::{ControlPlane, ControlPlaneOptions, Reader};
pub use default_vpc::*;
pub use dhcp_options::*;
pub use elastic_ip::*;
pub use endpoint::*;
pub use endpoint_service::*;
pub use error::{ApiError, Unsuccessful};
pub use health_check::*;
pub use hosted_zone::*;
pub use insights::*;
pub use instance::*;
pub use interface::*;
pub use interface_address::*;
pub use internet_gateway::*;
pub use internet_host::*;
pub use listener::*;
pub use load_balancer::*;
pub use nat_gateway::*;
pub use network_acl::*;
pub use peering::*;
pub use plug::*;
pub use prefix_list::*;
pub use private_dns::*;
pub use route::*;
pub use route_table::*;
pub use security_group::*;
pub use subnet::*;
pub use tag::*;
pub use target::*;
pub use target_group::*;
pub use transaction::Transaction;
pub use vpc::*;
pub use vpc_cidr::*;
pub use vpn::*;
pub use zone_fault::*;

/// A change to the model, as a typed request.
pub trait Action {
    /// What the caller learns.
    type Output;

    /// Validates the request and changes the model. An error drops the
    /// transaction, so nothing needs to be undone.
    ///
    /// # Errors
    /// With AWS's code and a message that names the offending value.
    fn apply(self, tx: &mut Transaction<'_>) -> Result<Self::Output, ApiError>;
}

#[cfg(test)]
mod load_balancing_property;
#[cfg(test)]
pub(crate) mod testing;

//! EC2's actions, a file for each family of resources.

pub mod address;
pub mod dhcp_options;
pub mod endpoint_connection;
mod endpoint_policy;
pub mod endpoint_service;
pub mod insights;
pub mod instance;
pub mod interface;
pub mod interface_address;
pub mod internet_gateway;
pub mod nat_gateway;
pub mod network_acl;
pub mod peering;
mod permission;
pub mod prefix_list;
pub mod region;
pub mod route;
pub mod route_table;
pub mod run_instances;
pub mod security_group;
pub mod security_group_rule;
pub mod shape;
pub mod subnet;
pub mod tag;
pub mod vpc;
pub mod vpc_cidr;
pub mod vpc_endpoint;
pub mod vpn_connection;
pub mod vpn_gateway;

use super::call::Entry;

/// All of EC2 that there is.
pub const FAMILIES: &[&[Entry]] = &[
    address::CALLS,
    dhcp_options::CALLS,
    endpoint_connection::CALLS,
    endpoint_service::CALLS,
    insights::CALLS,
    instance::CALLS,
    interface::CALLS,
    interface_address::CALLS,
    internet_gateway::CALLS,
    nat_gateway::CALLS,
    network_acl::CALLS,
    peering::CALLS,
    prefix_list::CALLS,
    region::CALLS,
    route::CALLS,
    route_table::CALLS,
    run_instances::CALLS,
    security_group::CALLS,
    security_group_rule::CALLS,
    subnet::CALLS,
    tag::CALLS,
    vpc::CALLS,
    vpc_cidr::CALLS,
    vpc_endpoint::CALLS,
    vpn_connection::CALLS,
    vpn_gateway::CALLS,
];

#[cfg(test)]
mod endpoint_mistakes_tests;
#[cfg(test)]
mod endpoint_tests;

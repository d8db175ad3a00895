//! The numbered behaviours of AWS networking that FIDELITY.md lists, each as a
//! test `bNNN_what_is_claimed` on whole labs in virtual time.

#![allow(clippy::unwrap_used, reason = "tests")]

mod a_addressing;
mod a_services;
mod b_routing;
mod c_filters;
mod d_gateways;
mod d_nat;
mod d_peering;
mod d_vpn;
mod e_aws_services;
mod e_gateway_endpoints;
mod f_client_address;
mod f_cross_region;
mod f_names;
mod f_one_way;
mod f_privatelink;
mod f_proxy_protocol;
mod fixtures;
mod g_gwlb;
mod g_gwlb_scale;
mod mtu_matrix;

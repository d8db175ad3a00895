//! Interfaces, addresses and routes of a host, by rtnetlink.
//!
//! The netlink socket belongs to the network of the thread that opens it, and
//! a current-thread runtime keeps it there.

use std::net::IpAddr;

use nix::net::if_::if_nametoindex;
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};

use super::plan::InterfacePlan;
use super::{Context, HostError};

/// Sets up the loopback and `interfaces`, which exist, in the calling
/// thread's network.
pub fn configure(interfaces: &[InterfacePlan]) -> Result<(), HostError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("runtime")?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().context("netlink")?;
        let connection = tokio::spawn(connection);
        let result = configure_all(&handle, interfaces).await;
        connection.abort();
        result
    })
}

async fn configure_all(handle: &Handle, interfaces: &[InterfacePlan]) -> Result<(), HostError> {
    let loopback = LinkUnspec::new_with_index(index_of("lo")?).up().build();
    handle.link().set(loopback).execute().await.context("lo")?;
    for interface in interfaces {
        configure_one(handle, interface)
            .await
            .context(&interface.device)?;
    }
    Ok(())
}

async fn configure_one(handle: &Handle, plan: &InterfacePlan) -> Result<(), HostError> {
    let index = index_of(&plan.device)?;
    disable_router_discovery(&plan.device);
    let link = LinkUnspec::new_with_index(index)
        .address(plan.mac.to_vec())
        .mtu(plan.mtu)
        .up()
        .build();
    handle.link().set(link).execute().await.context("link")?;
    for &(address, len) in &plan.addresses {
        let mut request = handle.address().add(index, address, len);
        if address.is_ipv6() {
            // The subnet hands addresses out: nobody else can have this one.
            request.message_mut().header.flags |=
                rtnetlink::packet_route::address::AddressHeaderFlags::Nodad;
        }
        let what = format!("address {address}/{len}");
        request.execute().await.context(what)?;
    }
    for gateway in &plan.gateways {
        let mut route = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(unspecified(gateway.address), 0)
            .context("default route")?
            .gateway(gateway.address)
            .context("default route")?
            .output_interface(index);
        if gateway.onlink {
            route = route.onlink();
        }
        let what = format!("default route by {}", gateway.address);
        handle
            .route()
            .add(route.build())
            .execute()
            .await
            .context(what)?;
    }
    Ok(())
}

/// Routes are static: no waiting for router advertisements, no addresses that
/// the subnet did not give out. (Best effort: IPv6 may be switched off.)
fn disable_router_discovery(device: &str) {
    for (setting, value) in [("accept_ra", "0"), ("autoconf", "0"), ("accept_dad", "0")] {
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{device}/{setting}"), value);
    }
}

fn index_of(device: &str) -> Result<u32, HostError> {
    if_nametoindex(device).context(device)
}

fn unspecified(like: IpAddr) -> IpAddr {
    if like.is_ipv4() {
        IpAddr::from([0u8; 4])
    } else {
        IpAddr::from([0u8; 16])
    }
}

//! Interfaces, addresses and routes of a host, by rtnetlink.
//!
//! The netlink socket belongs to the network of the thread that opens it, and
//! a current-thread runtime keeps it there.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use futures_util::TryStreamExt;
use nix::net::if_::if_nametoindex;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkInfo};
use rtnetlink::{Handle, LinkUnspec, LinkVeth, RouteMessageBuilder};
use vpclab_dataplane::addr::Prefix;

use super::plan::{GatewayPlan, InterfacePlan};
use super::{Context, HostError};

/// What to do about an address or route that is there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Existing {
    /// An error: it is somebody else's.
    Refuse,
    /// Take its place: in a host of the lab an interface may outlive its killed
    /// daemon for a moment, and then has them.
    Replace,
}

/// Sets up `interfaces`, which exist, in the calling thread's network.
pub fn configure(interfaces: &[InterfacePlan], existing: Existing) -> Result<(), HostError> {
    converse(async |handle| configure_all(&handle, interfaces, existing).await)
}

/// Sets up a host's network, which is the calling thread's: loopback, and those
/// of `all` its interfaces that are `coming`. What an earlier daemon left there
/// beside them goes.
pub fn configure_host(all: &[InterfacePlan], coming: &[InterfacePlan]) -> Result<(), HostError> {
    converse(async |handle| {
        let loopback = LinkUnspec::new_with_index(index_of("lo")?).up().build();
        handle.link().set(loopback).execute().await.context("lo")?;
        remove_strangers(&handle, all).await?;
        configure_all(&handle, coming, Existing::Replace).await
    })
}

/// Deletes the TAP `device` of the calling thread's network, if there is one.
pub fn delete_tap(device: &str) -> Result<(), HostError> {
    converse(async |handle| {
        for (name, index, is_tap) in links(&handle).await? {
            if name == device && is_tap {
                delete_index(&handle, index, device).await?;
            }
        }
        Ok(())
    })
}

/// The name of one of `interfaces` that another in the calling thread's network
/// has, which the lab has not made: somebody in the host has.
pub fn taken(interfaces: &[InterfacePlan]) -> Result<Option<String>, HostError> {
    converse(async |handle| {
        let links = links(&handle).await?;
        let mut others = links.into_iter().filter(|(.., is_tap)| !is_tap);
        let found = others.find(|(name, ..)| interfaces.iter().any(|plan| plan.device == *name));
        Ok(found.map(|(name, ..)| name))
    })
}

/// Deletes TAPs named as a host's interfaces are, but for those of `all`.
async fn remove_strangers(handle: &Handle, all: &[InterfacePlan]) -> Result<(), HostError> {
    let is_ours = |name: &str| {
        let number = name.strip_prefix("eth");
        number.is_some_and(|number| number.parse::<u16>().is_ok())
    };
    for (name, index, is_tap) in links(handle).await? {
        if is_tap && is_ours(&name) && !all.iter().any(|plan| plan.device == name) {
            delete_index(handle, index, &name).await?;
        }
    }
    Ok(())
}

/// Name and index of every interface, and whether it is a TAP.
async fn links(handle: &Handle) -> Result<Vec<(String, u32, bool)>, HostError> {
    let mut found = Vec::new();
    let mut links = handle.link().get().execute();
    while let Some(link) = links.try_next().await.context("links")? {
        let mut name = String::new();
        let mut is_tap = false;
        for attribute in link.attributes {
            match attribute {
                LinkAttribute::IfName(text) => name = text,
                LinkAttribute::LinkInfo(about) => {
                    is_tap |= about.contains(&LinkInfo::Kind(InfoKind::Tun));
                }
                _ => {}
            }
        }
        found.push((name, link.header.index, is_tap));
    }
    Ok(found)
}

/// One that is gone by itself meanwhile is deleted.
async fn delete_index(handle: &Handle, index: u32, device: &str) -> Result<(), HostError> {
    let deleted = handle.link().del(index).execute().await;
    match index_of(device) {
        Err(_) => Ok(()),
        Ok(_) => deleted.context(device),
    }
}

/// Readies a TAP that a virtual machine gets: this side of it takes no part,
/// so it has no address and answers nobody. Returns its index.
pub fn prepare_machine_tap(plan: &InterfacePlan, alias: &str) -> Result<u32, HostError> {
    let index = index_of(&plan.device)?;
    let path = format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", plan.device);
    // There is no such file without IPv6.
    let _ = std::fs::write(path, "1");
    let link = LinkUnspec::new_with_index(index)
        .alias(alias)
        .mtu(plan.mtu)
        .arp(false)
        .up()
        .build();
    converse(async |handle| handle.link().set(link).execute().await.context("link"))?;
    Ok(index)
}

/// Deletes an interface of the calling thread's network; if `alias` is given,
/// only one that carries it. One that is not there is deleted already.
pub fn delete(device: &str, alias: Option<&str>) -> Result<(), HostError> {
    let Ok(index) = index_of(device) else {
        return Ok(());
    };
    converse(async |handle| {
        if let Some(alias) = alias {
            let mut found = handle.link().get().match_index(index).execute();
            let link = found.try_next().await.context(device)?;
            let is_ours = |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::IfAlias(text) if text == alias);
            if !link.is_some_and(|link| link.attributes.iter().any(is_ours)) {
                return Ok(());
            }
        }
        handle.link().del(index).execute().await.context(device)
    })
}

/// Adds a route to `block` by the first hop of `plan`.
pub fn add_route(
    plan: &InterfacePlan,
    block: Prefix,
    gateway: GatewayPlan,
) -> Result<(), HostError> {
    let index = index_of(&plan.device)?;
    converse(async |handle| route(&handle, index, block, gateway, Existing::Refuse).await)
}

/// Makes a pair of interfaces that are joined: `device` in the calling thread's
/// network, `peer` in the network that is given.
pub fn add_veth(device: &str, peer: &str, network: BorrowedFd<'_>) -> Result<(), HostError> {
    converse(async |handle| {
        let pair = LinkVeth::new(device, peer).build();
        handle.link().add(pair).execute().await.context("veth")?;
        let moved = LinkUnspec::new_with_index(index_of(peer)?)
            .setns_by_fd(network.as_raw_fd())
            .build();
        handle.link().set(moved).execute().await.context(peer)
    })
}

/// Runs one conversation with the kernel on the calling thread.
fn converse<T>(work: impl AsyncFnOnce(Handle) -> Result<T, HostError>) -> Result<T, HostError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("runtime")?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().context("netlink")?;
        let connection = tokio::spawn(connection);
        let result = work(handle).await;
        connection.abort();
        result
    })
}

async fn configure_all(
    handle: &Handle,
    interfaces: &[InterfacePlan],
    existing: Existing,
) -> Result<(), HostError> {
    for interface in interfaces {
        configure_one(handle, interface, existing)
            .await
            .context(&interface.device)?;
    }
    Ok(())
}

async fn configure_one(
    handle: &Handle,
    plan: &InterfacePlan,
    existing: Existing,
) -> Result<(), HostError> {
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
        if existing == Existing::Replace {
            request = request.replace();
        }
        if address.is_ipv6() {
            // The subnet hands addresses out: nobody else can have this one.
            request.message_mut().header.flags |=
                rtnetlink::packet_route::address::AddressHeaderFlags::Nodad;
        }
        let what = format!("address {address}/{len}");
        request.execute().await.context(what)?;
    }
    for &gateway in &plan.gateways {
        let block = everything(gateway.address);
        route(handle, index, block, gateway, existing).await?;
    }
    Ok(())
}

async fn route(
    handle: &Handle,
    index: u32,
    block: Prefix,
    gateway: GatewayPlan,
    existing: Existing,
) -> Result<(), HostError> {
    let what = match block.len() {
        0 => format!("default route by {}", gateway.address),
        _ => format!("route to {block} by {}", gateway.address),
    };
    let mut route = RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(block.address(), block.len())
        .context(&what)?
        .gateway(gateway.address)
        .context(&what)?
        .output_interface(index);
    if gateway.onlink {
        route = route.onlink();
    }
    let mut request = handle.route().add(route.build());
    if existing == Existing::Replace {
        request = request.replace();
    }
    request.execute().await.context(what)
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

/// The whole address family of `like`.
fn everything(like: IpAddr) -> Prefix {
    match like {
        IpAddr::V4(_) => Prefix::ANY_V4,
        IpAddr::V6(_) => Prefix::ANY_V6,
    }
}

//! The benchmarks' labs: topology files written here and applied as any other.

use std::fmt::Write;

use vpclab_dataplane::addr::{EniId, Mac};
use vpclab_dataplane::tables::Snapshot;

use super::{BenchError, Kind};
use crate::api::ControlPlane;
use crate::topology::{Names, Topology};

/// A control plane, its tables, and what the names of its file stand for.
pub struct World {
    /// The control plane.
    pub control: ControlPlane,
    /// What the names of the file became.
    pub names: Names,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

impl World {
    /// Applies a topology file.
    ///
    /// # Errors
    /// Its first mistake.
    pub fn new(yaml: &str) -> Result<Self, BenchError> {
        let (control, names) = Topology::parse("bench.yaml", yaml)?.control_plane()?;
        Ok(Self { control, names })
    }

    /// The tables as they are now.
    pub fn snapshot(&self) -> Snapshot {
        (*self.control.tables().snapshot()).clone()
    }

    /// The first interface of a host.
    ///
    /// # Errors
    /// If there is no such host.
    pub fn eni(&self, host: &str) -> Result<EniId, BenchError> {
        let names = &self.names;
        let interface = match names.hosts.get(host) {
            Some(host) => host.enis.first(),
            None => names.internet_hosts.get(host),
        };
        let row = interface.and_then(|id| self.control.model().row(id));
        row.map(EniId)
            .ok_or_else(|| BenchError::wrong(format!("the benchmark's lab has no host {host}")))
    }

    /// MAC addresses of an interface and of its subnet's router.
    ///
    /// # Errors
    /// If the interface has no row.
    pub fn macs(&self, tables: &Snapshot, eni: EniId) -> Result<(Mac, Mac), BenchError> {
        let row = tables.enis.row(eni);
        let macs = row.and_then(|row| Some((row.mac, tables.subnets.row(row.subnet)?.router_mac)));
        macs.ok_or_else(|| BenchError::wrong(format!("the interface {eni:?} has no row")))
    }

    /// First address of an interface, of the family of `kind`.
    ///
    /// # Errors
    /// If it has none.
    pub fn address(
        &self,
        tables: &Snapshot,
        eni: EniId,
        kind: Kind,
    ) -> Result<std::net::IpAddr, BenchError> {
        let row = tables.enis.row(eni);
        let mut addresses = row
            .into_iter()
            .flat_map(|row| row.addresses.iter().copied());
        let address = addresses.find(|&address| kind.has(address));
        address.ok_or_else(|| BenchError::wrong(format!("the interface {eni:?} has no address")))
    }
}

/// `count` hosts called `name0`, `name1`… with these keys, as lines of YAML
/// below `hosts:`.
pub(super) fn hosts(name: &str, count: u64, keys: &str) -> String {
    let mut out = String::new();
    for n in 0..count {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  {name}{n}: {{{keys}}}");
    }
    out
}

/// The rules of a network ACL that a grown VPC has: eighteen that deny what
/// nobody here sends, then one that allows the rest. As items of YAML.
pub(super) fn acl_rules() -> String {
    let mut out = String::from("[");
    for n in 0..18 {
        let _ = write!(
            out,
            "{{rule: {}, action: deny, proto: tcp, ports: {}, cidr: 192.0.2.0/24}}, ",
            100 + n * 10,
            8000 + n
        );
    }
    out.push_str("{rule: 1000, action: allow, cidr: 0.0.0.0/0}, ");
    out.push_str("{rule: 1001, action: allow, cidr: '::/0'}]");
    out
}

/// Security-group rules beside the one that matters: to or from places that
/// nobody here talks to. As items of YAML, each with a comma after it.
pub(super) fn idle_rules(peer: &str) -> String {
    let mut out = String::new();
    for n in 0..8 {
        let _ = write!(
            out,
            "{{proto: tcp, ports: {}, {peer}: 198.51.100.{n}/32}}, ",
            9000 + n
        );
    }
    out
}

/// Fifty routes, as items of YAML: what an ordinary table holds beside the
/// local one. `via` is where they lead.
pub(super) fn routes(via: &str) -> String {
    let items: Vec<String> = (0..49)
        .map(|n| format!("{{to: 172.16.{n}.0/24, via: {via}}}"))
        .collect();
    format!("[{}]", items.join(", "))
}

//! Who asks a service: a host, by one of its interfaces.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::tables::{EniRow, Snapshot};

use crate::model::{
    Id, Instance, InstanceId, Model, NetworkInterface, NetworkInterfaceId, Vpc, device_alias, hash,
};

/// The interface that a question came by, and what it belongs to.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) model: &'a Model,
    pub(super) tables: &'a Snapshot,
    pub(super) eni: EniId,
    pub(super) row: &'a EniRow,
    pub(super) interface: &'a Arc<NetworkInterface>,
    pub(super) vpc: &'a Vpc,
}

/// Most interfaces that a host has (EC2's largest types have 15).
const DEVICES_MAX: u16 = 16;

impl<'a> Asker<'a> {
    pub(super) fn new(model: &'a Model, tables: &'a Snapshot, eni: EniId) -> Option<Self> {
        let row = tables.enis.row(eni)?;
        let interface = model.get(&NetworkInterfaceId::from_text(row.label.clone()))?;
        let vpc = model.get(&interface.vpc)?;
        Some(Self {
            model,
            tables,
            eni,
            row,
            interface,
            vpc,
        })
    }

    /// What the host is called.
    pub(super) fn host(&self) -> &'a str {
        let at = self.interface.attachment.as_ref();
        at.map_or("", |at| &*at.host)
    }

    /// The instance that it is, if the API made it.
    pub(super) fn instance(&self) -> Option<&'a Instance> {
        let id = InstanceId::from_text(Arc::from(self.host()));
        self.model.get(&id).map(|instance| &**instance)
    }

    /// The instance's id. ASSUMPTION: a host of a file has one that follows
    /// from its name.
    pub(super) fn instance_id(&self) -> String {
        match self.instance() {
            Some(instance) => instance.id.to_string(),
            None => format!("i-0{:016x}", hash(0, self.host())),
        }
    }

    /// The host's interfaces, the primary one first.
    pub(super) fn interfaces(&self) -> Vec<&'a Arc<NetworkInterface>> {
        let meta = &self.interface.meta;
        let indexes = self.model.indexes();
        let found = (0..DEVICES_MAX).filter_map(|device| {
            let id = indexes.alias(&device_alias(meta, self.host(), device))?;
            let id = NetworkInterfaceId::from_text(id.text.clone());
            self.model.get(&id)
        });
        found.collect()
    }

    /// Public addresses of an interface, each with the private one behind it.
    pub(super) fn public(&self, interface: &NetworkInterface) -> Vec<(Ipv4Addr, Ipv4Addr)> {
        let row = self.model.row(&interface.id).map(EniId);
        let row = row.and_then(|row| self.tables.enis.row(row));
        let pairs = row.into_iter().flat_map(|row| &row.public);
        pairs
            .filter_map(|pair| match (pair.public, pair.private) {
                (IpAddr::V4(public), IpAddr::V4(private)) => Some((public, private)),
                _ => None,
            })
            .collect()
    }
}

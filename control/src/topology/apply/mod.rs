//! Makes a topology: API actions in dependency order, as one change. All of it
//! takes effect in one snapshot, or nothing does, and a refusal names the line
//! of the item that caused it.

mod addresses;
mod hosts;
mod kept;
mod names;
mod nat_gateways;
mod network;
mod on_prem;
mod peering;
mod routes;
mod services;

pub use kept::Kept;
pub use names::{HostNames, Names, NatGatewayNames, ServiceNames, VpcNames};

use std::net::Ipv4Addr;

use addresses::Plan;

use super::TopologyError;
use super::error::Mistake;
use super::located::{At, Value};
use super::resolve::{DEFAULT, SubnetRef, within};
use super::schema::{Endpoint, EndpointType, Topology};
use crate::api::DEFAULT_ACCOUNT;
use crate::api::{
    Action, ApiError, Caller, ControlPlane, ControlPlaneOptions, SetZoneState, Transaction,
};
use crate::model::{SecurityGroupId, SubnetId};
use crate::quotas::Quotas;

impl Topology {
    /// A control plane of this lab alone.
    ///
    /// # Errors
    /// The first refusal, with its line.
    pub fn control_plane(&self) -> Result<(ControlPlane, Names), TopologyError> {
        self.control_plane_keeping(&Kept::default())
    }

    /// The same; what the file leaves open is chosen as it was before.
    ///
    /// # Errors
    /// The first refusal, with its line.
    pub fn control_plane_keeping(
        &self,
        kept: &Kept,
    ) -> Result<(ControlPlane, Names), TopologyError> {
        let options = ControlPlaneOptions {
            seed: self.seed(),
            ..ControlPlaneOptions::default()
        };
        let mut control = ControlPlane::new(options);
        let names = self.apply_keeping(&mut control, kept)?;
        Ok((control, names))
    }

    /// Makes everything that the file describes.
    ///
    /// # Errors
    /// The first refusal, with its line; then nothing has changed.
    pub fn apply(&self, control: &mut ControlPlane) -> Result<Names, TopologyError> {
        self.apply_keeping(control, &Kept::default())
    }

    /// The same; what the file leaves open is chosen as it was before.
    ///
    /// # Errors
    /// The first refusal, with its line; then nothing has changed.
    pub fn apply_keeping(
        &self,
        control: &mut ControlPlane,
        kept: &Kept,
    ) -> Result<Names, TopologyError> {
        let before = control.quotas().clone();
        let made = self.make(control, kept);
        if made.is_err() {
            *control.quotas_mut() = before;
        }
        made.map_err(|mistake| mistake.in_file(&self.file))
    }

    fn make(&self, control: &mut ControlPlane, kept: &Kept) -> Result<Names, Mistake> {
        self.set_quotas(control.quotas_mut())?;
        let caller = Caller::new(DEFAULT_ACCOUNT, self.region());
        let mut at = At::default();
        let made = control.transact(&caller, |tx| {
            let plan = Plan::new(self);
            let names = Names::default();
            let mut applier = Applier {
                topology: self,
                tx,
                names,
                plan,
                kept,
                at,
            };
            let made = applier.everything();
            applier.tx.mint_for_nobody();
            at = applier.at;
            made.map(|()| applier.names)
        });
        made.map_err(|error| Mistake::new(at, format!("{} ({})", error.message, error.code)))
    }

    fn set_quotas(&self, quotas: &mut Quotas) -> Result<(), Mistake> {
        for (name, value) in self.quotas.iter() {
            quotas
                .set_by_name(name, value.value.into())
                .map_err(|error| Mistake::new(name.at, error.to_string()))?;
        }
        Ok(())
    }
}

/// One run over a topology.
struct Applier<'a, 'tx> {
    topology: &'a Topology,
    tx: &'a mut Transaction<'tx>,
    names: Names,
    plan: Plan,
    kept: &'a Kept,
    /// The item at work, for errors.
    at: At,
}

impl<'a> Applier<'a, '_> {
    /// What is named exists before what names it.
    fn everything(&mut self) -> Result<(), ApiError> {
        let topology = self.topology;
        for (name, _) in topology.prefix_lists.iter() {
            self.prefix_list(name)?;
        }
        for (name, vpc) in topology.vpcs.iter() {
            self.create_vpc(name, vpc)?;
        }
        for (name, peering) in topology.peerings.iter() {
            self.peering(name, peering)?;
        }
        // Rules name groups, of peers too, which are all there now.
        for (name, vpc) in topology.vpcs.iter() {
            for (group, body) in vpc.security_groups.iter() {
                self.group_rules(name, group, body)?;
            }
        }
        for (n, (name, network)) in topology.on_prem.iter().enumerate() {
            self.on_prem(n, name, network)?;
        }
        self.hosts()?;
        for (name, gateway) in topology.nat_gateways.iter() {
            self.nat_gateway(name, gateway)?;
        }
        for (name, group) in topology.target_groups.iter() {
            self.target_group(name, group)?;
        }
        for (name, balancer) in topology.load_balancers.iter() {
            self.load_balancer(name, balancer)?;
        }
        for (name, group) in topology.target_groups.iter() {
            self.targets(name, group)?;
        }
        for (name, service) in topology.endpoint_services.iter() {
            self.endpoint_service(name, service)?;
        }
        for (name, _) in topology.services.iter() {
            self.aws_service(name)?;
        }
        let gateway = |endpoint: &Endpoint| endpoint.kind == Some(EndpointType::Gateway);
        for (name, endpoint) in topology.endpoints.iter() {
            if !gateway(endpoint) {
                self.endpoint(name, endpoint)?;
            }
        }
        for (name, balancer) in topology.load_balancers.iter() {
            self.secondary_ips(name, balancer)?;
        }
        for (name, zone) in topology.zones.iter() {
            self.zone(name, zone)?;
        }
        // Last, because routes lead to interfaces and endpoints.
        for (name, vpc) in topology.vpcs.iter() {
            self.route_tables(name, vpc)?;
        }
        for (name, endpoint) in topology.endpoints.iter() {
            if gateway(endpoint) {
                self.gateway_endpoint(name, endpoint)?;
            }
        }
        for zone in topology.faults.zones_down.iter() {
            let set = SetZoneState {
                availability_zone: zone.name(topology.region()),
                down: true,
            };
            self.run(zone.at, set)?;
        }
        Ok(())
    }

    /// Ids are for this thing from now on. What of it cannot be changed in place
    /// is part of the name: with another value it is another thing.
    fn name(&mut self, name: impl std::fmt::Display) {
        self.tx.mint_for(&name.to_string());
    }

    /// Executes an action for the item at that place.
    fn run<A: Action>(&mut self, at: At, action: A) -> Result<A::Output, ApiError> {
        self.at = at;
        action.apply(self.tx)
    }

    fn vpc(&self, name: &str) -> Result<&VpcNames, ApiError> {
        self.names.vpcs.get(name).ok_or_else(|| not_made(name))
    }

    fn subnet(&mut self, reference: &Value<String>) -> Result<SubnetRef<'a>, ApiError> {
        let topology = self.topology;
        topology
            .subnet(reference)
            .map_err(|mistake| self.unexpected(mistake))
    }

    fn subnet_id(&self, subnet: &SubnetRef<'_>) -> Result<SubnetId, ApiError> {
        let found = self.vpc(subnet.vpc)?.subnets.get(subnet.name);
        found.cloned().ok_or_else(|| not_made(subnet.name))
    }

    /// An address for the next thing in a subnet.
    fn next_address(&mut self, subnet: &SubnetRef<'_>) -> Result<Option<Ipv4Addr>, ApiError> {
        let id = self.subnet_id(subnet)?;
        let indexes = self.tx.model().indexes();
        let used = |address| indexes.address_owner(&id, address).is_some();
        let free = self.plan.next(subnet, |address| {
            used(address) || self.kept.has(&id, address)
        });
        // Kept for things that may be gone: better those than none.
        Ok(free.or_else(|| self.plan.next(subnet, used)))
    }

    /// The address that the thing called `key` had, if it can have it again, else
    /// the next one.
    fn same_address(
        &mut self,
        subnet: &SubnetRef<'_>,
        key: &str,
    ) -> Result<Option<Ipv4Addr>, ApiError> {
        let id = self.subnet_id(subnet)?;
        let block = subnet.subnet.cidr.value.0;
        let had = self.kept.address(&id, key).filter(|&address| {
            let address = address.into();
            let indexes = self.tx.model().indexes();
            block.contains(address) && indexes.address_owner(&id, address).is_none()
        });
        match had {
            Some(address) if self.plan.claim(subnet, address) => Ok(Some(address)),
            _ => self.next_address(subnet),
        }
    }

    fn group_ids(
        &mut self,
        vpc: &str,
        references: &[Value<String>],
    ) -> Result<Vec<SecurityGroupId>, ApiError> {
        references
            .iter()
            .map(|reference| self.group_id(vpc, reference))
            .collect()
    }

    fn group_id(
        &mut self,
        vpc: &str,
        reference: &Value<String>,
    ) -> Result<SecurityGroupId, ApiError> {
        let name = within(vpc, reference).map_err(|mistake| self.unexpected(mistake))?;
        let names = self.vpc(vpc)?;
        if name.value == DEFAULT {
            return Ok(names.default_security_group.clone());
        }
        let found = names.security_groups.get(&name.value).cloned();
        found.ok_or_else(|| self.missing(reference.at, &name))
    }

    /// A mistake that the checks should have found: said with its own place.
    fn unexpected(&mut self, mistake: Mistake) -> ApiError {
        self.at = mistake.at;
        ApiError::invalid_value(mistake.message)
    }

    /// A name that the checks should have missed.
    fn missing(&mut self, at: At, name: &str) -> ApiError {
        self.at = at;
        not_made(name)
    }
}

fn not_made(name: &str) -> ApiError {
    ApiError::invalid_value(format!("'{name}' is named here but was not made"))
}

#[cfg(test)]
mod tests;

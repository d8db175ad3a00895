//! Peering connections.

use super::Applier;
use crate::api::{AcceptVpcPeeringConnection, ApiError, CreateVpcPeeringConnection};
use crate::topology::located::Value;
use crate::topology::schema::Peering;

impl Applier<'_, '_> {
    pub(super) fn peering(
        &mut self,
        name: &Value<String>,
        peering: &Peering,
    ) -> Result<(), ApiError> {
        let [requester, accepter] = &peering.vpcs[..] else {
            return Err(self.missing(name.at, name));
        };
        let create = CreateVpcPeeringConnection {
            vpc: self.vpc(requester)?.id.clone(),
            peer_vpc: self.vpc(accepter)?.id.clone(),
            name: Some(name.value.clone()),
            ..CreateVpcPeeringConnection::default()
        };
        self.name(format_args!(
            "peering/{}/{}/{}",
            name.value, create.vpc, create.peer_vpc
        ));
        let id = self.run(accepter.at, create)?;
        if peering.accept.as_ref().is_none_or(|accept| accept.value.0) {
            let peering = id.clone();
            self.run(accepter.at, AcceptVpcPeeringConnection { peering })?;
        }
        self.names.peerings.insert(name.value.clone(), id);
        Ok(())
    }
}

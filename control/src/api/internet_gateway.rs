//! Internet gateways.

use super::{Action, ApiError, Transaction};
use crate::model::*;
use crate::quotas::Quota;

/// `CreateInternetGateway`
#[derive(Clone, Debug, Default)]
pub struct CreateInternetGateway {
    /// `Name` tag.
    pub name: Option<String>,
}

impl Action for CreateInternetGateway {
    type Output = InternetGatewayId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<InternetGatewayId, ApiError> {
        let have = tx.model().count::<InternetGateway>(&tx.scope());
        let quota = Quota::InternetGatewaysPerRegion;
        tx.check_quota(quota, have, 1, "InternetGatewayLimitExceeded")?;
        let id: InternetGatewayId = tx.mint();
        tx.put(InternetGateway {
            id: id.clone(),
            meta: tx.meta(self.name.as_deref()),
            vpc: None,
        });
        Ok(id)
    }
}

/// `AttachInternetGateway`
#[derive(Clone, Debug, Default)]
pub struct AttachInternetGateway {
    /// The gateway.
    pub internet_gateway: InternetGatewayId,
    /// A VPC without one.
    pub vpc: VpcId,
}

impl Action for AttachInternetGateway {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let gateway = tx.require(&self.internet_gateway)?;
        let vpc = tx.require(&self.vpc)?;
        if let Some(held) = &gateway.vpc {
            return Err(ApiError::new(
                "Resource.AlreadyAssociated",
                format!("'{}' is already attached to network {held}", gateway.id),
            ));
        }
        if let Some(other) = tx.referrers::<InternetGateway>(&vpc.id).first() {
            return Err(ApiError::invalid_value(format!(
                "Network {} already has an internet gateway attached: {}",
                vpc.id, other.id
            )));
        }
        tx.update(&gateway.id, |gateway| gateway.vpc = Some(self.vpc));
        Ok(())
    }
}

/// `DetachInternetGateway`: routes to it become blackholes.
#[derive(Clone, Debug, Default)]
pub struct DetachInternetGateway {
    /// The gateway.
    pub internet_gateway: InternetGatewayId,
    /// Its VPC.
    pub vpc: VpcId,
}

impl Action for DetachInternetGateway {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let gateway = tx.require(&self.internet_gateway)?;
        let vpc = tx.require(&self.vpc)?;
        if gateway.vpc.as_ref() != Some(&vpc.id) {
            return Err(ApiError::new(
                "Gateway.NotAttached",
                format!("'{}' is not attached to network {}", gateway.id, vpc.id),
            ));
        }
        // ASSUMPTION: an edge association holds the gateway as a mapped address does.
        tx.refuse_if_used::<RouteTableAssociation>(&gateway.id)?;
        let model = tx.model();
        for interface in model.referrers::<NetworkInterface>(&vpc.id) {
            let elastic = model.count::<ElasticIp>(&interface.id.resource()) > 0;
            if elastic || interface.auto_public.is_some() {
                return Err(ApiError::new(
                    "DependencyViolation",
                    format!(
                        "Network {} has some mapped public address(es), on {}; unmap those before \
                         detaching the gateway",
                        vpc.id, interface.id
                    ),
                ));
            }
        }
        tx.update(&gateway.id, |gateway| gateway.vpc = None);
        Ok(())
    }
}

/// `DeleteInternetGateway`: a detached one.
#[derive(Clone, Debug, Default)]
pub struct DeleteInternetGateway {
    /// The gateway.
    pub internet_gateway: InternetGatewayId,
}

impl Action for DeleteInternetGateway {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let gateway = tx.require(&self.internet_gateway)?;
        if let Some(vpc) = &gateway.vpc {
            return Err(ApiError::dependency(&gateway.id, vpc));
        }
        tx.remove(&gateway.id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::*;
    use super::*;

    #[test]
    fn a_gateway_and_a_vpc_are_attached_one_to_one() {
        let mut control = ControlPlane::default();
        let a = vpc(&mut control);
        let b = vpc_with(&mut control, "10.1.0.0/16");
        let first = internet_gateway(&mut control, &a);
        let row = control.model().row(&a).unwrap();
        let igw = |control: &ControlPlane| {
            let tables = control.tables().snapshot();
            tables
                .vpcs
                .row(row)
                .unwrap()
                .igw
                .clone()
                .map(|igw| igw.label)
        };
        assert_eq!(igw(&control).as_deref(), Some(first.as_str()));
        let again = AttachInternetGateway {
            internet_gateway: first.clone(),
            vpc: b.clone(),
        };
        refused(
            &mut control,
            again,
            "Resource.AlreadyAssociated",
            a.as_str(),
        );
        let second = control.execute(CreateInternetGateway::default()).unwrap();
        let clash = AttachInternetGateway {
            internet_gateway: second,
            vpc: a.clone(),
        };
        refused(&mut control, clash, "InvalidParameterValue", first.as_str());
        let wrong = DetachInternetGateway {
            internet_gateway: first.clone(),
            vpc: b,
        };
        refused(&mut control, wrong, "Gateway.NotAttached", first.as_str());
        let delete = DeleteInternetGateway {
            internet_gateway: first.clone(),
        };
        refused(
            &mut control,
            delete.clone(),
            "DependencyViolation",
            a.as_str(),
        );
        let detach = DetachInternetGateway {
            internet_gateway: first,
            vpc: a,
        };
        control.execute(detach).unwrap();
        assert_eq!(igw(&control), None);
        control.execute(delete).unwrap();
        assert_consistent(&control);
    }

    #[test]
    fn gateways_beyond_the_quota_are_refused() {
        let mut control = ControlPlane::default();
        control
            .quotas_mut()
            .set(Quota::InternetGatewaysPerRegion, 0);
        let request = CreateInternetGateway::default();
        let code = "InternetGatewayLimitExceeded";
        refused(&mut control, request, code, "Internet gateways per Region");
    }
}

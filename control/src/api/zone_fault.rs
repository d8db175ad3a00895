//! Availability zones that fail. No API of AWS's: a fault that a lab makes.

use std::sync::Arc;

use super::{Action, ApiError, Transaction};
use crate::model::{Subnet, SubnetId};

/// Takes an availability zone down, or brings it back: nothing leaves or reaches
/// what is in it, as its outside sees it.
#[derive(Clone, Debug, Default)]
pub struct SetZoneState {
    /// `us-east-1a`
    pub availability_zone: String,
    /// Whether it is down from now on.
    pub down: bool,
}

impl Action for SetZoneState {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let zone: Arc<str> = Arc::from(self.availability_zone);
        let all = tx.model().subnets();
        let subnets: Vec<SubnetId> = all
            .iter()
            .filter(|subnet| subnet.zone == zone)
            .map(|subnet| subnet.id.clone())
            .collect();
        if subnets.is_empty() {
            return Err(ApiError::invalid_value(format!(
                "No subnet is in availability zone '{zone}'"
            )));
        }
        tx.set_zone_down(&zone, self.down);
        for subnet in subnets {
            tx.update(&subnet, |_: &mut Subnet| {});
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::api::testing::{subnet, vpc};
    use crate::api::{ControlPlane, CreateSubnet};

    use super::*;

    #[test]
    fn a_zone_that_is_down_takes_its_subnets_with_it_later_ones_too() {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        let first = subnet(&mut control, &vpc, "10.0.1.0/24");
        let other = CreateSubnet {
            vpc: vpc.clone(),
            cidr_block: Some("10.0.2.0/24".parse().unwrap()),
            availability_zone: Some("us-east-1b".to_owned()),
            ..CreateSubnet::default()
        };
        let other = control.execute(other).unwrap();
        let down = |control: &ControlPlane, id: &SubnetId| {
            let row = control.model().row(id).unwrap();
            control.tables().load().subnets.row(row).unwrap().down
        };
        let set = |down| SetZoneState {
            availability_zone: "us-east-1a".to_owned(),
            down,
        };
        control.execute(set(true)).unwrap();
        assert!(down(&control, &first) && !down(&control, &other));
        let later = subnet(&mut control, &vpc, "10.0.3.0/24");
        assert!(down(&control, &later));
        control.execute(set(false)).unwrap();
        assert!(!down(&control, &first) && !down(&control, &later));

        let error = control.execute(SetZoneState {
            availability_zone: "us-east-1z".to_owned(),
            down: true,
        });
        assert!(error.unwrap_err().message.contains("us-east-1z"));
    }
}

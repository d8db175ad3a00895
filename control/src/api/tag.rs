//! The `Name` tag, of any resource.

use std::sync::Arc;

use super::{Action, ApiError, Transaction};
use crate::model::{Id, Resource};

/// Sets or takes away a resource's `Name` tag.
#[derive(Clone, Debug, Default)]
pub struct SetName<I> {
    /// The resource.
    pub resource: I,
    /// Its new name.
    pub name: Option<String>,
}

impl<I: Id> Action for SetName<I> {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        tx.require(&self.resource)?;
        tx.update(&self.resource, |resource| {
            resource.meta_mut().name = self.name.map(Arc::from);
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::*;
    use super::*;
    use crate::model::SubnetId;

    #[test]
    fn a_name_can_be_set_and_changes_no_row() {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        let version = control.tables().load().version;
        let request = SetName {
            resource: vpc.clone(),
            name: Some("consumer".into()),
        };
        control.execute(request).unwrap();
        let name = control.model().get(&vpc).unwrap().meta.name.clone();
        assert_eq!(name.as_deref(), Some("consumer"));
        assert_eq!(control.tables().load().version, version);
        let missing = SetName {
            resource: SubnetId::from("subnet-00000000"),
            name: None,
        };
        refused(
            &mut control,
            missing,
            "InvalidSubnetID.NotFound",
            "subnet-00000000",
        );
    }
}

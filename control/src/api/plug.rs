//! What stands behind a host's interface. No AWS action: which process is the
//! instance is the lab's own business.

use super::{Action, ApiError, ControlPlane, Transaction};
use crate::model::*;

/// Says what is behind an attached interface of a host.
#[derive(Clone, Debug, Default)]
pub struct PlugNetworkInterface {
    /// The interface.
    pub network_interface: NetworkInterfaceId,
    /// What is there from now on. Packets to one that waits are dropped.
    pub plug: Plug,
}

impl Action for PlugNetworkInterface {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        // Whose it is does not matter: the machine is ours.
        let interface = tx.require_any_owner(&self.network_interface)?;
        if interface.attachment.is_none() {
            return Err(ApiError::new(
                "IncorrectState",
                format!("Interface '{}' is not attached to a host", interface.id),
            ));
        }
        tx.update(&interface.id, |interface| {
            if let Some(attachment) = &mut interface.attachment {
                attachment.plug = self.plug;
            }
        });
        Ok(())
    }
}

impl ControlPlane {
    /// Plugs something into every interface that waits: how a simulation, in
    /// which every host is simulated, and a trace without a lab see them.
    ///
    /// # Errors
    /// None is expected: each of the interfaces exists.
    pub fn plug_all(&mut self, with: &str) -> Result<(), ApiError> {
        let waits = |interface: &NetworkInterface| {
            let at = interface.attachment.as_ref();
            at.is_some_and(|at| at.plug == Plug::Waiting)
        };
        let interfaces = self.model().interfaces().iter();
        let waiting: Vec<_> = interfaces
            .filter(|interface| waits(interface))
            .map(|interface| interface.id.clone())
            .collect();
        for network_interface in waiting {
            self.execute(PlugNetworkInterface {
                network_interface,
                plug: Plug::Foreign(with.into()),
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn what_waits_takes_no_packets_until_it_is_plugged_in() {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        let subnet = subnet(&mut control, &vpc, "10.0.3.0/24");
        let eni = interface(&mut control, &subnet);
        let attached = |control: &ControlPlane| {
            let row = control.model().row(&eni).unwrap();
            control.tables().snapshot().enis.row(row).unwrap().attached
        };
        assert!(attached(&control));
        let plug = |control: &mut ControlPlane, plug| {
            let action = PlugNetworkInterface {
                network_interface: eni.clone(),
                plug,
            };
            control.execute(action).unwrap();
            assert_consistent(control);
        };
        plug(&mut control, Plug::Waiting);
        assert!(!attached(&control));
        control.plug_all("a test").unwrap();
        assert!(attached(&control));
        plug(&mut control, Plug::Waiting);
        assert!(!attached(&control));
        let nobody = PlugNetworkInterface::default();
        refused(
            &mut control,
            nobody,
            "InvalidNetworkInterfaceId.Malformed",
            "eni-",
        );
    }
}

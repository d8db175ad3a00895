//! Instances: run, stop, start, terminate.

use std::sync::Arc;

use super::address::next_public;
use super::interface::{delete_interface, require_own};
use super::{
    Action, ApiError, AttachNetworkInterface, CreateNetworkInterface, DetachNetworkInterface,
    PlugNetworkInterface, Transaction,
};
use crate::model::*;

/// How long a terminated instance is still shown (E:terminating-instances).
const SHOWN_S: u64 = 3600;

/// `RunInstances`: one of them.
#[derive(Clone, Debug)]
pub struct RunInstance {
    /// `ami-…`
    pub image: String,
    /// `t3.micro`
    pub instance_type: String,
    /// Name of a key.
    pub key_name: Option<String>,
    /// Base64.
    pub user_data: Option<String>,
    /// `r-…`
    pub reservation: Arc<str>,
    /// Its place in the reservation.
    pub launch_index: u32,
    /// Its interfaces, by device index; one at index 0 at least.
    pub interfaces: Vec<InstanceInterface>,
    /// Whether the first interface gets a public address; its subnet says unless
    /// given.
    pub associate_public_ip_address: Option<bool>,
    /// It cannot be terminated.
    pub termination_protected: bool,
    /// What is behind its interfaces.
    pub plug: Plug,
}

/// An interface of a new instance.
#[derive(Clone, Debug)]
pub struct InstanceInterface {
    /// `eth` and this number.
    pub device_index: u16,
    /// Whether it ends with the instance.
    pub delete_on_termination: bool,
    /// Where it comes from.
    pub source: InterfaceSource,
}

/// Where an instance's interface comes from.
#[derive(Clone, Debug)]
pub enum InterfaceSource {
    /// It exists, unattached.
    Existing(NetworkInterfaceId),
    /// It is made.
    New(Box<CreateNetworkInterface>),
}

impl Action for RunInstance {
    type Output = InstanceId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<InstanceId, ApiError> {
        forget_terminated(tx);
        let id: InstanceId = tx.mint();
        let mut first = None;
        for interface in self.interfaces {
            let made = match interface.source {
                InterfaceSource::Existing(eni) => eni,
                InterfaceSource::New(create) => create.apply(tx)?,
            };
            AttachNetworkInterface {
                network_interface: made.clone(),
                host: id.to_string(),
                device_index: Some(interface.device_index),
                associate_public_ip_address: self.associate_public_ip_address,
            }
            .apply(tx)?;
            PlugNetworkInterface {
                network_interface: made.clone(),
                plug: self.plug.clone(),
            }
            .apply(tx)?;
            tx.update(&made, |eni| {
                if let Some(held) = &mut eni.attachment {
                    held.delete_on_termination = interface.delete_on_termination;
                }
            });
            if interface.device_index == 0 {
                first = Some(tx.require(&made)?);
            }
        }
        let first = first.ok_or_else(|| {
            ApiError::invalid_value("An instance needs a network interface at device index 0")
        })?;
        let meta = tx.meta(None);
        tx.put(Instance {
            id: id.clone(),
            state: InstanceState::Running,
            state_since_s: meta.created_s,
            meta,
            reservation: self.reservation,
            launch_index: self.launch_index,
            image: Arc::from(self.image),
            instance_type: Arc::from(self.instance_type),
            key_name: self.key_name.map(Arc::from),
            user_data: self.user_data.map(Arc::from),
            vpc: first.vpc.clone(),
            subnet: first.subnet.clone(),
            public: first.auto_public.is_some(),
            termination_protected: self.termination_protected,
        });
        Ok(id)
    }
}

/// `StopInstances`: one of them. Its host is gone, its interfaces stay; an
/// address that was chosen for it comes free.
#[derive(Clone, Debug)]
pub struct StopInstance {
    /// The instance.
    pub instance: InstanceId,
}

impl Action for StopInstance {
    /// The state that it was in.
    type Output = InstanceState;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<InstanceState, ApiError> {
        let instance = tx.require(&self.instance)?;
        refuse_terminated(&instance, "stopped")?;
        for interface in tx.referrers::<NetworkInterface>(&instance.id) {
            PlugNetworkInterface {
                network_interface: interface.id.clone(),
                plug: Plug::Waiting,
            }
            .apply(tx)?;
            tx.update(&interface.id, |interface| interface.auto_public = None);
        }
        enter(tx, &instance.id, InstanceState::Stopped);
        Ok(instance.state)
    }
}

/// `StartInstances`: one of them.
#[derive(Clone, Debug)]
pub struct StartInstance {
    /// The instance.
    pub instance: InstanceId,
    /// What is behind its interfaces from now on.
    pub plug: Plug,
}

impl Action for StartInstance {
    /// The state that it was in.
    type Output = InstanceState;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<InstanceState, ApiError> {
        let instance = tx.require(&self.instance)?;
        refuse_terminated(&instance, "started")?;
        if instance.state == InstanceState::Running {
            return Ok(instance.state);
        }
        for interface in tx.referrers::<NetworkInterface>(&instance.id) {
            PlugNetworkInterface {
                network_interface: interface.id.clone(),
                plug: self.plug.clone(),
            }
            .apply(tx)?;
            let first = interface
                .attachment
                .as_ref()
                .is_some_and(|held| held.device_index == 0);
            let elastic = tx.model().count::<ElasticIp>(&interface.id.resource()) > 0;
            if instance.public && first && !elastic {
                let public = next_public(tx)?;
                tx.update(&interface.id, |interface| {
                    interface.auto_public = Some(public)
                });
            }
        }
        enter(tx, &instance.id, InstanceState::Running);
        Ok(instance.state)
    }
}

/// `TerminateInstances`: one of them. Interfaces that were made with it end with
/// it, others come free.
#[derive(Clone, Debug)]
pub struct TerminateInstance {
    /// The instance.
    pub instance: InstanceId,
}

impl Action for TerminateInstance {
    /// The state that it was in.
    type Output = InstanceState;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<InstanceState, ApiError> {
        let instance = tx.require(&self.instance)?;
        if instance.termination_protected {
            return Err(ApiError::new(
                "OperationNotPermitted",
                format!(
                    "The instance '{}' may not be terminated. Modify its 'disableApiTermination' \
                     instance attribute and try again",
                    instance.id
                ),
            ));
        }
        for interface in tx.referrers::<NetworkInterface>(&instance.id) {
            let ends = interface
                .attachment
                .as_ref()
                .is_some_and(|held| held.delete_on_termination);
            require_own(tx, &interface.id)?;
            DetachNetworkInterface {
                network_interface: interface.id.clone(),
            }
            .apply(tx)?;
            if ends {
                delete_interface(tx, &interface.id);
            }
        }
        if instance.state != InstanceState::Terminated {
            enter(tx, &instance.id, InstanceState::Terminated);
        }
        Ok(instance.state)
    }
}

/// `ModifyInstanceAttribute`: what of it concerns the instance itself.
#[derive(Clone, Debug)]
pub struct ProtectInstance {
    /// The instance.
    pub instance: InstanceId,
    /// `disableApiTermination`
    pub termination_protected: bool,
}

impl Action for ProtectInstance {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let instance = tx.require(&self.instance)?;
        tx.update(&instance.id, |instance| {
            instance.termination_protected = self.termination_protected;
        });
        Ok(())
    }
}

fn refuse_terminated(instance: &Instance, what: &str) -> Result<(), ApiError> {
    if instance.state != InstanceState::Terminated {
        return Ok(());
    }
    Err(ApiError::new(
        "IncorrectInstanceState",
        format!(
            "This instance '{}' is not in a state from which it can be {what}: it is terminated",
            instance.id
        ),
    ))
}

fn enter(tx: &mut Transaction<'_>, id: &InstanceId, state: InstanceState) {
    let now = tx.meta(None).created_s;
    tx.update(id, |instance| {
        instance.state = state;
        instance.state_since_s = now;
    });
}

/// Takes away what was terminated long ago.
fn forget_terminated(tx: &mut Transaction<'_>) {
    let now = tx.meta(None).created_s;
    let old = |instance: &&Arc<Instance>| {
        instance.state == InstanceState::Terminated && instance.state_since_s + SHOWN_S < now
    };
    let instances = tx.model().instances().iter().filter(old);
    let gone: Vec<_> = instances.map(|instance| instance.id.clone()).collect();
    for id in gone {
        tx.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::*;
    use super::*;

    fn run(subnet: &SubnetId) -> RunInstance {
        RunInstance {
            image: "ami-1".into(),
            instance_type: "t3.micro".into(),
            key_name: None,
            user_data: None,
            reservation: "r-1".into(),
            launch_index: 0,
            interfaces: vec![InstanceInterface {
                device_index: 0,
                delete_on_termination: true,
                source: InterfaceSource::New(Box::new(CreateNetworkInterface {
                    subnet: subnet.clone(),
                    ..CreateNetworkInterface::default()
                })),
            }],
            associate_public_ip_address: Some(true),
            termination_protected: false,
            plug: Plug::Lab,
        }
    }

    #[test]
    fn an_instance_stops_starts_and_ends_with_its_interface() {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        let subnet = subnet(&mut control, &vpc, "10.0.1.0/24");
        let id = control.execute(run(&subnet)).unwrap();
        let eni = |control: &ControlPlane| {
            let mut all = control.model().referrers::<NetworkInterface>(&id);
            all.next().cloned()
        };
        let first = eni(&control).unwrap();
        assert!(first.is_attached() && first.auto_public.is_some());
        let instance = id.clone();
        control.execute(StopInstance { instance }).unwrap();
        let stopped = eni(&control).unwrap();
        assert!(!stopped.is_attached() && stopped.auto_public.is_none());
        assert_eq!(stopped.private_addresses, first.private_addresses);
        let start = StartInstance {
            instance: id.clone(),
            plug: Plug::Lab,
        };
        assert_eq!(control.execute(start).unwrap(), InstanceState::Stopped);
        assert!(eni(&control).unwrap().auto_public.is_some());
        let busy = DeleteSubnet {
            subnet: subnet.clone(),
        };
        refused(&mut control, busy.clone(), "DependencyViolation", "eni-");
        let instance = id.clone();
        control.execute(TerminateInstance { instance }).unwrap();
        assert!(eni(&control).is_none());
        control.execute(busy).unwrap();
        let start = StartInstance {
            instance: id.clone(),
            plug: Plug::Lab,
        };
        refused(&mut control, start, "IncorrectInstanceState", id.as_str());
        assert_consistent(&control);
    }

    #[test]
    fn an_interface_that_was_there_before_outlives_the_instance() {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        let subnet = subnet(&mut control, &vpc, "10.0.1.0/24");
        let eni = control
            .execute(CreateNetworkInterface {
                subnet: subnet.clone(),
                ..CreateNetworkInterface::default()
            })
            .unwrap();
        let mut request = run(&subnet);
        request.termination_protected = true;
        request.interfaces[0].source = InterfaceSource::Existing(eni.clone());
        request.interfaces[0].delete_on_termination = false;
        let id = control.execute(request).unwrap();
        let end = TerminateInstance {
            instance: id.clone(),
        };
        refused(
            &mut control,
            end.clone(),
            "OperationNotPermitted",
            id.as_str(),
        );
        let open = ProtectInstance {
            instance: id,
            termination_protected: false,
        };
        control.execute(open).unwrap();
        control.execute(end).unwrap();
        assert!(control.model().get(&eni).unwrap().attachment.is_none());
        assert_consistent(&control);
    }
}

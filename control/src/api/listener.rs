//! Listeners (ELBv2).

use vpclab_dataplane::tables::{LoadBalancerKind, Stickiness};

use super::load_balancer::invalid_configuration;
use super::target_group::validation;
use super::{Action, ApiError, Transaction};
use crate::model::*;
use crate::quotas::Quota;

/// Idle timeout of TCP flows unless set.
pub(super) const TCP_IDLE_DEFAULT_S: u32 = 350;

/// `CreateListener`
#[derive(Clone, Debug, Default)]
pub struct CreateListener {
    /// The load balancer.
    pub load_balancer_arn: LoadBalancerArn,
    /// TCP, UDP or both; none on a gateway load balancer.
    pub protocol: Option<LbProtocol>,
    /// Port; none on a gateway load balancer.
    pub port: Option<u16>,
    /// Where connections go.
    pub target_group_arn: TargetGroupArn,
    /// `tcp.idle_timeout.seconds`, 60–6000; 350 unless given.
    pub tcp_idle_s: Option<u32>,
}

impl Action for CreateListener {
    type Output = ListenerArn;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<ListenerArn, ApiError> {
        let balancer = tx.require(&self.load_balancer_arn)?;
        let group = tx.require(&self.target_group_arn)?;
        let (protocol, port) = protocol_and_port(&balancer, self.protocol, self.port)?;
        check_group(tx, &balancer, protocol, &group)?;
        check_idle(protocol, &group, self.tcp_idle_s)?;
        let others = tx.referrers::<Listener>(&balancer.id);
        if balancer.kind == LoadBalancerKind::Gateway && !others.is_empty() {
            return Err(ApiError::new(
                "TooManyListeners",
                format!(
                    "The gateway load balancer '{}' has its listener",
                    balancer.name
                ),
            ));
        }
        check_port_free(&others, port, None)?;
        let have = others.len() as u64;
        let quota = Quota::ListenersPerNetworkLoadBalancer;
        tx.check_quota(quota, have, 1, "TooManyListeners")?;

        let path = balancer.id.as_str().split_once(":loadbalancer/");
        let (account, path) = path.unwrap_or_default();
        let number = tx.mint_number();
        let id = ListenerArn::from(format!("{account}:listener/{path}/{number:016x}"));
        tx.put(Listener {
            id: id.clone(),
            meta: tx.meta(None),
            load_balancer: balancer.id.clone(),
            protocol,
            port,
            target_group: group.id.clone(),
            tcp_idle_s: self.tcp_idle_s.unwrap_or(TCP_IDLE_DEFAULT_S),
        });
        Ok(id)
    }
}

/// `ModifyListener` and `ModifyListenerAttributes`: what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct ModifyListener {
    /// The listener.
    pub listener_arn: ListenerArn,
    /// TCP, UDP or both.
    pub protocol: Option<LbProtocol>,
    /// Port.
    pub port: Option<u16>,
    /// Where new connections go.
    pub target_group_arn: Option<TargetGroupArn>,
    /// `tcp.idle_timeout.seconds`, 60–6000
    pub tcp_idle_s: Option<u32>,
}

impl Action for ModifyListener {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let old = tx.require(&self.listener_arn)?;
        let balancer = tx.require(&old.load_balancer)?;
        let gateway = balancer.kind == LoadBalancerKind::Gateway;
        let unless_gateway = |held| Some(held).filter(|_| !gateway);
        let (protocol, port) = protocol_and_port(
            &balancer,
            self.protocol.or(unless_gateway(old.protocol)),
            self.port.or(Some(old.port).filter(|_| !gateway)),
        )?;
        let group = tx.require(self.target_group_arn.as_ref().unwrap_or(&old.target_group))?;
        check_group(tx, &balancer, protocol, &group)?;
        check_idle(protocol, &group, self.tcp_idle_s)?;
        let others = tx.referrers::<Listener>(&balancer.id);
        check_port_free(&others, port, Some(&old.id))?;
        tx.update(&old.id, |listener| {
            listener.protocol = protocol;
            listener.port = port;
            listener.target_group = group.id.clone();
            listener.tcp_idle_s = self.tcp_idle_s.unwrap_or(listener.tcp_idle_s);
        });
        Ok(())
    }
}

/// `DeleteListener`
#[derive(Clone, Debug, Default)]
pub struct DeleteListener {
    /// The listener.
    pub listener_arn: ListenerArn,
}

impl Action for DeleteListener {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let listener = tx.require(&self.listener_arn)?;
        tx.remove(&listener.id);
        Ok(())
    }
}

fn protocol_and_port(
    balancer: &LoadBalancer,
    protocol: Option<LbProtocol>,
    port: Option<u16>,
) -> Result<(LbProtocol, u16), ApiError> {
    if balancer.kind == LoadBalancerKind::Gateway {
        if protocol.is_some() || port.is_some() {
            return Err(validation(
                "A listener of a gateway load balancer takes neither a protocol nor a port"
                    .to_owned(),
            ));
        }
        return Ok((LbProtocol::Geneve, 0));
    }
    let protocol = protocol.ok_or_else(|| validation("A protocol must be specified".into()))?;
    if protocol == LbProtocol::Geneve {
        return Err(ApiError::new(
            "UnsupportedProtocol",
            "Protocol 'GENEVE' is not supported on network load balancers: use TCP, UDP or \
             TCP_UDP",
        ));
    }
    let port = port
        .filter(|&port| port > 0)
        .ok_or_else(|| validation("A port between 1 and 65535 must be specified".into()))?;
    Ok((protocol, port))
}

fn check_group(
    tx: &Transaction<'_>,
    balancer: &LoadBalancer,
    protocol: LbProtocol,
    group: &TargetGroup,
) -> Result<(), ApiError> {
    let fits = match group.protocol {
        LbProtocol::TcpUdp => protocol != LbProtocol::Geneve,
        other => other == protocol,
    };
    if !fits {
        return Err(ApiError::new(
            "IncompatibleProtocols",
            format!(
                "Listener protocol '{protocol}' is not supported with a target group with the \
                 protocol '{}'",
                group.protocol
            ),
        ));
    }
    if group.vpc != balancer.vpc {
        return Err(invalid_configuration(format!(
            "The target group '{}' is in {}, its load balancer must be there, too, but '{}' is \
             in {}",
            group.name, group.vpc, balancer.name, balancer.vpc
        )));
    }
    let mut users = tx.model().referrers::<Listener>(&group.id);
    if let Some(other) = users.find(|listener| listener.load_balancer != balancer.id) {
        return Err(ApiError::new(
            "TargetGroupAssociationLimit",
            format!(
                "The following target groups cannot be associated with more than one load \
                 balancer: '{}' is used by {}",
                group.id, other.id
            ),
        ));
    }
    Ok(())
}

fn check_idle(
    protocol: LbProtocol,
    group: &TargetGroup,
    idle_s: Option<u32>,
) -> Result<(), ApiError> {
    let Some(idle_s) = idle_s else {
        return Ok(());
    };
    if !(60..=6000).contains(&idle_s) {
        return Err(validation(format!(
            "tcp.idle_timeout.seconds '{idle_s}' must be between 60 and 6000"
        )));
    }
    if protocol == LbProtocol::Udp {
        return Err(validation(
            "tcp.idle_timeout.seconds is not supported for a UDP listener".to_owned(),
        ));
    }
    if group.attributes.stickiness != Stickiness::FiveTuple {
        return Err(validation(
            "tcp.idle_timeout.seconds needs a target group with 5-tuple stickiness".to_owned(),
        ));
    }
    Ok(())
}

/// A port has one listener, whatever the protocol (TCP_UDP takes both).
fn check_port_free(
    others: &[std::sync::Arc<Listener>],
    port: u16,
    own: Option<&ListenerArn>,
) -> Result<(), ApiError> {
    let clash = others
        .iter()
        .find(|listener| listener.port == port && Some(&listener.id) != own);
    match clash {
        Some(listener) => Err(ApiError::new(
            "DuplicateListener",
            format!(
                "A listener already exists on port {port} for this load balancer: {}",
                listener.id
            ),
        )),
        None => Ok(()),
    }
}

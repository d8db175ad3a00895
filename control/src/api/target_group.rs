//! Target groups (ELBv2): create, change, delete.

use std::sync::Arc;

use vpclab_dataplane::tables::{Failover, Stickiness};

use super::health_check::HealthCheckSettings;
use super::load_balancer::check_name;
use super::{Action, ApiError, Transaction};
use crate::model::*;
use crate::quotas::Quota;

/// Port of GENEVE targets.
pub const GENEVE_PORT: u16 = 6081;

/// `CreateTargetGroup`
#[derive(Clone, Debug)]
pub struct CreateTargetGroup {
    /// Name, unique per account and region: at most 32 letters, digits, hyphens.
    pub name: String,
    /// What targets are spoken to with.
    pub protocol: LbProtocol,
    /// Port of targets that name none; 6081 for GENEVE.
    pub port: u16,
    /// The targets' VPC.
    pub vpc: VpcId,
    /// Addresses or hosts.
    pub target_type: TargetType,
    /// The only family of its addresses; both unless given.
    pub family: Option<AddressFamily>,
    /// What differs from AWS's default health check.
    pub health_check: HealthCheckSettings,
}

impl CreateTargetGroup {
    /// A group of addresses with AWS's default health check.
    pub fn new(name: &str, protocol: LbProtocol, port: u16, vpc: VpcId) -> Self {
        Self {
            name: name.to_owned(),
            protocol,
            port,
            vpc,
            target_type: TargetType::Ip,
            family: None,
            health_check: HealthCheckSettings::default(),
        }
    }
}

impl Action for CreateTargetGroup {
    type Output = TargetGroupArn;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<TargetGroupArn, ApiError> {
        check_name(&self.name)?;
        check_port(self.protocol, self.port)?;
        let vpc = tx
            .require(&self.vpc)
            .map_err(|_| validation(format!("The VPC ID '{}' is not found", self.vpc)))?;
        let health_check = self.health_check.for_new(self.protocol)?;
        let meta = tx.meta(None);
        if let Some(known) = tx
            .model()
            .indexes()
            .alias(&target_group_alias(&meta, &self.name))
        {
            let known = TargetGroupArn::from_text(known.text.clone());
            return self.same_again(tx, &known, &health_check);
        }
        let have = tx.model().count::<TargetGroup>(&tx.scope());
        tx.check_quota(Quota::TargetGroupsPerRegion, have, 1, "TooManyTargetGroups")?;
        let number = tx.mint_number();
        let id = TargetGroupArn::from(format!(
            "arn:aws:elasticloadbalancing:{}:{}:targetgroup/{}/{number:016x}",
            tx.caller().region,
            tx.caller().account,
            self.name,
        ));
        tx.put(TargetGroup {
            id: id.clone(),
            meta,
            name: Arc::from(self.name),
            protocol: self.protocol,
            port: self.port,
            vpc: vpc.id.clone(),
            target_type: self.target_type,
            family: self.family,
            health_check,
            targets: Vec::new(),
            attributes: TargetGroupAttributes::defaults(self.protocol, self.target_type),
            kept: Tags::new(),
        });
        Ok(id)
    }
}

impl CreateTargetGroup {
    /// The same request again answers with what it made the first time.
    fn same_again(
        &self,
        tx: &Transaction<'_>,
        known: &TargetGroupArn,
        health_check: &HealthCheck,
    ) -> Result<TargetGroupArn, ApiError> {
        let known = tx.require(known)?;
        let same = (known.protocol, known.port, &known.vpc, known.target_type)
            == (self.protocol, self.port, &self.vpc, self.target_type);
        if same && known.family == self.family && known.health_check == *health_check {
            return Ok(known.id.clone());
        }
        Err(ApiError::new(
            "DuplicateTargetGroupName",
            format!(
                "A target group with the name '{}' exists, but with different settings",
                self.name
            ),
        ))
    }
}

/// `ModifyTargetGroup`: its health check.
#[derive(Clone, Debug, Default)]
pub struct ModifyTargetGroup {
    /// The group.
    pub target_group_arn: TargetGroupArn,
    /// What changes.
    pub health_check: HealthCheckSettings,
}

impl Action for ModifyTargetGroup {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let group = tx.require(&self.target_group_arn)?;
        let health_check = self.health_check.apply_to(&group.health_check)?;
        tx.update(&group.id, |group| group.health_check = health_check);
        Ok(())
    }
}

/// `ModifyTargetGroupAttributes`: what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct ModifyTargetGroupAttributes {
    /// The group.
    pub target_group_arn: TargetGroupArn,
    /// `stickiness.type` (GENEVE)
    pub stickiness: Option<Stickiness>,
    /// `target_failover.on_deregistration`, `.on_unhealthy` (GENEVE)
    pub failover: Option<Failover>,
    /// `deregistration_delay.timeout_seconds`, 0–3600
    pub deregistration_delay_s: Option<u32>,
    /// `target_health_state.unhealthy.connection_termination.enabled`; GENEVE:
    /// `send_tcp_reset.on_unhealthy.enabled`
    pub reset_on_unhealthy: Option<bool>,
    /// `deregistration_delay.connection_termination.enabled`; GENEVE:
    /// `send_tcp_reset.on_deregistration.enabled`
    pub reset_on_deregistration: Option<bool>,
    /// `send_tcp_reset.on_idle_timeout.enabled` (GENEVE)
    pub reset_on_idle: Option<bool>,
    /// `proxy_protocol_v2.enabled` (all but GENEVE; acts on TCP)
    pub proxy_protocol: Option<bool>,
    /// `preserve_client_ip.enabled` (all but GENEVE; TCP alone may be without)
    pub preserve_client_ip: Option<bool>,
    /// Attributes that change no packet.
    pub kept: Tags,
}

impl Action for ModifyTargetGroupAttributes {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let group = tx.require(&self.target_group_arn)?;
        let geneve = group.protocol == LbProtocol::Geneve;
        for (name, given, of_geneve) in [
            ("stickiness.type", self.stickiness.is_some(), true),
            (
                "target_failover.on_unhealthy",
                self.failover.is_some(),
                true,
            ),
            (
                "send_tcp_reset.on_idle_timeout.enabled",
                self.reset_on_idle.is_some(),
                true,
            ),
            (
                "proxy_protocol_v2.enabled",
                self.proxy_protocol.is_some(),
                false,
            ),
            (
                "preserve_client_ip.enabled",
                self.preserve_client_ip.is_some(),
                false,
            ),
        ] {
            if given && of_geneve != geneve {
                return Err(validation(format!(
                    "Target group attribute key '{name}' is not recognized for a group with the \
                     protocol {}",
                    group.protocol
                )));
            }
        }
        if let Some(delay) = self.deregistration_delay_s.filter(|&delay| delay > 3600) {
            return Err(validation(format!(
                "deregistration_delay.timeout_seconds '{delay}' must be between 0 and 3600"
            )));
        }
        // N:edit-target-group-attributes: "enabled (and can't be disabled)".
        if self.preserve_client_ip == Some(false) && group.protocol != LbProtocol::Tcp {
            return Err(validation(format!(
                "preserve_client_ip.enabled cannot be 'false' for a group with the protocol {}: \
                 client IP preservation cannot be disabled for UDP and TCP_UDP",
                group.protocol
            )));
        }
        let old = group.attributes;
        let new = TargetGroupAttributes {
            stickiness: self.stickiness.unwrap_or(old.stickiness),
            failover: self.failover.unwrap_or(old.failover),
            deregistration_delay_s: self
                .deregistration_delay_s
                .unwrap_or(old.deregistration_delay_s),
            reset_on_unhealthy: self.reset_on_unhealthy.unwrap_or(old.reset_on_unhealthy),
            reset_on_deregistration: self
                .reset_on_deregistration
                .unwrap_or(old.reset_on_deregistration),
            reset_on_idle: self.reset_on_idle.unwrap_or(old.reset_on_idle),
            proxy_protocol: self.proxy_protocol.unwrap_or(old.proxy_protocol),
            preserve_client_ip: self.preserve_client_ip.unwrap_or(old.preserve_client_ip),
        };
        // Resets need to tell connections apart (G:edit-target-group-attributes).
        let five_tuple = new.stickiness == Stickiness::FiveTuple;
        let resets = new.reset_on_idle || new.reset_on_unhealthy || new.reset_on_deregistration;
        if geneve && resets && !(five_tuple && new.failover == Failover::NoRebalance) {
            return Err(validation(
                "send_tcp_reset needs 5-tuple stickiness and target_failover no_rebalance"
                    .to_owned(),
            ));
        }
        tx.update(&group.id, |group| {
            group.attributes = new;
            group.kept.extend(self.kept);
        });
        Ok(())
    }
}

/// `DeleteTargetGroup`
#[derive(Clone, Debug, Default)]
pub struct DeleteTargetGroup {
    /// The group; no listener may use it.
    pub target_group_arn: TargetGroupArn,
}

impl Action for DeleteTargetGroup {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let group = match tx.require(&self.target_group_arn) {
            Ok(group) => group,
            Err(error) if error.code == TargetGroupArn::NOT_FOUND => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Some(listener) = tx.model().referrers::<Listener>(&group.id).next() {
            return Err(ApiError::new(
                "ResourceInUse",
                format!(
                    "Target group '{}' is currently in use by a listener or a rule: {}",
                    group.id, listener.id
                ),
            ));
        }
        tx.remove(&group.id);
        Ok(())
    }
}

/// The port rule of groups and of targets.
pub(super) fn check_port(protocol: LbProtocol, port: u16) -> Result<(), ApiError> {
    if protocol == LbProtocol::Geneve && port != GENEVE_PORT {
        return Err(validation(format!(
            "Port '{port}' is not valid: the GENEVE protocol needs port {GENEVE_PORT}"
        )));
    }
    if port == 0 {
        return Err(validation(
            "Port '0' is not valid: it must be between 1 and 65535".to_owned(),
        ));
    }
    Ok(())
}

pub(super) fn validation(message: String) -> ApiError {
    ApiError::new("ValidationError", message)
}

#[cfg(test)]
#[path = "target_group_tests.rs"]
mod tests;

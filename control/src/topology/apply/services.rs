//! Load balancers, target groups, endpoint services and endpoints.

use std::net::{IpAddr, Ipv4Addr};

use vpclab_dataplane::tables;

use super::kept::node_key;
use super::{Applier, ServiceNames};
use crate::api::{
    AcceptVpcEndpointConnections, ApiError, CreateAwsService, CreateHostedZone, CreateListener,
    CreateLoadBalancer, CreateTargetGroup, CreateVpcEndpoint,
    CreateVpcEndpointServiceConfiguration, EndpointSubnet, HealthCheckSettings,
    ModifyLoadBalancerAttributes, ModifyTargetGroupAttributes, ModifyVpcEndpointServicePermissions,
    ProbeProtocol, RegisterTargets, SetSecurityGroups, SubnetMapping, TargetDescription,
    aws_service_name,
};
use crate::model::{
    CheckPort, EndpointServiceId, LbProtocol, PrivateDnsState, TargetType, VpcEndpointType,
};
use crate::topology::located::{At, Named, Value};
use crate::topology::resolve::TargetRef;
use crate::topology::schema::{
    DnsZone, Endpoint, EndpointService, Failover, HealthCheck, HealthProtocol, LoadBalancer,
    LoadBalancerType, Stickiness, TargetGroup, TargetProtocol,
};
use crate::topology::values::Address;

impl Applier<'_, '_> {
    pub(super) fn target_group(
        &mut self,
        name: &Value<String>,
        group: &TargetGroup,
    ) -> Result<(), ApiError> {
        self.at = name.at;
        let vpc = self
            .topology
            .target_group_vpc(name, group)
            .map_err(|m| self.unexpected(m))?;
        let geneve = group.protocol == TargetProtocol::Geneve;
        let port = group
            .port
            .as_ref()
            .map_or(if geneve { 6081 } else { 0 }, |port| port.value);
        self.name(format_args!(
            "target-group/{}/{:?}/{port}/{}",
            name.value,
            group.protocol,
            self.vpc(vpc)?.id.clone()
        ));
        let arn = self.run(
            name.at,
            CreateTargetGroup {
                name: name.value.clone(),
                protocol: protocol(group.protocol),
                port,
                vpc: self.vpc(vpc)?.id.clone(),
                target_type: TargetType::Ip,
                family: None,
                health_check: health(&group.health_check),
            },
        )?;
        let attributes = ModifyTargetGroupAttributes {
            target_group_arn: arn.clone(),
            stickiness: group.stickiness.map(|stickiness| match stickiness {
                Stickiness::FiveTuple => tables::Stickiness::FiveTuple,
                Stickiness::SourceIpDestIpProto => tables::Stickiness::ThreeTuple,
                Stickiness::SourceIpDestIp => tables::Stickiness::TwoTuple,
            }),
            failover: group.failover.map(|failover| match failover {
                Failover::NoRebalance => tables::Failover::NoRebalance,
                Failover::Rebalance => tables::Failover::Rebalance,
            }),
            deregistration_delay_s: group.deregistration_delay.as_ref().map(|delay| delay.value),
            reset_on_unhealthy: group.reset_on_unhealthy,
            reset_on_deregistration: group.reset_on_deregistration,
            reset_on_idle: group.reset_on_idle,
            proxy_protocol: group.proxy_protocol,
            preserve_client_ip: group.preserve_client_ip,
            ..Default::default()
        };
        self.run(name.at, attributes)?;
        self.names.target_groups.insert(name.value.clone(), arn);
        Ok(())
    }

    /// The further addresses of a load balancer's nodes; after everything that has
    /// fixed ones.
    pub(super) fn secondary_ips(
        &mut self,
        name: &Value<String>,
        balancer: &LoadBalancer,
    ) -> Result<(), ApiError> {
        let Some(count) = &balancer.secondary_ips else {
            return Ok(());
        };
        let Some(arn) = self.names.load_balancers.get(&name.value).cloned() else {
            return Ok(());
        };
        let request = ModifyLoadBalancerAttributes {
            load_balancer_arn: arn,
            secondary_ips: Some(count.value),
            ..Default::default()
        };
        self.run(count.at, request)
    }

    pub(super) fn load_balancer(
        &mut self,
        name: &Value<String>,
        balancer: &LoadBalancer,
    ) -> Result<(), ApiError> {
        let gateway = balancer.kind == LoadBalancerType::Gateway;
        let mut subnets = Vec::new();
        let mut vpc = "";
        for reference in balancer.subnets.iter() {
            let found = self.subnet(reference)?;
            vpc = found.vpc;
            let private_ipv4 = fixed(&balancer.addresses, reference);
            // AWS chooses the addresses of a gateway load balancer.
            let private_ipv4 = match private_ipv4 {
                None if !gateway => self.same_address(&found, &node_key("lb", name))?,
                given => given,
            };
            subnets.push(SubnetMapping {
                subnet: self.subnet_id(&found)?,
                private_ipv4,
            });
        }
        let security_groups = self.group_ids(vpc, &balancer.groups)?;
        let create = CreateLoadBalancer {
            name: name.value.clone(),
            kind: match gateway {
                true => tables::LoadBalancerKind::Gateway,
                false => tables::LoadBalancerKind::Network,
            },
            subnets,
            security_groups: security_groups.clone(),
            dualstack: balancer.dualstack,
        };
        self.name(format_args!(
            "lb/{}/{:?}/{vpc}/{:?}",
            name.value, create.kind, create.dualstack
        ));
        let arn = self.run(name.at, create)?;
        if balancer.cross_zone {
            let load_balancer_arn = arn.clone();
            let cross_zone = Some(true);
            self.run(
                name.at,
                ModifyLoadBalancerAttributes {
                    load_balancer_arn,
                    cross_zone,
                    ..Default::default()
                },
            )?;
        }
        if let Some(enforce) = balancer.enforce_privatelink_groups {
            let set = SetSecurityGroups {
                load_balancer_arn: arn.clone(),
                security_groups,
                enforce_on_privatelink: Some(enforce),
            };
            self.run(name.at, set)?;
        }
        let mut listeners = Vec::new();
        for listener in &balancer.listeners {
            let group = self.names.target_groups.get(&listener.target_group.value);
            let target_group_arn = group.cloned().unwrap_or_default();
            let given = listener.proto.map(protocol);
            let create = CreateListener {
                load_balancer_arn: arn.clone(),
                protocol: if gateway {
                    given
                } else {
                    given.or(Some(LbProtocol::Tcp))
                },
                port: listener.port.as_ref().map(|port| port.value),
                target_group_arn,
                tcp_idle_s: listener.idle_timeout.as_ref().map(|seconds| seconds.value),
            };
            self.name(format_args!(
                "{arn}/{:?}/{:?}",
                create.protocol, create.port
            ));
            listeners.push(self.run(listener.at, create)?);
        }
        self.names.load_balancers.insert(name.value.clone(), arn);
        self.names.listeners.insert(name.value.clone(), listeners);
        Ok(())
    }

    /// Registers the targets, once hosts and listeners are there.
    pub(super) fn targets(
        &mut self,
        name: &Value<String>,
        group: &TargetGroup,
    ) -> Result<(), ApiError> {
        for target in group.targets.iter() {
            let what = self.topology.target(target.at, &target.to);
            let id = match what.map_err(|mistake| self.unexpected(mistake))? {
                TargetRef::Address(address) => address,
                TargetRef::Host(host, index) => self.host_address(target.at, host, index)?,
            };
            let mut description = TargetDescription::new(id.to_string());
            description.port = target.port;
            let target_group_arn = self
                .names
                .target_groups
                .get(&name.value)
                .cloned()
                .unwrap_or_default();
            let register = RegisterTargets {
                target_group_arn,
                targets: vec![description],
            };
            self.run(target.at, register)?;
        }
        Ok(())
    }

    pub(super) fn endpoint_service(
        &mut self,
        name: &Value<String>,
        service: &EndpointService,
    ) -> Result<(), ApiError> {
        let mut create = CreateVpcEndpointServiceConfiguration {
            acceptance_required: service.acceptance_required.unwrap_or(true),
            private_dns_name: service.private_dns_name.as_ref().map(|it| it.value.clone()),
            name: Some(name.value.clone()),
            ..CreateVpcEndpointServiceConfiguration::default()
        };
        for reference in service.load_balancers.iter() {
            let arn = self
                .names
                .load_balancers
                .get(&reference.value)
                .cloned()
                .unwrap_or_default();
            let body = self.topology.load_balancers.find(reference);
            match body.map(|body| body.kind) {
                Some(LoadBalancerType::Gateway) => create.gateway_load_balancer_arns.push(arn),
                _ => create.network_load_balancer_arns.push(arn),
            }
        }
        let gateway = !create.gateway_load_balancer_arns.is_empty();
        self.name(format_args!("endpoint-service/{}/{gateway}", name.value));
        let made = self.run(name.at, create)?;
        if let Some(first) = service.allowed_principals.first() {
            let permissions = ModifyVpcEndpointServicePermissions {
                service: made.service.clone(),
                add_allowed_principals: texts(&service.allowed_principals),
                ..ModifyVpcEndpointServicePermissions::default()
            };
            self.run(first.at, permissions)?;
        }
        if let Some(held) = &service.private_dns_name {
            self.at = held.at;
            let mut service = (*self.tx.require(&made.service)?).clone();
            if let Some(held) = &mut service.private_dns {
                held.state = PrivateDnsState::Verified;
            }
            self.tx.put(service);
        }
        let names = ServiceNames {
            id: made.service,
            service_name: made.service_name,
        };
        self.names
            .endpoint_services
            .insert(name.value.clone(), names);
        Ok(())
    }

    /// A service of AWS's; who answers for it is not the network's business.
    pub(super) fn aws_service(&mut self, name: &Value<String>) -> Result<(), ApiError> {
        self.at = name.at;
        let region = self.topology.region();
        let short = aws_service_name(region, &name.value).map_err(ApiError::invalid_value)?;
        self.name(format_args!("aws-service/{short}"));
        let create = CreateAwsService {
            name: short.to_owned(),
        };
        self.run(name.at, create).map(drop)
    }

    /// A gateway endpoint, once route tables are there.
    pub(super) fn gateway_endpoint(
        &mut self,
        name: &Value<String>,
        endpoint: &Endpoint,
    ) -> Result<(), ApiError> {
        let topology = self.topology;
        let mut vpc = endpoint.vpc.as_ref().map(|vpc| vpc.value.as_str());
        let mut route_tables = Vec::new();
        for reference in endpoint.route_tables.iter() {
            let (of, table) = topology
                .table(reference)
                .map_err(|mistake| self.unexpected(mistake))?;
            let found = self.vpc(of)?.route_tables.get(table).cloned();
            route_tables.push(found.ok_or_else(|| self.missing(reference.at, table))?);
            vpc = Some(of);
        }
        let service = &endpoint.service.value;
        let service = aws_service_name(topology.region(), service).unwrap_or(service);
        let create = CreateVpcEndpoint {
            route_tables,
            name: Some(name.value.clone()),
            ..CreateVpcEndpoint::new(
                VpcEndpointType::Gateway,
                self.vpc(vpc.unwrap_or_default())?.id.clone(),
                &format!("com.amazonaws.{}.{service}", topology.region()),
                [],
            )
        };
        self.name(format_args!(
            "endpoint/{}/{}/{}/Gateway",
            name.value, create.vpc, create.service_name
        ));
        let id = self.run(name.at, create)?;
        self.names.endpoints.insert(name.value.clone(), id);
        Ok(())
    }

    pub(super) fn endpoint(
        &mut self,
        name: &Value<String>,
        endpoint: &Endpoint,
    ) -> Result<(), ApiError> {
        let topology = self.topology;
        let mut subnets = Vec::new();
        let mut vpc = "";
        for reference in endpoint.subnets.iter() {
            let found = self.subnet(reference)?;
            vpc = found.vpc;
            let only = endpoint
                .address
                .as_ref()
                .and_then(|address| ipv4(address.0));
            let ipv4 = only.or_else(|| fixed(&endpoint.addresses, reference));
            let ipv4 = match ipv4 {
                None => self.same_address(&found, &node_key("endpoint", name))?,
                given => given,
            };
            subnets.push(EndpointSubnet {
                subnet: self.subnet_id(&found)?,
                ipv4,
            });
        }
        let body = topology.endpoint_services.find(&endpoint.service);
        let gateway = body.is_some_and(|service| {
            let first = service.load_balancers.first();
            let balancer = first.and_then(|first| topology.load_balancers.find(first));
            balancer.is_some_and(|balancer| balancer.kind == LoadBalancerType::Gateway)
        });
        let own = self.names.endpoint_services.get(&endpoint.service.value);
        let aws = || {
            let short = topology.aws_service(&endpoint.service)?;
            Some(ServiceNames {
                id: EndpointServiceId::default(),
                service_name: format!("com.amazonaws.{}.{short}", topology.region()),
            })
        };
        let Some(service) = own.cloned().or_else(aws) else {
            return Err(self.missing(endpoint.service.at, &endpoint.service));
        };
        let create = CreateVpcEndpoint {
            endpoint_type: match gateway {
                true => VpcEndpointType::GatewayLoadBalancer,
                false => VpcEndpointType::Interface,
            },
            vpc: self.vpc(vpc)?.id.clone(),
            service_name: service.service_name,
            service_region: None,
            subnets,
            route_tables: Vec::new(),
            security_groups: self.group_ids(vpc, &endpoint.groups)?,
            dualstack: endpoint.dualstack,
            private_dns: endpoint.private_dns,
            name: Some(name.value.clone()),
        };
        self.name(format_args!(
            "endpoint/{}/{}/{}/{:?}",
            name.value, create.vpc, create.service_name, create.endpoint_type
        ));
        let id = self.run(name.at, create)?;
        let required = body.is_some_and(|service| service.acceptance_required.unwrap_or(true));
        if required && endpoint.accept.as_ref().is_none_or(|accept| accept.value.0) {
            let accept = AcceptVpcEndpointConnections {
                service: service.id,
                vpc_endpoints: vec![id.clone()],
            };
            let refused = self.run(name.at, accept)?;
            if let Some(refused) = refused.into_iter().next() {
                return Err(refused.error);
            }
        }
        self.names.endpoints.insert(name.value.clone(), id);
        Ok(())
    }

    pub(super) fn zone(&mut self, name: &Value<String>, zone: &DnsZone) -> Result<(), ApiError> {
        let mut create = CreateHostedZone {
            name: name.value.clone(),
            ..CreateHostedZone::default()
        };
        for vpc in zone.vpcs.iter() {
            self.at = vpc.at;
            create.vpcs.push(self.vpc(&vpc.value)?.id.clone());
        }
        for (record, values) in zone.records.iter() {
            let values = values.iter().map(|value| value.value.0.clone());
            create
                .records
                .insert(record.value.clone(), values.collect());
        }
        self.name(format_args!("zone/{}/{:?}", name.value, create.vpcs));
        self.run(name.at, create).map(drop)
    }

    /// The primary address of a host's interface.
    fn host_address(&mut self, at: At, host: &str, index: usize) -> Result<IpAddr, ApiError> {
        self.at = at;
        let enis = self
            .names
            .hosts
            .get(host)
            .map(|host| host.enis.as_slice())
            .unwrap_or_default();
        let Some(id) = enis.get(index) else {
            return Err(self.missing(at, host));
        };
        let eni = self.tx.require(id)?;
        eni.addresses().next().ok_or_else(|| self.missing(at, host))
    }
}

fn protocol(protocol: TargetProtocol) -> LbProtocol {
    match protocol {
        TargetProtocol::Tcp => LbProtocol::Tcp,
        TargetProtocol::Udp => LbProtocol::Udp,
        TargetProtocol::TcpUdp => LbProtocol::TcpUdp,
        TargetProtocol::Geneve => LbProtocol::Geneve,
    }
}

fn health(check: &HealthCheck) -> HealthCheckSettings {
    let seconds = |value: &Option<Value<u32>>| value.as_ref().map(|value| value.value);
    HealthCheckSettings {
        protocol: check.protocol.map(|protocol| match protocol {
            HealthProtocol::Tcp => ProbeProtocol::Tcp,
            HealthProtocol::Http => ProbeProtocol::Http,
        }),
        port: check.port.as_ref().map(|port| CheckPort::Fixed(port.value)),
        path: check.path.clone(),
        matcher: check.matcher.clone(),
        interval_s: seconds(&check.interval),
        timeout_s: seconds(&check.timeout),
        healthy_threshold: seconds(&check.healthy),
        unhealthy_threshold: seconds(&check.unhealthy),
    }
}

/// The address that the file gives for a subnet.
fn fixed(addresses: &Named<Value<Address>>, subnet: &Value<String>) -> Option<Ipv4Addr> {
    addresses.find(subnet).and_then(|address| ipv4(address.0))
}

fn ipv4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn texts(values: &[Value<String>]) -> Vec<String> {
    values.iter().map(|value| value.value.clone()).collect()
}

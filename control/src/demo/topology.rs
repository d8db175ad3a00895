//! The demo's lab, made by API actions like any other.
//!
//! ```text
//!   consumer 10.0.0.0/16                            provider 10.0.0.0/16
//!   client ──► endpoint `service` ═══ PrivateLink ═══► NLB `web` ──► server
//!     │
//!     └─► endpoint `inspect` ═ GENEVE ═► GWLB `firewalls` ─► a, b     (10.2.0.0/16)
//!              │
//!              └─► igw ──► web 203.0.113.80
//! ```

use std::net::Ipv4Addr;

use vpclab_dataplane::addr::Prefix;
use vpclab_dataplane::tables::{LoadBalancerKind, Settings};

use crate::api::*;
use crate::model::*;

/// Where the provider's service listens.
pub(super) const SERVICE_PORT: u16 = 80;
/// Where the appliances answer health checks.
pub(super) const HEALTH_PORT: u16 = 80;
/// The internet host.
pub(super) const WEB: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);

/// The control plane of the demo's lab.
pub(super) fn build(seed: u64, settings: Settings) -> Result<ControlPlane, ApiError> {
    let mut control = ControlPlane::new(ControlPlaneOptions {
        seed,
        settings,
        ..ControlPlaneOptions::default()
    });
    let service = provider(&mut control)?;
    let firewalls = appliances(&mut control)?;
    consumer(&mut control, &service, &firewalls)?;
    control.execute(CreateInternetHost {
        name: "web".to_owned(),
        addresses: vec![WEB.into()],
    })?;
    Ok(control)
}

/// The service that the provider offers; returns its name.
fn provider(control: &mut ControlPlane) -> Result<String, ApiError> {
    let vpc = vpc(control, "provider", [10, 0, 0, 0])?;
    let servers = subnet(control, &vpc, "servers", [10, 0, 3, 0])?;
    let balancer = subnet(control, &vpc, "balancer", [10, 0, 2, 0])?;
    let open = open_group(control, &vpc)?;
    host(control, "server", &servers, [10, 0, 3, 10], &open)?;
    let arn = control.execute(CreateLoadBalancer::new(
        "web",
        LoadBalancerKind::Network,
        [balancer],
    ))?;
    let request = CreateTargetGroup {
        health_check: quick(SERVICE_PORT),
        ..CreateTargetGroup::new("servers", LbProtocol::Tcp, SERVICE_PORT, vpc)
    };
    let group = control.execute(request)?;
    control.execute(CreateListener {
        load_balancer_arn: arn.clone(),
        protocol: Some(LbProtocol::Tcp),
        port: Some(SERVICE_PORT),
        target_group_arn: group.clone(),
        tcp_idle_s: None,
    })?;
    control.execute(RegisterTargets {
        target_group_arn: group,
        targets: vec![TargetDescription::new("10.0.3.10")],
    })?;
    let service = control.execute(CreateVpcEndpointServiceConfiguration {
        network_load_balancer_arns: vec![arn],
        acceptance_required: false,
        ..CreateVpcEndpointServiceConfiguration::default()
    })?;
    Ok(service.service_name)
}

/// Two appliances behind a gateway load balancer; returns the service's name.
fn appliances(control: &mut ControlPlane) -> Result<String, ApiError> {
    let vpc = vpc(control, "appliances", [10, 2, 0, 0])?;
    let subnet = subnet(control, &vpc, "appliances", [10, 2, 1, 0])?;
    let open = open_group(control, &vpc)?;
    host(control, "a", &subnet, [10, 2, 1, 11], &open)?;
    host(control, "b", &subnet, [10, 2, 1, 12], &open)?;
    let arn = control.execute(CreateLoadBalancer::new(
        "firewalls",
        LoadBalancerKind::Gateway,
        [subnet],
    ))?;
    let request = CreateTargetGroup {
        health_check: quick(HEALTH_PORT),
        ..CreateTargetGroup::new("firewalls", LbProtocol::Geneve, 6081, vpc)
    };
    let group = control.execute(request)?;
    control.execute(CreateListener {
        load_balancer_arn: arn.clone(),
        protocol: None,
        port: None,
        target_group_arn: group.clone(),
        tcp_idle_s: None,
    })?;
    let targets = ["10.2.1.11", "10.2.1.12"].map(TargetDescription::new);
    control.execute(RegisterTargets {
        target_group_arn: group,
        targets: targets.into(),
    })?;
    let service = control.execute(CreateVpcEndpointServiceConfiguration {
        gateway_load_balancer_arns: vec![arn],
        acceptance_required: false,
        ..CreateVpcEndpointServiceConfiguration::default()
    })?;
    Ok(service.service_name)
}

fn consumer(control: &mut ControlPlane, service: &str, firewalls: &str) -> Result<(), ApiError> {
    let vpc = vpc(control, "consumer", [10, 0, 0, 0])?;
    let app = subnet(control, &vpc, "app", [10, 0, 1, 0])?;
    let inspection = subnet(control, &vpc, "inspection", [10, 0, 9, 0])?;
    let open = open_group(control, &vpc)?;
    let client = host(control, "client", &app, [10, 0, 1, 10], &open)?;
    let gateway = control.execute(CreateInternetGateway::default())?;
    control.execute(AttachInternetGateway {
        internet_gateway: gateway.clone(),
        vpc: vpc.clone(),
    })?;
    let address = control.execute(AllocateAddress {
        address: Some(Ipv4Addr::new(198, 51, 100, 10)),
        name: None,
    })?;
    control.execute(AssociateAddress {
        allocation: address.allocation,
        network_interface: client,
        private_ip_address: None,
        allow_reassociation: None,
    })?;
    let endpoint = CreateVpcEndpoint {
        security_groups: vec![open],
        name: Some("service".to_owned()),
        ..CreateVpcEndpoint::new(
            VpcEndpointType::Interface,
            vpc.clone(),
            service,
            [app.clone()],
        )
    };
    control.execute(endpoint)?;
    let inspect = CreateVpcEndpoint {
        name: Some("inspect".to_owned()),
        ..CreateVpcEndpoint::new(
            VpcEndpointType::GatewayLoadBalancer,
            vpc.clone(),
            firewalls,
            [inspection.clone()],
        )
    };
    let inspect = RouteTargetSpec::VpcEndpoint(control.execute(inspect)?);
    let out = RouteTargetSpec::InternetGateway(gateway.clone());
    table(
        control,
        &vpc,
        Some(app),
        None,
        Prefix::ANY_V4,
        inspect.clone(),
    )?;
    table(control, &vpc, Some(inspection), None, Prefix::ANY_V4, out)?;
    // What comes in by the gateway is inspected, too: the edge route table.
    let app_block = block([10, 0, 1, 0], 24)?;
    table(control, &vpc, None, Some(gateway), app_block, inspect)
}

/// A route table with one route, for a subnet or a gateway.
fn table(
    control: &mut ControlPlane,
    vpc: &VpcId,
    subnet: Option<SubnetId>,
    gateway: Option<InternetGatewayId>,
    to: Prefix,
    via: RouteTargetSpec,
) -> Result<(), ApiError> {
    let table = control.execute(CreateRouteTable {
        vpc: vpc.clone(),
        name: None,
    })?;
    control.execute(AssociateRouteTable {
        route_table: table.clone(),
        subnet,
        gateway,
        vpn_gateway: None,
    })?;
    control.execute(CreateRoute {
        route_table: table,
        destination: Destination::Cidr(to),
        target: via,
    })
}

fn vpc(control: &mut ControlPlane, name: &str, base: [u8; 4]) -> Result<VpcId, ApiError> {
    let request = CreateVpc {
        cidr_block: Some(block(base, 16)?),
        name: Some(name.to_owned()),
        ..CreateVpc::default()
    };
    Ok(control.execute(request)?.vpc)
}

fn subnet(
    control: &mut ControlPlane,
    vpc: &VpcId,
    name: &str,
    base: [u8; 4],
) -> Result<SubnetId, ApiError> {
    control.execute(CreateSubnet {
        vpc: vpc.clone(),
        cidr_block: Some(block(base, 24)?),
        name: Some(name.to_owned()),
        ..CreateSubnet::default()
    })
}

/// A group that lets everything in: the demo's refusals are not its doing.
fn open_group(control: &mut ControlPlane, vpc: &VpcId) -> Result<SecurityGroupId, ApiError> {
    let group = control.execute(CreateSecurityGroup {
        group_name: "open".to_owned(),
        vpc: vpc.clone(),
        ..CreateSecurityGroup::default()
    })?;
    control.execute(AuthorizeSecurityGroup {
        group: group.clone(),
        direction: Direction::Ingress,
        permissions: vec![Permission::all(RulePeer::Cidr(Prefix::ANY_V4))],
    })?;
    Ok(group)
}

fn host(
    control: &mut ControlPlane,
    name: &str,
    subnet: &SubnetId,
    address: [u8; 4],
    group: &SecurityGroupId,
) -> Result<NetworkInterfaceId, ApiError> {
    let interface = control.execute(CreateNetworkInterface {
        subnet: subnet.clone(),
        private_ip_address: Some(address.into()),
        groups: vec![group.clone()],
        ..CreateNetworkInterface::default()
    })?;
    control.execute(AttachNetworkInterface {
        network_interface: interface.clone(),
        host: name.to_owned(),
        ..AttachNetworkInterface::default()
    })?;
    Ok(interface)
}

fn quick(port: u16) -> HealthCheckSettings {
    HealthCheckSettings {
        protocol: Some(ProbeProtocol::Tcp),
        port: Some(CheckPort::Fixed(port)),
        interval_s: Some(5),
        timeout_s: Some(2),
        healthy_threshold: Some(2),
        unhealthy_threshold: Some(2),
        ..HealthCheckSettings::default()
    }
}

fn block(base: [u8; 4], len: u8) -> Result<Prefix, ApiError> {
    let block = Prefix::new(Ipv4Addr::from(base).into(), len);
    block.ok_or_else(|| ApiError::invalid_value(format!("/{len} is no prefix length")))
}

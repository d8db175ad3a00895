//! The random actions of load balancers and endpoints.

use vpclab_dataplane::tables::{LoadBalancerKind, TargetHealth};
use vpclab_dataplane::time::Instant;

use super::agreement::{Step, any};
use crate::api::*;
use crate::model::*;

/// How many kinds of action there are.
pub(super) const KINDS: u8 = 13;

/// Executes one action; says whether it was accepted and did something.
pub(super) fn execute(c: &mut ControlPlane, (kind, a, b, d): Step) -> bool {
    let balancer = any::<LoadBalancer>(c, a);
    let group = any::<TargetGroup>(c, b);
    let service = any::<EndpointService>(c, a);
    let endpoint = any::<VpcEndpoint>(c, b);
    match kind {
        0 => {
            let (kind, name) = match d % 2 {
                0 => (LoadBalancerKind::Network, "nlb"),
                _ => (LoadBalancerKind::Gateway, "gwlb"),
            };
            let name = format!("{name}-{}", a % 3);
            let subnets = [any::<Subnet>(c, b)];
            let request = CreateLoadBalancer::new(&name, kind, subnets);
            c.execute(request).is_ok()
        }
        1 => {
            let (protocol, port, name) = match d % 2 {
                0 => (LbProtocol::TcpUdp, 80, "tcp"),
                _ => (LbProtocol::Geneve, 6081, "geneve"),
            };
            let name = format!("{name}-{}", a % 3);
            let vpc = any::<Vpc>(c, b);
            let mut request = CreateTargetGroup::new(&name, protocol, port, vpc);
            if b.is_multiple_of(2) {
                request.target_type = TargetType::Instance;
            }
            c.execute(request).is_ok()
        }
        2 | 3 => {
            let interface = any::<NetworkInterface>(c, a);
            let found = c.model().get(&interface);
            let by_address = found
                .and_then(|found| found.primary())
                .map(|ip| ip.to_string());
            let id = match d % 3 {
                0 => interface.to_string(),
                1 => format!("host-{}", a % 4),
                _ => by_address.unwrap_or_default(),
            };
            let request = RegisterTargets {
                target_group_arn: group,
                targets: vec![TargetDescription::new(id)],
            };
            c.execute(request).is_ok()
        }
        4 => {
            let target = c.model().get(&group).and_then(|held| held.targets.first());
            let Some(target) = target.cloned() else {
                return false;
            };
            let request = SetTargetHealth {
                target_group_arn: group,
                target: target.id,
                port: target.port,
                health: match d % 2 {
                    0 => TargetHealth::Healthy,
                    _ => TargetHealth::Unhealthy,
                },
                failure: None,
            };
            c.execute(request).is_ok()
        }
        5 => {
            let network = c.model().get(&balancer).map(|held| held.kind);
            let network = network == Some(LoadBalancerKind::Network);
            let request = CreateListener {
                load_balancer_arn: balancer,
                protocol: network.then_some(LbProtocol::TcpUdp),
                port: network.then_some(80 + u16::from(d % 2)),
                target_group_arn: group,
                tcp_idle_s: None,
            };
            c.execute(request).is_ok()
        }
        6 => {
            let listener_arn = any::<Listener>(c, a);
            c.execute(DeleteListener { listener_arn }).is_ok()
        }
        7 => match d % 3 {
            0 => {
                let target_group_arn = group;
                c.execute(DeleteTargetGroup { target_group_arn }).is_ok()
            }
            1 => {
                let load_balancer_arn = balancer;
                c.execute(DeleteLoadBalancer { load_balancer_arn }).is_ok()
            }
            _ => {
                let now = Instant::from_secs(1_000_000);
                c.execute(FinishDeregistration {
                    target_group_arn: group,
                    now,
                })
                .is_ok()
            }
        },
        8 => {
            let mut request = CreateVpcEndpointServiceConfiguration {
                acceptance_required: d.is_multiple_of(2),
                ..CreateVpcEndpointServiceConfiguration::default()
            };
            match c.model().get(&balancer).map(|held| held.kind) {
                Some(LoadBalancerKind::Network) => {
                    request.network_load_balancer_arns.push(balancer);
                }
                _ => request.gateway_load_balancer_arns.push(balancer),
            }
            c.execute(request).is_ok()
        }
        9 => create_endpoint(c, &service, b, d),
        12 => {
            let peering = any::<VpcPeeringConnection>(c, a);
            match d % 4 {
                0 => c.execute(DeleteVpcPeeringConnection { peering }).is_ok(),
                1 | 2 => c.execute(AcceptVpcPeeringConnection { peering }).is_ok(),
                _ => {
                    let request = CreateVpcPeeringConnection {
                        vpc: any::<Vpc>(c, a),
                        peer_vpc: any::<Vpc>(c, b),
                        ..CreateVpcPeeringConnection::default()
                    };
                    c.execute(request).is_ok()
                }
            }
        }
        10 => {
            let services = c.model().get(&endpoint).map(|held| held.service.clone());
            let service = services.unwrap_or_default();
            let vpc_endpoints = vec![endpoint];
            let done = match d % 2 {
                0 => c.execute(AcceptVpcEndpointConnections {
                    service,
                    vpc_endpoints,
                }),
                _ => c.execute(RejectVpcEndpointConnections {
                    service,
                    vpc_endpoints,
                }),
            };
            done.is_ok_and(|refused| refused.is_empty())
        }
        _ => {
            let done = match d % 2 {
                0 => c.execute(DeleteVpcEndpoints {
                    vpc_endpoints: vec![endpoint],
                }),
                _ => c.execute(DeleteVpcEndpointServiceConfigurations {
                    services: vec![service],
                }),
            };
            done.is_ok_and(|refused| refused.is_empty())
        }
    }
}

fn create_endpoint(c: &mut ControlPlane, service: &EndpointServiceId, b: u8, d: u8) -> bool {
    let endpoint_type = match d % 2 {
        0 => VpcEndpointType::Interface,
        _ => VpcEndpointType::GatewayLoadBalancer,
    };
    let subnet = any::<Subnet>(c, b);
    let vpc = c.model().get(&subnet).map(|held| held.vpc.clone());
    let name = format!("com.amazonaws.vpce.us-east-1.{service}");
    let vpc = vpc.unwrap_or_default();
    let request = CreateVpcEndpoint::new(endpoint_type, vpc, &name, [subnet]);
    c.execute(request).is_ok()
}

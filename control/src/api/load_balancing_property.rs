//! Whatever load balancers, target groups, services and endpoints go through,
//! the published tables are those of a full compile.

use proptest::prelude::*;
use vpclab_dataplane::tables::{LoadBalancerKind, TargetHealth};
use vpclab_dataplane::time::Instant;

use super::testing::*;
use super::*;
use crate::model::*;

/// A step: what to do, and numbers that pick resources and values.
#[derive(Clone, Copy, Debug)]
struct Step {
    what: u8,
    pick: [u8; 4],
}

const KINDS: u8 = 21;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..KINDS, any::<[u8; 4]>()).prop_map(|(what, pick)| Step { what, pick });
    prop::collection::vec(step, 1..60)
}

/// Two VPCs with a subnet in each of three zones; in the first a network and a
/// gateway load balancer with their groups, services and an endpoint each.
fn start() -> ControlPlane {
    let mut control = ControlPlane::default();
    for vpc_block in 0..2 {
        let vpc = vpc_with(&mut control, &format!("10.{vpc_block}.0.0/16"));
        for (index, zone) in ["a", "b", "c"].iter().enumerate() {
            let block = format!("10.{vpc_block}.{index}.0/24");
            subnet_in(&mut control, &vpc, &block, &format!("us-east-1{zone}"));
        }
    }
    for network in [true, false] {
        offer(&mut control, network).unwrap();
    }
    control
}

/// A service of either kind with all that belongs to it.
fn offer(control: &mut ControlPlane, network: bool) -> Result<(), ApiError> {
    let subnet = control.model().subnets().iter().next().cloned().unwrap();
    let (name, kind, protocol, port, endpoint_type) = if network {
        let endpoint_type = VpcEndpointType::Interface;
        (
            "lb0",
            LoadBalancerKind::Network,
            LbProtocol::Tcp,
            80,
            endpoint_type,
        )
    } else {
        let endpoint_type = VpcEndpointType::GatewayLoadBalancer;
        (
            "lb1",
            LoadBalancerKind::Gateway,
            LbProtocol::Geneve,
            6081,
            endpoint_type,
        )
    };
    let balancer = CreateLoadBalancer::new(name, kind, [subnet.id.clone()]);
    let balancer = control.execute(balancer)?;
    let group = CreateTargetGroup::new(name, protocol, port, subnet.vpc.clone());
    let group = control.execute(group)?;
    let listener = CreateListener {
        load_balancer_arn: balancer.clone(),
        protocol: Some(protocol).filter(|_| network),
        port: Some(port).filter(|_| network),
        target_group_arn: group.clone(),
        tcp_idle_s: None,
    };
    control.execute(listener)?;
    let address = subnet.cidr.nth(77).unwrap().to_string();
    let targets = RegisterTargets {
        target_group_arn: group,
        targets: vec![TargetDescription::new(address)],
    };
    control.execute(targets)?;
    let mut service = CreateVpcEndpointServiceConfiguration::default();
    if network {
        service.network_load_balancer_arns.push(balancer);
    } else {
        service.gateway_load_balancer_arns.push(balancer);
    }
    let name = control.execute(service)?.service_name;
    let (vpc, subnet) = (subnet.vpc.clone(), subnet.id.clone());
    control.execute(CreateVpcEndpoint::new(endpoint_type, vpc, &name, [subnet]))?;
    Ok(())
}

/// One of a kind; a made-up id when there is none.
fn one<R: Resource>(table: &Table<R>, pick: u8) -> R::Id {
    let count = table.len().max(1);
    let found = table.iter().nth(usize::from(pick) % count);
    found.map_or_else(R::Id::default, |resource| resource.id().clone())
}

/// Executes a step; says whether it went through. A refusal is fine, as long as
/// it changes nothing.
#[expect(clippy::too_many_lines, reason = "one arm per action")]
fn run(control: &mut ControlPlane, Step { what, pick }: Step) -> bool {
    let [a, b, c, d] = pick;
    let model = control.model().clone();
    let subnets = |n: u8| (0..=n % 3).map(|i| one(model.subnets(), a.wrapping_add(i)));
    let balancer = one(model.load_balancers(), a);
    let group = one(model.target_groups(), b);
    let service = one(model.endpoint_services(), a);
    let endpoint = one(model.vpc_endpoints(), a);
    let kind = [LoadBalancerKind::Network, LoadBalancerKind::Gateway][usize::from(c % 2)];
    let gateway = kind == LoadBalancerKind::Gateway;
    let port = 80 + u16::from(d % 3);
    match what {
        0 => {
            let name = format!("lb{}", b % 4);
            control
                .execute(CreateLoadBalancer::new(&name, kind, subnets(d)))
                .is_ok()
        }
        1 => control
            .execute(SetSubnets {
                load_balancer_arn: balancer,
                subnets: subnets(d).map(Into::into).collect(),
            })
            .is_ok(),
        2 => control
            .execute(ModifyLoadBalancerAttributes {
                load_balancer_arn: balancer,
                cross_zone: Some(d % 2 == 0),
                ..Default::default()
            })
            .is_ok(),
        3 => control
            .execute(DeleteLoadBalancer {
                load_balancer_arn: balancer,
            })
            .is_ok(),
        4 | 5 => {
            let name = format!("tg{}", b % 4);
            let vpc = one(model.vpcs(), a);
            let (protocol, port) = match (gateway, d % 2) {
                (true, _) => (LbProtocol::Geneve, 6081),
                (false, 0) => (LbProtocol::TcpUdp, port),
                (false, _) => (LbProtocol::Tcp, port),
            };
            let mut request = CreateTargetGroup::new(&name, protocol, port, vpc);
            if what == 5 {
                request.target_type = TargetType::Instance;
            }
            control.execute(request).is_ok()
        }
        6 => control
            .execute(DeleteTargetGroup {
                target_group_arn: group,
            })
            .is_ok(),
        7 | 8 => {
            let id = match what {
                7 => format!("10.{}.{}.{}", a % 2, c % 4, 10 + d % 4),
                _ => one(model.interfaces(), c).to_string(),
            };
            control
                .execute(RegisterTargets {
                    target_group_arn: group,
                    targets: vec![TargetDescription::new(id)],
                })
                .is_ok()
        }
        9 => {
            let known = model.get(&group);
            let target = known.and_then(|group| group.targets.first().map(|t| t.id.to_string()));
            control
                .execute(DeregisterTargets {
                    target_group_arn: group,
                    targets: target.into_iter().map(TargetDescription::new).collect(),
                    now: Instant::from_secs(u64::from(d)),
                })
                .is_ok()
        }
        10 => control
            .execute(FinishDeregistration {
                target_group_arn: group,
                now: Instant::from_secs(1000),
            })
            .is_ok(),
        11 => {
            let known = model
                .get(&group)
                .and_then(|group| group.targets.first().cloned());
            let Some(target) = known else {
                return false;
            };
            let request = SetTargetHealth {
                target_group_arn: group,
                target: target.id,
                port: target.port,
                health: TargetHealth::Unhealthy,
                failure: Some(ProbeFailure::Timeout),
            };
            control.execute(request).is_ok()
        }
        12 => {
            let gateway = model
                .get(&balancer)
                .is_some_and(|lb| lb.kind == LoadBalancerKind::Gateway);
            control
                .execute(CreateListener {
                    load_balancer_arn: balancer,
                    protocol: Some(LbProtocol::Tcp).filter(|_| !gateway),
                    port: Some(port).filter(|_| !gateway),
                    target_group_arn: group,
                    tcp_idle_s: None,
                })
                .is_ok()
        }
        13 => control
            .execute(ModifyListener {
                listener_arn: one(model.listeners(), a),
                port: Some(port),
                target_group_arn: Some(group).filter(|_| d % 2 == 0),
                ..ModifyListener::default()
            })
            .is_ok(),
        14 => control
            .execute(DeleteListener {
                listener_arn: one(model.listeners(), a),
            })
            .is_ok(),
        15 => {
            let gateway = model
                .get(&balancer)
                .is_some_and(|lb| lb.kind == LoadBalancerKind::Gateway);
            let mut request = CreateVpcEndpointServiceConfiguration {
                acceptance_required: d % 2 == 0,
                ..Default::default()
            };
            if gateway {
                request.gateway_load_balancer_arns.push(balancer);
            } else {
                request.network_load_balancer_arns.push(balancer);
            }
            control.execute(request).is_ok()
        }
        16 => control
            .execute(DeleteVpcEndpointServiceConfigurations {
                services: vec![service],
            })
            .is_ok(),
        17 => {
            let known = model.get(&service);
            let gateway = known.is_some_and(|s| s.kind == LoadBalancerKind::Gateway);
            let name = known.map(|service| service.service_name());
            let subnet = one(model.subnets(), b);
            let vpc = model.get(&subnet).map(|subnet| subnet.vpc.clone());
            let endpoint_type = if gateway {
                VpcEndpointType::GatewayLoadBalancer
            } else {
                VpcEndpointType::Interface
            };
            control
                .execute(CreateVpcEndpoint::new(
                    endpoint_type,
                    vpc.unwrap_or_default(),
                    &name.unwrap_or_default(),
                    [subnet],
                ))
                .is_ok()
        }
        18 => {
            let service = model
                .get(&endpoint)
                .map(|endpoint| endpoint.service.clone());
            let service = service.unwrap_or_default();
            let vpc_endpoints = vec![endpoint];
            if d % 3 == 0 {
                control
                    .execute(RejectVpcEndpointConnections {
                        service,
                        vpc_endpoints,
                    })
                    .is_ok()
            } else {
                control
                    .execute(AcceptVpcEndpointConnections {
                        service,
                        vpc_endpoints,
                    })
                    .is_ok()
            }
        }
        19 => control
            .execute(DeleteVpcEndpoints {
                vpc_endpoints: vec![endpoint],
            })
            .is_ok(),
        // Hosts come and go under the targets.
        _ if d % 3 == 0 => control
            .execute(DeleteNetworkInterface {
                network_interface: one(model.interfaces(), a),
            })
            .is_ok(),
        _ => control
            .execute(CreateNetworkInterface {
                subnet: one(model.subnets(), a),
                ..CreateNetworkInterface::default()
            })
            .is_ok(),
    }
}

proptest! {
    #[test]
    fn incremental_compile_agrees_with_full_compile(steps in steps()) {
        let mut control = start();
        for step in steps {
            run(&mut control, step);
            assert_consistent(&control);
        }
    }
}

#[test]
fn every_kind_of_step_goes_through_now_and_then() {
    let mut minter = Minter::new(1);
    let mut done = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let mut control = start();
        for _ in 0..60 {
            let [what, _, _, _, pick @ ..] = minter.next_number().to_be_bytes();
            let what = what % KINDS;
            if run(&mut control, Step { what, pick }) {
                done.insert(what);
            }
        }
    }
    assert_eq!(done, (0..KINDS).collect());
}

use vpclab_dataplane::tables::{EndpointKind, EndpointRow, EniKind};

use super::super::testing::*;
use super::super::*;
use super::*;

#[path = "endpoint_state_tests.rs"]
mod states;

const CONSUMER: &str = "222222222222";

/// A provider with a service in zones a and b, and a consumer account whose VPC
/// has the provider's addresses.
struct Fixture {
    control: ControlPlane,
    consumer: Caller,
    service: EndpointServiceId,
    service_name: String,
    vpc: VpcId,
    a: SubnetId,
    b: SubnetId,
    c: SubnetId,
}

fn fixture(kind: LoadBalancerKind, acceptance_required: bool) -> Fixture {
    let mut control = ControlPlane::default();
    let provider = vpc(&mut control);
    let nodes = [
        subnet_in(&mut control, &provider, "10.0.1.0/24", "us-east-1a"),
        subnet_in(&mut control, &provider, "10.0.2.0/24", "us-east-1b"),
    ];
    let balancer = CreateLoadBalancer::new("svc", kind, nodes);
    let balancer = control.execute(balancer).unwrap();
    let mut request = CreateVpcEndpointServiceConfiguration {
        acceptance_required,
        ..Default::default()
    };
    match kind {
        LoadBalancerKind::Network => request.network_load_balancer_arns.push(balancer),
        LoadBalancerKind::Gateway => request.gateway_load_balancer_arns.push(balancer),
    }
    let made = control.execute(request).unwrap();
    let permission = ModifyVpcEndpointServicePermissions {
        service: made.service.clone(),
        add_allowed_principals: vec![format!("arn:aws:iam::{CONSUMER}:root")],
        remove_allowed_principals: Vec::new(),
    };
    control.execute(permission).unwrap();

    let consumer = Caller::new(CONSUMER, "us-east-1");
    let request = CreateVpc {
        cidr_block: Some(cidr("10.0.0.0/16")),
        ..CreateVpc::default()
    };
    let vpc = control.execute_as(&consumer, request).unwrap().vpc;
    let mut subnet = |block: &str, zone: &str| {
        let request = CreateSubnet {
            vpc: vpc.clone(),
            cidr_block: Some(cidr(block)),
            availability_zone: Some(zone.to_owned()),
            ..CreateSubnet::default()
        };
        control.execute_as(&consumer, request).unwrap()
    };
    let a = subnet("10.0.1.0/24", "us-east-1a");
    let b = subnet("10.0.2.0/24", "us-east-1b");
    let c = subnet("10.0.3.0/24", "us-east-1c");
    Fixture {
        control,
        consumer,
        service: made.service,
        service_name: made.service_name,
        vpc,
        a,
        b,
        c,
    }
}

impl Fixture {
    fn request(&self, subnets: &[&SubnetId]) -> CreateVpcEndpoint {
        CreateVpcEndpoint::new(
            VpcEndpointType::Interface,
            self.vpc.clone(),
            &self.service_name,
            subnets.iter().map(|&id| id.clone()),
        )
    }

    fn consume<A: Action>(&mut self, action: A) -> Result<A::Output, ApiError> {
        self.control.execute_as(&self.consumer.clone(), action)
    }

    fn row(&self, id: &VpcEndpointId) -> EndpointRow {
        let tables = self.control.tables().snapshot();
        let index = self.control.model().row(id).unwrap();
        tables.endpoints.row(index).unwrap().clone()
    }

    fn accept(&mut self, id: &VpcEndpointId) -> Vec<Unsuccessful> {
        let request = AcceptVpcEndpointConnections {
            service: self.service.clone(),
            vpc_endpoints: vec![id.clone()],
        };
        self.control.execute(request).unwrap()
    }

    fn reject(&mut self, id: &VpcEndpointId) -> Vec<Unsuccessful> {
        let request = RejectVpcEndpointConnections {
            service: self.service.clone(),
            vpc_endpoints: vec![id.clone()],
        };
        self.control.execute(request).unwrap()
    }

    #[track_caller]
    fn consumer_refused<A: Action>(&mut self, action: A, code: &str, value: &str)
    where
        A::Output: std::fmt::Debug,
    {
        let error = self.consume(action).expect_err("must be refused");
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(value), "{error}");
    }
}

#[test]
fn b072_an_endpoint_carries_traffic_only_between_accept_and_reject() {
    let mut f = fixture(LoadBalancerKind::Network, true);
    let request = f.request(&[&f.a, &f.b]);
    let id = f.consume(request).unwrap();
    let state = |f: &Fixture| f.control.model().get(&id).unwrap().state.name();
    assert_eq!(state(&f), "pendingAcceptance");
    assert!(!f.row(&id).available);
    assert_eq!(f.accept(&id), []);
    assert_eq!(state(&f), "available");
    assert!(f.row(&id).available);
    assert_eq!(f.reject(&id), []);
    assert_eq!(state(&f), "rejected");
    assert!(!f.row(&id).available);
    assert_eq!(f.accept(&id)[0].error.code, "InvalidState");
    assert_consistent(&f.control);
}

#[test]
fn b073_a_principal_without_permission_learns_only_that_there_is_no_service() {
    let mut f = fixture(LoadBalancerKind::Network, false);
    let request = f.request(&[&f.a]);
    let revoke = ModifyVpcEndpointServicePermissions {
        service: f.service.clone(),
        remove_allowed_principals: vec![format!("arn:aws:iam::{CONSUMER}:root")],
        ..Default::default()
    };
    let held = f.consume(request.clone()).unwrap();
    f.control.execute(revoke).unwrap();
    let denied = f.consume(request.clone()).unwrap_err();
    let absent = CreateVpcEndpoint {
        service_name: "com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0".into(),
        ..request.clone()
    };
    let unknown = f.consume(absent.clone()).unwrap_err();
    assert_eq!(denied.code, "InvalidServiceName");
    assert_eq!(denied.code, unknown.code);
    assert_eq!(
        denied.message.replace(&request.service_name, "NAME"),
        unknown.message.replace(&absent.service_name, "NAME")
    );
    assert!(f.row(&held).available, "existing endpoints are not cut");
    let everyone = ModifyVpcEndpointServicePermissions {
        service: f.service.clone(),
        add_allowed_principals: vec!["*".into()],
        ..Default::default()
    };
    f.control.execute(everyone).unwrap();
    f.consume(request).unwrap();
}

#[test]
fn an_endpoint_has_one_interface_per_zone_with_the_default_group() {
    let mut f = fixture(LoadBalancerKind::Network, false);
    let mut request = f.request(&[&f.a, &f.b]);
    request.subnets[0].ipv4 = Some([10, 0, 1, 100].into());
    let id = f.consume(request).unwrap();
    let row = f.row(&id);
    assert_eq!(format!("vpce-0{:016x}", row.vpce), id.as_str());
    let EndpointKind::Interface {
        load_balancers,
        enis,
    } = row.kind
    else {
        panic!("not an interface endpoint");
    };
    assert_eq!(load_balancers.len(), 1);
    let tables = f.control.tables().snapshot();
    let group = default_group(&f.control, &f.vpc);
    let group = f.control.model().row(&group).unwrap();
    let index = f.control.model().row(&id).unwrap();
    let addresses: Vec<String> = enis
        .iter()
        .map(|&eni| {
            let eni = tables.enis.row(eni).unwrap();
            assert_eq!(eni.kind, EniKind::Endpoint(index.into()));
            assert_eq!(eni.groups, [group.into()]);
            eni.addresses[0].to_string()
        })
        .collect();
    assert_eq!(addresses, ["10.0.1.100", "10.0.2.4"]);
    assert_consistent(&f.control);
}

#[test]
fn zones_types_and_counts_that_the_service_does_not_have_are_refused() {
    let mut f = fixture(LoadBalancerKind::Network, false);
    let request = f.request(&[&f.c]);
    let c = f.c.to_string();
    f.consumer_refused(request, "InvalidParameter", &c);
    let request = f.request(&[&f.a, &f.a]);
    let a = f.a.to_string();
    f.consumer_refused(request, "DuplicateSubnetsInSameZone", &a);
    let gateway = CreateVpcEndpoint {
        endpoint_type: VpcEndpointType::GatewayLoadBalancer,
        ..f.request(&[&f.a])
    };
    f.consumer_refused(gateway, "InvalidParameter", "GatewayLoadBalancer");
    f.control
        .quotas_mut()
        .set(Quota::InterfaceEndpointsPerVpc, 1);
    let request = f.request(&[&f.a]);
    f.consume(request.clone()).unwrap();
    f.consumer_refused(request, "VpcEndpointLimitExceeded", "per VPC");
}

#[test]
fn an_interface_endpoint_gains_and_loses_subnets_and_groups() {
    let mut f = fixture(LoadBalancerKind::Network, false);
    let request = f.request(&[&f.a]);
    let id = f.consume(request).unwrap();
    let change = ModifyVpcEndpoint {
        vpc_endpoint: id.clone(),
        add_subnets: vec![f.b.clone().into()],
        remove_subnets: vec![f.a.clone()],
        ..ModifyVpcEndpoint::default()
    };
    f.consume(change.clone()).unwrap();
    let places = &f.control.model().get(&id).unwrap().interfaces;
    assert_eq!(places.len(), 1);
    assert_eq!(places[0].subnet, f.b);
    assert_consistent(&f.control);
    f.consumer_refused(change, "InvalidParameter", "is not in");
    let none = ModifyVpcEndpoint {
        vpc_endpoint: id,
        remove_security_groups: vec![default_group(&f.control, &f.vpc)],
        ..ModifyVpcEndpoint::default()
    };
    f.consumer_refused(none, "InvalidParameter", "security group");
}

#[test]
fn a_gateway_endpoint_has_one_subnet_and_no_groups() {
    let mut f = fixture(LoadBalancerKind::Gateway, false);
    let gateway = |f: &Fixture, subnets: &[&SubnetId]| CreateVpcEndpoint {
        endpoint_type: VpcEndpointType::GatewayLoadBalancer,
        ..f.request(subnets)
    };
    let two = gateway(&f, &[&f.a, &f.b]);
    f.consumer_refused(two, "InvalidParameter", "exactly one subnet");
    let grouped = CreateVpcEndpoint {
        security_groups: vec![default_group(&f.control, &f.vpc)],
        ..gateway(&f, &[&f.a])
    };
    f.consumer_refused(grouped, "InvalidParameter", "Security groups");
    let request = gateway(&f, &[&f.a]);
    let id = f.consume(request).unwrap();
    let EndpointKind::GatewayLoadBalancer { eni, .. } = f.row(&id).kind else {
        panic!("not a gateway endpoint");
    };
    let tables = f.control.tables().snapshot();
    let eni = tables.enis.row(eni).unwrap();
    assert!(matches!(eni.kind, EniKind::GatewayEndpoint(_)));
    assert!(eni.groups.is_empty());
    assert_consistent(&f.control);
}

#[test]
fn a_service_with_endpoints_cannot_go_and_rejected_ones_fail_when_it_does() {
    let mut f = fixture(LoadBalancerKind::Network, true);
    let request = f.request(&[&f.a]);
    let id = f.consume(request).unwrap();
    let delete = DeleteVpcEndpointServiceConfigurations {
        services: vec![f.service.clone()],
    };
    let refused = f.control.execute(delete.clone()).unwrap();
    assert_eq!(refused[0].error.code, "ExistingVpcEndpointConnections");
    assert!(refused[0].error.message.contains(id.as_str()));
    f.reject(&id);
    assert_eq!(f.control.execute(delete).unwrap(), []);
    let state = f.control.model().get(&id).unwrap().state;
    assert_eq!(state, VpcEndpointState::Failed);
    assert_consistent(&f.control);
    let gone = DeleteVpcEndpoints {
        vpc_endpoints: vec![id.clone(), id.clone()],
    };
    let refused = f.consume(gone).unwrap();
    assert_eq!(refused.len(), 1, "the second time it does not exist");
    assert_eq!(refused[0].error.code, "InvalidVpcEndpointId.NotFound");
    let tables = f.control.tables().snapshot();
    assert!(tables.endpoints.is_empty());
    assert_eq!(tables.enis.len(), 2, "the provider's nodes");
    assert_consistent(&f.control);
}

#[test]
fn a_load_balancer_is_in_one_service_and_a_connected_one_stays() {
    let mut f = fixture(LoadBalancerKind::Network, false);
    let service = f.control.model().get(&f.service).unwrap().clone();
    let again = CreateVpcEndpointServiceConfiguration {
        network_load_balancer_arns: service.load_balancers.clone(),
        ..Default::default()
    };
    refused(
        &mut f.control,
        again,
        "InvalidParameter",
        f.service.as_str(),
    );
    let request = f.request(&[&f.a]);
    f.consume(request).unwrap();
    let remove = ModifyVpcEndpointServiceConfiguration {
        service: f.service.clone(),
        remove_load_balancer_arns: service.load_balancers.clone(),
        ..Default::default()
    };
    let code = "ExistingVpcEndpointConnections";
    refused(&mut f.control, remove, code, f.service.as_str());
    let bad = ModifyVpcEndpointServicePermissions {
        service: f.service.clone(),
        add_allowed_principals: vec!["arn:aws:iam::12:root".into()],
        ..Default::default()
    };
    refused(
        &mut f.control,
        bad,
        "InvalidPrincipal",
        "arn:aws:iam::12:root",
    );
}

#[test]
fn a_load_balancer_added_to_a_service_reaches_its_endpoints() {
    let mut f = fixture(LoadBalancerKind::Network, false);
    let request = f.request(&[&f.a]);
    let id = f.consume(request).unwrap();
    let provider = vpc_with(&mut f.control, "10.9.0.0/16");
    let subnet = subnet_in(&mut f.control, &provider, "10.9.3.0/24", "us-east-1c");
    let more = CreateLoadBalancer::new("more", LoadBalancerKind::Network, [subnet]);
    let more = f.control.execute(more).unwrap();
    let add = ModifyVpcEndpointServiceConfiguration {
        service: f.service.clone(),
        add_load_balancer_arns: vec![more],
        ..Default::default()
    };
    f.control.execute(add).unwrap();
    let EndpointKind::Interface { load_balancers, .. } = f.row(&id).kind else {
        panic!("not an interface endpoint");
    };
    assert_eq!(load_balancers.len(), 2);
    let change = ModifyVpcEndpoint {
        vpc_endpoint: id,
        add_subnets: vec![f.c.clone().into()],
        ..ModifyVpcEndpoint::default()
    };
    f.consume(change).unwrap();
    assert_consistent(&f.control);
}

#[test]
fn a_gateway_endpoint_stays_while_a_route_leads_to_it() {
    let mut f = fixture(LoadBalancerKind::Gateway, false);
    let request = CreateVpcEndpoint {
        endpoint_type: VpcEndpointType::GatewayLoadBalancer,
        ..f.request(&[&f.a])
    };
    let id = f.consume(request).unwrap();
    let table = CreateRouteTable {
        vpc: f.vpc.clone(),
        ..CreateRouteTable::default()
    };
    let table = f.consume(table).unwrap();
    let destination = Destination::Cidr(cidr("0.0.0.0/0"));
    let route = CreateRoute {
        route_table: table.clone(),
        destination: destination.clone(),
        target: RouteTargetSpec::VpcEndpoint(id.clone()),
    };
    f.consume(route).unwrap();
    assert_consistent(&f.control);
    let delete = DeleteVpcEndpoints {
        vpc_endpoints: vec![id],
    };
    let refused = f.consume(delete.clone()).unwrap();
    assert_eq!(refused[0].error.code, "InvalidParameter");
    assert!(refused[0].error.message.contains(table.as_str()));
    let gone = DeleteRoute {
        route_table: table,
        destination,
    };
    f.consume(gone).unwrap();
    assert_eq!(f.consume(delete).unwrap(), []);
    assert_consistent(&f.control);
}

/// The consumer is in another region, which the service supports or does not.
#[test]
fn a_service_serves_the_regions_that_it_supports() {
    let mut f = fixture(LoadBalancerKind::Network, false);
    let abroad = Caller::new(CONSUMER, "eu-west-1");
    let request = CreateVpc {
        cidr_block: Some(cidr("10.0.0.0/16")),
        ..CreateVpc::default()
    };
    let vpc = f.control.execute_as(&abroad, request).unwrap().vpc;
    let request = CreateSubnet {
        vpc: vpc.clone(),
        cidr_block: Some(cidr("10.0.1.0/24")),
        // The service has no zone of this letter.
        availability_zone: Some("eu-west-1c".into()),
        ..CreateSubnet::default()
    };
    let subnet = f.control.execute_as(&abroad, request).unwrap();
    let create = |region: Option<&str>| CreateVpcEndpoint {
        service_region: region.map(str::to_owned),
        ..CreateVpcEndpoint::new(
            VpcEndpointType::Interface,
            vpc.clone(),
            &f.service_name,
            [subnet.clone()],
        )
    };
    let (here, there) = (create(None), create(Some("us-east-1")));
    let refusal = |f: &mut Fixture, action| f.control.execute_as(&abroad, action).unwrap_err();
    assert_eq!(refusal(&mut f, here.clone()).code, "InvalidServiceName");
    let error = refusal(&mut f, there.clone());
    assert_eq!(error.code, "InvalidParameter");
    assert!(error.message.contains("it supports us-east-1"), "{error}");
    let gateway = CreateVpcEndpoint {
        endpoint_type: VpcEndpointType::GatewayLoadBalancer,
        ..there.clone()
    };
    assert_eq!(refusal(&mut f, gateway).code, "InvalidParameter");

    let support = ModifyVpcEndpointServiceConfiguration {
        service: f.service.clone(),
        add_supported_regions: vec!["eu-west-1".into(), "us-east-1".into()],
        ..Default::default()
    };
    f.control.execute(support).unwrap();
    assert_eq!(
        refusal(&mut f, here).code,
        "InvalidServiceName",
        "ServiceRegion is needed"
    );
    let id = f.control.execute_as(&abroad, there.clone()).unwrap();
    assert!(matches!(f.row(&id).kind, EndpointKind::Remote { ref enis, .. } if enis.len() == 1));
    let endpoint = f.control.model().get(&id).unwrap();
    assert_eq!(&**endpoint.region_of_service(), "us-east-1");
    assert_eq!(endpoint.state, VpcEndpointState::Available);
    let name = &endpoint.dns_names(f.control.model())[0].name;
    assert!(name.ends_with(".eu-west-1.vpce.amazonaws.com"), "{name}");
    assert_consistent(&f.control);

    // What it has stays when the region goes.
    let remove = ModifyVpcEndpointServiceConfiguration {
        service: f.service.clone(),
        remove_supported_regions: vec!["eu-west-1".into()],
        ..Default::default()
    };
    f.control.execute(remove.clone()).unwrap();
    assert!(f.row(&id).available);
    refusal(&mut f, there);
    refused(&mut f.control, remove, "InvalidParameter", "eu-west-1");
    let own = ModifyVpcEndpointServiceConfiguration {
        service: f.service.clone(),
        remove_supported_regions: vec!["us-east-1".into()],
        ..Default::default()
    };
    refused(&mut f.control, own, "InvalidParameter", "cannot be removed");
    assert_eq!(f.reject(&id), []);
    assert!(!f.row(&id).available);
    assert_consistent(&f.control);
}

#[test]
fn other_regions_need_two_zones_and_the_usual_idle_timeout() {
    let support = |service: &EndpointServiceId| ModifyVpcEndpointServiceConfiguration {
        service: service.clone(),
        add_supported_regions: vec!["eu-west-1".into()],
        ..Default::default()
    };
    let mut f = fixture(LoadBalancerKind::Gateway, false);
    let change = support(&f.service);
    refused(
        &mut f.control,
        change,
        "InvalidParameter",
        "Gateway Load Balancers",
    );
    let mut control = ControlPlane::default();
    let provider = vpc(&mut control);
    let subnet = subnet_in(&mut control, &provider, "10.0.1.0/24", "us-east-1a");
    let one = CreateLoadBalancer::new("one", LoadBalancerKind::Network, [subnet]);
    let one = control.execute(one).unwrap();
    let request = CreateVpcEndpointServiceConfiguration {
        network_load_balancer_arns: vec![one],
        supported_regions: vec!["eu-west-1".into()],
        ..Default::default()
    };
    refused(
        &mut control,
        request,
        "InvalidParameter",
        "two Availability",
    );
}

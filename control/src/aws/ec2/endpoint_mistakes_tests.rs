//! Bad input about endpoints and load balancers: AWS's code, a message that names
//! the thing, and nothing half-made.

use std::cell::RefCell;

use crate::api::CreateAwsService;
use crate::aws::elbv2::tests::Fixture;
use crate::aws::tests::text;

struct Mistakes {
    lab: Fixture,
    /// A subnet in the same zone as the first of the VPC's two.
    beside: String,
    /// A subnet, a table and a group of another VPC.
    strange: [String; 3],
    /// The name of a service in zone a alone.
    service: String,
    balancer: String,
    /// An endpoint to SQS in the first subnet, with private DNS.
    endpoint: String,
    /// A gateway endpoint, and the table that has its route.
    gateway: String,
    table: String,
    /// What was not as it is to be.
    wrong: RefCell<Vec<String>>,
}

/// All of it is said at once.
impl Drop for Mistakes {
    fn drop(&mut self) {
        let wrong = self.wrong.borrow();
        assert!(wrong.is_empty() || std::thread::panicking(), "{wrong:#?}");
    }
}

impl Mistakes {
    fn new() -> Self {
        let lab = Fixture::new();
        let client = &lab.client;
        let create = CreateAwsService { name: "sqs".into() };
        client.control().execute(create).unwrap();
        let vpc = &lab.vpc;
        client.ec2(&format!(
            "Action=ModifyVpcAttribute&VpcId={vpc}&EnableDnsHostnames.Value=true"
        ));
        let beside = client.ec2(&format!(
            "Action=CreateSubnet&VpcId={vpc}&CidrBlock=10.0.9.0/24&AvailabilityZone=us-east-1a"
        ));
        let other = text(
            &client.ec2("Action=CreateVpc&CidrBlock=10.8.0.0/16"),
            "vpcId",
        );
        let subnet = client.ec2(&format!(
            "Action=CreateSubnet&VpcId={other}&CidrBlock=10.8.1.0/24&AvailabilityZone=us-east-1a"
        ));
        let strange_table = client.ec2(&format!("Action=CreateRouteTable&VpcId={other}"));
        let group = client.ec2(&format!(
            "Action=CreateSecurityGroup&GroupName=g&GroupDescription=g&VpcId={other}"
        ));
        let balancer = lab.balancer("lb");
        let service = client.ec2(&format!(
            "Action=CreateVpcEndpointServiceConfiguration&NetworkLoadBalancerArn.1={balancer}"
        ));
        let endpoint = client.ec2(&format!(
            "Action=CreateVpcEndpoint&VpcEndpointType=Interface&VpcId={vpc}\
             &ServiceName=com.amazonaws.us-east-1.sqs&SubnetId.1={}",
            lab.subnets[0]
        ));
        assert_eq!(text(&endpoint, "state"), "available");
        assert_eq!(
            text(&endpoint, "privateDnsEnabled"),
            "true",
            "AWS's default"
        );
        let table = client.ec2(&format!("Action=CreateRouteTable&VpcId={vpc}"));
        let table = text(&table, "routeTableId");
        let gateway = client.ec2(&format!(
            "Action=CreateVpcEndpoint&VpcId={vpc}&ServiceName=com.amazonaws.us-east-1.s3\
             &RouteTableId.1={table}"
        ));
        Self {
            beside: text(&beside, "subnetId"),
            strange: [
                text(&subnet, "subnetId"),
                text(&strange_table, "routeTableId"),
                text(&group, "groupId"),
            ],
            service: text(&service, "serviceName"),
            balancer,
            endpoint: text(&endpoint, "vpcEndpointId"),
            gateway: text(&gateway, "vpcEndpointId"),
            table,
            lab,
            wrong: RefCell::default(),
        }
    }

    /// The lab refuses, names the thing, and is as it was.
    #[track_caller]
    fn refuses(&self, service: &str, form: &str, code: &str, named: &str) {
        let client = &self.lab.client;
        let version = match service {
            "ec2" => "2016-11-15",
            _ => "2015-12-01",
        };
        let before = client.state();
        let (status, body) = client.send(service, &format!("Version={version}&{form}"));
        assert!((400..500).contains(&status), "{form}: {status} {body}");
        let message = text(&body, "Message").replace("&apos;", "'");
        let as_said = text(&body, "Code") == code && message.contains(named);
        if !as_said || client.state() != before {
            let wrong = format!("{form}: wanted {code} about {named}: {body}");
            self.wrong.borrow_mut().push(wrong);
        }
    }
}

#[test]
fn interface_endpoints() {
    let m = Mistakes::new();
    let (vpc, [a, b]) = (&m.lab.vpc, &m.lab.subnets);
    let [strange_subnet, _, strange_group] = &m.strange;
    let create = |rest: &str| {
        format!("Action=CreateVpcEndpoint&VpcEndpointType=Interface&VpcId={vpc}{rest}")
    };
    let own = |rest: &str| create(&format!("&ServiceName={}{rest}", m.service));
    let sqs = |rest: &str| create(&format!("&ServiceName=com.amazonaws.us-east-1.sqs{rest}"));
    let none = "com.amazonaws.us-east-1.nothing";
    let strange = "com.amazonaws.vpce.us-east-1.vpce-svc-zz";
    let elsewhere = "com.amazonaws.eu-west-1.sqs";
    for (form, code, named) in [
        (
            create(&format!("&ServiceName={none}&SubnetId.1={a}")),
            "InvalidServiceName",
            none,
        ),
        (
            create(&format!("&ServiceName={strange}&SubnetId.1={a}")),
            "InvalidServiceName",
            strange,
        ),
        (
            create(&format!("&ServiceName={elsewhere}&SubnetId.1={a}")),
            "InvalidServiceName",
            elsewhere,
        ),
        (create(""), "MissingParameter", "ServiceName"),
        (
            own(&format!("&SubnetId.1={a}&SubnetId.2={b}")),
            "InvalidParameter",
            "us-east-1b",
        ),
        (
            own(&format!("&SubnetId.1={a}&SubnetId.2={}", m.beside)),
            "DuplicateSubnetsInSameZone",
            &m.beside,
        ),
        (
            sqs(&format!(
                "&PrivateDnsEnabled=false&SubnetId.1={b}&SubnetId.2={strange_subnet}"
            )),
            "InvalidParameter",
            strange_subnet,
        ),
        (
            own("&SubnetId.1=subnet-zz"),
            "InvalidSubnetID.Malformed",
            "subnet-zz",
        ),
        (
            own("&SubnetId.1=subnet-00000000"),
            "InvalidSubnetID.NotFound",
            "subnet-00000000",
        ),
        (
            own("&SubnetId.1=vpc-00000000"),
            "InvalidSubnetID.Malformed",
            "vpc-00000000",
        ),
        (
            own(&format!(
                "&SubnetId.1={a}&SecurityGroupId.1={strange_group}"
            )),
            "InvalidGroup.NotFound",
            strange_group,
        ),
        (
            own(&format!("&SubnetId.1={a}&SecurityGroupId.1=sg-zz")),
            "InvalidGroupId.Malformed",
            "sg-zz",
        ),
        (
            own(&format!("&SubnetId.1={a}&RouteTableId.1={}", m.table)),
            "InvalidParameter",
            &m.table,
        ),
        (
            own(&format!("&SubnetId.1={a}&PrivateDnsEnabled=true")),
            "InvalidParameter",
            "does not provide",
        ),
        // The VPC has an endpoint with that name already.
        (
            sqs(&format!("&SubnetId.1={b}")),
            "InvalidParameter",
            &m.endpoint,
        ),
        // An address in use, and one that is not in the subnet.
        (
            own(&format!(
                "&SubnetConfiguration.1.SubnetId={a}&SubnetConfiguration.1.Ipv4=10.0.1.3"
            )),
            "InvalidParameterValue",
            "10.0.1.3",
        ),
        (
            own(&format!(
                "&SubnetConfiguration.1.SubnetId={a}&SubnetConfiguration.1.Ipv4=10.0.2.9"
            )),
            "InvalidParameterValue",
            "10.0.2.9",
        ),
        (
            "Action=CreateVpcEndpoint&VpcEndpointType=Interface&VpcId=vpc-zz&ServiceName=x".into(),
            "InvalidVpcID.Malformed",
            "vpc-zz",
        ),
        (
            "Action=CreateVpcEndpoint&VpcEndpointType=Interface&VpcId=vpc-00000000&ServiceName=x"
                .into(),
            "InvalidVpcID.NotFound",
            "vpc-00000000",
        ),
    ] {
        m.refuses("ec2", &form, code, named);
    }
    let modify = |rest: &str| {
        format!(
            "Action=ModifyVpcEndpoint&VpcEndpointId={}{rest}",
            m.endpoint
        )
    };
    for (form, code, named) in [
        // The first is good, the second is not: neither is made.
        (
            modify(&format!("&AddSubnetId.1={b}&AddSubnetId.2={}", m.beside)),
            "DuplicateSubnetsInSameZone",
            &*m.beside,
        ),
        (
            modify(&format!(
                "&AddSubnetId.1={b}&AddSubnetId.2={strange_subnet}"
            )),
            "InvalidParameter",
            strange_subnet,
        ),
        (
            modify(&format!("&RemoveSubnetId.1={a}&RemoveSubnetId.2={b}")),
            "InvalidParameter",
            b,
        ),
        (
            modify(&format!("&AddSecurityGroupId.1={strange_group}")),
            "InvalidGroup.NotFound",
            strange_group,
        ),
        (
            modify(&format!("&AddRouteTableId.1={}", m.table)),
            "InvalidParameter",
            &m.table,
        ),
        (
            "Action=ModifyVpcEndpoint&VpcEndpointId=vpce-zz".into(),
            "InvalidVpcEndpointId.Malformed",
            "vpce-zz",
        ),
        (
            "Action=ModifyVpcEndpoint&VpcEndpointId=vpce-00000000".into(),
            "InvalidVpcEndpointId.NotFound",
            "vpce-00000000",
        ),
        // What the endpoint stands in cannot go.
        (
            format!("Action=DeleteSubnet&SubnetId={a}"),
            "DependencyViolation",
            a,
        ),
    ] {
        m.refuses("ec2", &form, code, named);
    }
}

#[test]
fn private_dns_needs_both_attributes_of_the_vpc() {
    let m = Mistakes::new();
    let client = &m.lab.client;
    let vpc = text(
        &client.ec2("Action=CreateVpc&CidrBlock=10.7.0.0/16"),
        "vpcId",
    );
    let create = format!(
        "Action=CreateVpcEndpoint&VpcEndpointType=Interface&VpcId={vpc}\
         &ServiceName=com.amazonaws.us-east-1.sqs"
    );
    m.refuses("ec2", &create, "InvalidParameter", "enableDnsHostnames");
    client.ec2(&format!("{create}&PrivateDnsEnabled=false"));
}

#[test]
fn gateway_endpoints() {
    let m = Mistakes::new();
    let (vpc, a) = (&m.lab.vpc, &m.lab.subnets[0]);
    let [_, strange_table, strange_group] = &m.strange;
    let create = |rest: &str| {
        format!("Action=CreateVpcEndpoint&VpcId={vpc}&ServiceName=com.amazonaws.us-east-1.s3{rest}")
    };
    let modify = |rest: &str| format!("Action=ModifyVpcEndpoint&VpcEndpointId={}{rest}", m.gateway);
    let list = "pl-63a5400a";
    for (form, code, named) in [
        (
            create(&format!("&SubnetId.1={a}")),
            "InvalidParameter",
            "route tables",
        ),
        (
            create(&format!("&SecurityGroupId.1={strange_group}")),
            "InvalidParameter",
            strange_group,
        ),
        (
            create("&PrivateDnsEnabled=true"),
            "InvalidParameter",
            "Private DNS",
        ),
        (
            create(&format!("&RouteTableId.1={}", m.table)),
            "RouteAlreadyExists",
            &*m.table,
        ),
        (
            create(&format!("&RouteTableId.1={strange_table}")),
            "InvalidParameter",
            strange_table,
        ),
        (
            create("&RouteTableId.1=rtb-00000000"),
            "InvalidRouteTableID.NotFound",
            "rtb-00000000",
        ),
        (
            create("&RouteTableId.1=rtb-zz"),
            "InvalidRouteTableId.Malformed",
            "rtb-zz",
        ),
        (
            format!("Action=CreateVpcEndpoint&VpcId={vpc}&ServiceName=com.amazonaws.us-east-1.sqs"),
            "InvalidServiceName",
            "sqs",
        ),
        (
            modify(&format!("&AddRouteTableId.1={}", m.table)),
            "RouteAlreadyExists",
            &*m.table,
        ),
        (
            modify(&format!("&AddSubnetId.1={a}")),
            "InvalidParameter",
            &*m.gateway,
        ),
        (
            modify(&format!("&RemoveRouteTableId.1={strange_table}")),
            "InvalidParameter",
            strange_table,
        ),
        // Only the endpoint touches its route.
        (
            format!(
                "Action=DeleteRoute&RouteTableId={}&DestinationPrefixListId={list}",
                m.table
            ),
            "InvalidParameterValue",
            &*m.gateway,
        ),
        (
            format!(
                "Action=CreateRoute&RouteTableId={}&DestinationCidrBlock=198.51.100.0/24&VpcEndpointId={}",
                m.table, m.gateway
            ),
            "InvalidParameterValue",
            &*m.gateway,
        ),
    ] {
        m.refuses("ec2", &form, code, named);
    }
}

#[test]
fn load_balancers_and_services() {
    let m = Mistakes::new();
    let (lab, balancer) = (&m.lab, &m.balancer);
    let group = lab.target_group("tg", "Protocol=TCP&Port=80");
    let used = lab.target_group("used", "Protocol=TCP&Port=80");
    let listener = |port: &str, group: &str| {
        format!(
            "Action=CreateListener&LoadBalancerArn={balancer}&Protocol=TCP&Port={port}\
             &DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn={group}"
        )
    };
    lab.elb(&listener("80", &used));
    let absent =
        "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/x/0123456789abcdef";
    let create =
        |rest: &str| format!("Action=CreateLoadBalancer&Type=network&Scheme=internal{rest}");
    let [a, _] = &lab.subnets;
    for (form, code, named) in [
        (listener("80", &group), "DuplicateListener", "80"),
        (listener("0", &group), "ValidationError", "65535"),
        (listener("81", absent), "TargetGroupNotFound", absent),
        (listener("81", "x"), "ValidationError", "x"),
        (
            create(&format!(
                "&Name=two&Subnets.member.1={a}&Subnets.member.2={}",
                m.beside
            )),
            "InvalidConfigurationRequest",
            &*m.beside,
        ),
        (
            create(&format!(
                "&Name=two&Subnets.member.1={a}&Subnets.member.2={}",
                m.strange[0]
            )),
            "InvalidConfigurationRequest",
            &*m.strange[0],
        ),
        (
            create("&Name=two&Subnets.member.1=subnet-00000000"),
            "SubnetNotFound",
            "subnet-00000000",
        ),
        (
            create(&format!("&Name=lb&Subnets.member.1={}", m.beside)),
            "DuplicateLoadBalancerName",
            "lb",
        ),
        (
            create(&format!(
                "&Name=two&Subnets.member.1={a}&SecurityGroups.member.1={}",
                m.strange[2]
            )),
            "InvalidSecurityGroup",
            &*m.strange[2],
        ),
        (
            format!("Action=DeleteTargetGroup&TargetGroupArn={used}"),
            "ResourceInUse",
            &*used,
        ),
        (
            format!("Action=DeleteLoadBalancer&LoadBalancerArn={balancer}"),
            "ResourceInUse",
            "vpce-svc-",
        ),
    ] {
        m.refuses("elasticloadbalancing", &form, code, named);
    }
    let service = "Action=CreateVpcEndpointServiceConfiguration";
    let unknown =
        "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/net/x/0123456789abcdef";
    for (form, code, named) in [
        (service.to_owned(), "MissingParameter", "NetworkLoadBalancerArn"),
        (format!("{service}&NetworkLoadBalancerArn.1={unknown}"), "InvalidParameter", unknown),
        (format!("{service}&NetworkLoadBalancerArn.1={balancer}"), "InvalidParameter", "vpce-svc-"),
        (
            "Action=ModifyVpcEndpointServiceConfiguration&ServiceId=vpce-svc-zz&AcceptanceRequired=true".into(),
            "InvalidVpcEndpointServiceId.Malformed",
            "vpce-svc-zz",
        ),
        (
            "Action=ModifyVpcEndpointServicePermissions&ServiceId=vpce-svc-00000000&AddAllowedPrincipals.1=*".into(),
            "InvalidVpcEndpointServiceId.NotFound",
            "vpce-svc-00000000",
        ),
    ] {
        m.refuses("ec2", &form, code, named);
    }
}

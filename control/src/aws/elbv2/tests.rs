//! Requests as clients send them, answered without HTTP.

mod listener;
mod target;

use crate::aws::tests::{Client, text};

const ABSENT: &str = "arn:aws:elasticloadbalancing:us-east-1:123456789012";

/// A VPC with two subnets in two zones, a group and two instances.
pub(crate) struct Fixture {
    pub(crate) client: Client,
    pub(crate) vpc: String,
    pub(crate) subnets: [String; 2],
    pub(crate) group: String,
    pub(crate) instances: [String; 2],
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let client = Client::new();
        let vpc = text(
            &client.ec2("Action=CreateVpc&CidrBlock=10.0.0.0/16"),
            "vpcId",
        );
        let subnets = [("a", 1), ("b", 2)].map(|(zone, third)| {
            let subnet = client.ec2(&format!(
                "Action=CreateSubnet&VpcId={vpc}&CidrBlock=10.0.{third}.0/24\
                 &AvailabilityZone=us-east-1{zone}"
            ));
            text(&subnet, "subnetId")
        });
        let group = client.ec2(&format!(
            "Action=CreateSecurityGroup&GroupName=lb&GroupDescription=lb&VpcId={vpc}"
        ));
        let instances = subnets.clone().map(|subnet| {
            let run = client.ec2(&format!(
                "Action=RunInstances&ImageId=ami-1&MinCount=1&MaxCount=1&SubnetId={subnet}"
            ));
            text(&run, "instanceId")
        });
        Self {
            client,
            vpc,
            subnets,
            group: text(&group, "groupId"),
            instances,
        }
    }

    /// The answer of an ELBv2 action that goes well.
    #[track_caller]
    pub(crate) fn elb(&self, form: &str) -> String {
        let (status, body) = self.client.send(
            "elasticloadbalancing",
            &format!("Version=2015-12-01&{form}"),
        );
        assert_eq!(status, 200, "{form}: {body}");
        body
    }

    /// The code and the message of one that is refused.
    #[track_caller]
    fn refused(&self, form: &str, code: &str, named: &str) {
        let (status, body) = self.client.send(
            "elasticloadbalancing",
            &format!("Version=2015-12-01&{form}"),
        );
        assert!((400..500).contains(&status), "{form}: {status} {body}");
        assert_eq!(text(&body, "Code"), code, "{form}: {body}");
        let message = text(&body, "Message").replace("&apos;", "'");
        assert!(message.contains(named), "{form}: {message}");
    }

    pub(crate) fn balancer(&self, name: &str) -> String {
        let made = self.elb(&format!(
            "Action=CreateLoadBalancer&Name={name}&Type=network&Scheme=internal\
             &Subnets.member.1={}&SecurityGroups.member.1={}",
            self.subnets[0], self.group
        ));
        text(&made, "LoadBalancerArn")
    }

    pub(crate) fn gateway(&self, name: &str) -> String {
        let made = self.elb(&format!(
            "Action=CreateLoadBalancer&Name={name}&Type=gateway&Subnets.member.1={}",
            self.subnets[0]
        ));
        text(&made, "LoadBalancerArn")
    }

    pub(crate) fn target_group(&self, name: &str, rest: &str) -> String {
        let made = self.elb(&format!(
            "Action=CreateTargetGroup&Name={name}&VpcId={}&{rest}",
            self.vpc
        ));
        text(&made, "TargetGroupArn")
    }

    fn listener(&self, balancer: &str, group: &str, rest: &str) -> String {
        let made = self.elb(&format!(
            "Action=CreateListener&LoadBalancerArn={balancer}{rest}\
             &DefaultActions.member.1.Type=forward\
             &DefaultActions.member.1.TargetGroupArn={group}"
        ));
        text(&made, "ListenerArn")
    }
}

/// The text of every element with this name.
fn texts(body: &str, element: &str) -> Vec<String> {
    let open = format!("<{element}>");
    let rest = body.split(&open).skip(1);
    rest.map(|part| part.split('<').next().unwrap().to_owned())
        .collect()
}

/// The value of an attribute in an answer.
fn attribute(body: &str, key: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<Key>{key}</Key><Value>"))?;
    Some(rest.split_once("</Value>")?.0.to_owned())
}

#[test]
fn a_network_load_balancer_is_made_described_changed_and_deleted() {
    let f = Fixture::new();
    let create = format!(
        "Action=CreateLoadBalancer&Name=web&Type=network&Scheme=internal\
         &SubnetMappings.member.1.SubnetId={}\
         &SubnetMappings.member.1.PrivateIPv4Address=10.0.1.77\
         &SecurityGroups.member.1={}&Tags.member.1.Key=Name&Tags.member.1.Value=x",
        f.subnets[0], f.group
    );
    let made = f.elb(&create);
    let arn = text(&made, "LoadBalancerArn");
    for part in [
        "<Scheme>internal</Scheme>",
        "<Type>network</Type>",
        "<Code>active</Code>",
        "<IpAddressType>ipv4</IpAddressType>",
        "<PrivateIPv4Address>10.0.1.77</PrivateIPv4Address>",
        "<ZoneName>us-east-1a</ZoneName>",
        "<CreatedTime>2023-11-14T22:13:20.000Z</CreatedTime>",
        "<EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic>on<",
        "<CreateLoadBalancerResult>",
    ] {
        assert!(made.contains(part), "{part} in {made}");
    }
    let number = arn.rsplit('/').next().unwrap();
    let dns = format!("web-{number}.elb.us-east-1.amazonaws.com");
    assert_eq!(text(&made, "DNSName"), dns);
    // The same again is the same; something else under the name is not.
    assert_eq!(text(&f.elb(&create), "LoadBalancerArn"), arn);
    let other = format!(
        "Action=CreateLoadBalancer&Name=web&Type=network&Scheme=internal&Subnets.member.1={}",
        f.subnets[1]
    );
    f.refused(&other, "DuplicateLoadBalancerName", "web");

    let set = f.elb(&format!(
        "Action=SetSubnets&LoadBalancerArn={arn}&Subnets.member.1={}&Subnets.member.2={}",
        f.subnets[0], f.subnets[1]
    ));
    assert_eq!(texts(&set, "ZoneName"), ["us-east-1a", "us-east-1b"]);
    let groups = f.elb(&format!(
        "Action=SetSecurityGroups&LoadBalancerArn={arn}&SecurityGroups.member.1={}\
         &EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic=off",
        f.group
    ));
    assert!(groups.contains("PrivateLinkTraffic>off<"), "{groups}");
    let v6 = format!("Action=SetIpAddressType&LoadBalancerArn={arn}&IpAddressType=dualstack");
    f.refused(&v6, "InvalidSubnet", &f.subnets[0]);

    let nodes = f.client.ec2(
        "Action=DescribeNetworkInterfaces&Filter.1.Name=description\
         &Filter.1.Value.1=ELB%20net/web/*",
    );
    assert_eq!(texts(&nodes, "networkInterfaceId").len(), 2);
    assert_eq!(text(&nodes, "interfaceType"), "network_load_balancer");
    assert_eq!(text(&nodes, "requesterManaged"), "true");

    let delete = format!("Action=DeleteLoadBalancer&LoadBalancerArn={arn}");
    f.elb(&delete);
    f.elb(&delete);
    f.refused(
        &format!("Action=DescribeLoadBalancers&LoadBalancerArns.member.1={arn}"),
        "LoadBalancerNotFound",
        &arn,
    );
}

#[test]
fn load_balancers_are_found_by_arn_and_name_and_come_in_pages() {
    let f = Fixture::new();
    let arns: Vec<String> = ["a", "b", "c"].map(|name| f.balancer(name)).into();
    let gateway = f.gateway("g");
    let described = f.elb(&format!(
        "Action=DescribeLoadBalancers&LoadBalancerArns.member.1={gateway}"
    ));
    assert_eq!(text(&described, "Type"), "gateway");
    for absent in ["<DNSName>", "<Scheme>", "<SecurityGroups>"] {
        assert!(!described.contains(absent), "{absent} in {described}");
    }
    let named = f.elb("Action=DescribeLoadBalancers&Names.member.1=b&Names.member.2=c");
    assert_eq!(texts(&named, "LoadBalancerArn"), arns[1..]);
    let (mut seen, mut marker) = (Vec::new(), String::new());
    loop {
        let page = f.elb(&format!(
            "Action=DescribeLoadBalancers&PageSize=3{}",
            if marker.is_empty() {
                String::new()
            } else {
                format!("&Marker={marker}")
            }
        ));
        seen.extend(texts(&page, "LoadBalancerArn"));
        match texts(&page, "NextMarker").pop() {
            Some(next) => marker = next,
            None => break,
        }
    }
    let mut all = [arns, vec![gateway]].concat();
    all.sort();
    assert_eq!(seen, all);
    for (form, code, named) in [
        ("Names.member.1=zz", "LoadBalancerNotFound", "zz"),
        ("PageSize=401", "ValidationError", "401"),
        ("Marker=zz", "ValidationError", "zz"),
        ("LoadBalancerArns.member.1=zz", "ValidationError", "zz"),
    ] {
        f.refused(&format!("Action=DescribeLoadBalancers&{form}"), code, named);
    }
}

#[test]
fn load_balancers_that_cannot_be_are_refused() {
    let f = Fixture::new();
    let [one, two] = &f.subnets;
    for (rest, code, named) in [
        (
            format!("Subnets.member.1={one}"),
            "UnsupportedOperation",
            "Application",
        ),
        (
            format!("Type=network&Subnets.member.1={one}"),
            "UnsupportedOperation",
            "internal",
        ),
        (
            format!("Type=gateway&Scheme=internal&Subnets.member.1={one}"),
            "InvalidConfigurationRequest",
            "Scheme",
        ),
        (
            format!("Type=network&Scheme=outside&Subnets.member.1={one}"),
            "InvalidScheme",
            "outside",
        ),
        (
            format!("Type=nettwork&Subnets.member.1={one}"),
            "ValidationError",
            "nettwork",
        ),
        (
            "Type=network&Scheme=internal".into(),
            "ValidationError",
            "subnet",
        ),
        (
            "Type=network&Scheme=internal&Subnets.member.1=subnet-00000000".into(),
            "SubnetNotFound",
            "subnet-00000000",
        ),
        (
            format!(
                "Type=network&Scheme=internal&Subnets.member.1={one}&SubnetMappings.member.1.SubnetId={two}"
            ),
            "ValidationError",
            "SubnetMappings",
        ),
        (
            format!(
                "Type=network&Scheme=internal&SubnetMappings.member.1.SubnetId={one}&SubnetMappings.member.1.AllocationId=eipalloc-1"
            ),
            "UnsupportedOperation",
            "AllocationId",
        ),
        (
            format!(
                "Type=network&Scheme=internal&SubnetMappings.member.1.SubnetId={one}&SubnetMappings.member.1.PrivateIPv4Address=10.9.9.9"
            ),
            "InvalidConfigurationRequest",
            "10.9.9.9",
        ),
        (
            format!(
                "Type=network&Scheme=internal&Subnets.member.1={one}&SecurityGroups.member.1=sg-00000000"
            ),
            "InvalidSecurityGroup",
            "sg-00000000",
        ),
        (
            format!(
                "Type=network&Scheme=internal&Subnets.member.1={one}&Tags.member.1.Key=k&Tags.member.2.Key=k"
            ),
            "DuplicateTagKeys",
            "'k'",
        ),
    ] {
        f.refused(
            &format!("Action=CreateLoadBalancer&Name=n&{rest}"),
            code,
            named,
        );
    }
    f.refused("Action=CreateLoadBalancer", "ValidationError", "Name");
    assert!(!f.elb("Action=DescribeLoadBalancers").contains("<member>"));
}

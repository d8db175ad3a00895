//! Endpoint services and endpoints, of two accounts, as clients ask for them.

use crate::aws::elbv2::tests::Fixture;
use crate::aws::tests::text;

/// The consumer's account, as an access key.
const CONSUMER: &str = "210987654321";

/// A provider with a network load balancer behind a service, and a consumer with
/// a VPC of its own.
struct PrivateLink {
    provider: Fixture,
    service: String,
    service_name: String,
    vpc: String,
    subnet: String,
}

impl PrivateLink {
    fn new() -> Self {
        let provider = Fixture::new();
        let balancer = provider.balancer("lb");
        let made = provider.client.ec2(&format!(
            "Action=CreateVpcEndpointServiceConfiguration&NetworkLoadBalancerArn.1={balancer}\
             &TagSpecification.1.ResourceType=vpc-endpoint-service\
             &TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=offer"
        ));
        let mut link = Self {
            service: text(&made, "serviceId"),
            service_name: text(&made, "serviceName"),
            provider,
            vpc: String::new(),
            subnet: String::new(),
        };
        link.vpc = text(
            &link.consumer("Action=CreateVpc&CidrBlock=10.9.0.0/16"),
            "vpcId",
        );
        let subnet = link.consumer(&format!(
            "Action=CreateSubnet&VpcId={}&CidrBlock=10.9.1.0/24&AvailabilityZone=us-east-1a",
            link.vpc
        ));
        link.subnet = text(&subnet, "subnetId");
        link
    }

    /// The answer to the consumer.
    #[track_caller]
    fn consumer(&self, form: &str) -> String {
        let (status, body) = self.send(form);
        assert_eq!(status, 200, "{form}: {body}");
        body
    }

    /// The consumer is refused.
    #[track_caller]
    fn refused(&self, form: &str, code: &str, named: &str) {
        let (status, body) = self.send(form);
        assert_eq!(
            (status, &*text(&body, "Code")),
            (400, code),
            "{form}: {body}"
        );
        let message = text(&body, "Message");
        assert!(message.contains(named), "{form}: {message}");
    }

    fn send(&self, form: &str) -> (u16, String) {
        let form = format!("Version=2016-11-15&{form}");
        self.provider.client.send_as(CONSUMER, "ec2", &form)
    }

    fn permit(&self) {
        let added = self.provider.client.ec2(&format!(
            "Action=ModifyVpcEndpointServicePermissions&ServiceId={}\
             &AddAllowedPrincipals.1=arn:aws:iam::{CONSUMER}:root",
            self.service
        ));
        assert_eq!(text(&added, "principalType"), "Account");
    }

    fn create(&self, rest: &str) -> String {
        format!(
            "Action=CreateVpcEndpoint&VpcEndpointType=Interface&VpcId={}&ServiceName={}{rest}",
            self.vpc, self.service_name
        )
    }

    fn state(&self, endpoint: &str) -> String {
        let described = self.consumer(&format!(
            "Action=DescribeVpcEndpoints&VpcEndpointId.1={endpoint}"
        ));
        text(&described, "state")
    }
}

#[test]
fn an_endpoint_is_permitted_accepted_rejected_and_deleted() {
    let link = PrivateLink::new();
    let client = &link.provider.client;
    let create = link.create(&format!(
        "&SubnetConfiguration.1.SubnetId={}&SubnetConfiguration.1.Ipv4=10.9.1.77",
        link.subnet
    ));
    // Nobody may, and nobody sees it.
    link.refused(&create, "InvalidServiceName", &link.service_name);
    // Not AWS's own.
    let offers = "Action=DescribeVpcEndpointServices\
                  &Filter.1.Name=owner&Filter.1.Value.1=123456789012";
    assert!(!link.consumer(offers).contains("vpce-svc-"));
    link.permit();
    let offered = link.consumer(offers);
    assert_eq!(text(&offered, "owner"), "123456789012");
    assert_eq!(text(&offered, "serviceId"), link.service);
    assert!(!offered.contains("offer"), "the provider's tags: {offered}");

    let made = link.consumer(&create);
    let endpoint = text(&made, "vpcEndpointId");
    let dns = format!(".{}.us-east-1.vpce.amazonaws.com", link.service);
    assert!(text(&made, "dnsName").ends_with(&dns), "{made}");
    for part in [
        "<state>pendingAcceptance</state>",
        "<vpcEndpointType>Interface</vpcEndpointType>",
        "<ownerId>210987654321</ownerId>",
        "<groupName>default</groupName>",
        "<privateDnsEnabled>false</privateDnsEnabled>",
        "&quot;Effect&quot;: &quot;Allow&quot;",
    ] {
        assert!(made.contains(part), "{part} in {made}");
    }
    let interfaces = link.consumer(
        "Action=DescribeNetworkInterfaces&Filter.1.Name=interface-type\
         &Filter.1.Value.1=vpc_endpoint",
    );
    assert_eq!(text(&interfaces, "privateIpAddress"), "10.9.1.77");
    assert_eq!(text(&interfaces, "requesterManaged"), "true");

    let connections = |state: &str| {
        client.ec2(&format!(
            "Action=DescribeVpcEndpointConnections&Filter.1.Name=service-id&Filter.1.Value.1={}\
             &Filter.2.Name=vpc-endpoint-state&Filter.2.Value.1={state}",
            link.service
        ))
    };
    let waiting = connections("pendingAcceptance");
    assert_eq!(text(&waiting, "vpcEndpointOwner"), CONSUMER);
    assert!(!connections("available").contains("vpce-"));
    let decide = |what: &str, endpoint: &str| {
        client.ec2(&format!(
            "Action={what}VpcEndpointConnections&ServiceId={}&VpcEndpointId.1={endpoint}",
            link.service
        ))
    };
    decide("Accept", &endpoint);
    assert_eq!(link.state(&endpoint), "available");
    assert_eq!(text(&connections("available"), "vpcEndpointId"), endpoint);
    decide("Reject", &endpoint);
    assert_eq!(link.state(&endpoint), "rejected");
    let late = decide("Accept", &endpoint);
    assert_eq!(text(&late, "code"), "InvalidState");
    assert_eq!(text(&late, "resourceId"), endpoint);
    let unknown = decide("Accept", "vpce-00000000");
    assert_eq!(text(&unknown, "code"), "InvalidVpcEndpointId.NotFound");

    let delete = format!("Action=DeleteVpcEndpoints&VpcEndpointId.1={endpoint}");
    assert!(
        link.consumer(&delete)
            .contains("<unsuccessful></unsuccessful>")
    );
    assert_eq!(
        text(&link.consumer(&delete), "code"),
        "InvalidVpcEndpointId.NotFound"
    );
    link.refused(
        &format!("Action=DescribeVpcEndpoints&VpcEndpointId.1={endpoint}"),
        "InvalidVpcEndpointId.NotFound",
        &endpoint,
    );
}

#[test]
fn endpoints_that_cannot_be_are_refused() {
    let link = PrivateLink::new();
    link.permit();
    let subnet = format!("&SubnetId.1={}", link.subnet);
    let restrict = "&PolicyDocument=%7B%22Statement%22:%5B%7B%22Effect%22:%22Allow%22,\
                    %22Principal%22:%22*%22,%22Action%22:%22s3:Get*%22,%22Resource%22:%22*%22%7D%5D%7D";
    for (rest, code, named) in [
        ("&PrivateDnsEnabled=true", "InvalidParameter", "Private DNS"),
        (restrict, "UnsupportedOperation", "restrict"),
        ("&PolicyDocument=x", "InvalidPolicyDocument", "JSON"),
        ("&IpAddressType=ipv6", "UnsupportedOperation", "IPv6"),
        ("&IpAddressType=x", "InvalidParameterValue", "(x)"),
        (
            "&RouteTableId.1=rtb-00000000",
            "InvalidParameter",
            "rtb-00000000",
        ),
        (
            "&ServiceRegion=eu-west-1",
            "InvalidServiceName",
            "vpce-svc-",
        ),
        ("&ServiceRegion=moon-1", "InvalidParameterValue", "moon-1"),
        (
            "&SecurityGroupId.1=sg-00000000",
            "InvalidGroup.NotFound",
            "sg-00000000",
        ),
        (
            "&SubnetConfiguration.1.SubnetId=subnet-00000000",
            "InvalidParameter",
            "subnet-00000000",
        ),
        (
            "&SubnetConfiguration.1.SubnetId=a&SubnetConfiguration.1.Ipv6=fd00::1",
            "UnsupportedOperation",
            "Ipv6",
        ),
        (
            "&DnsOptions.DnsRecordIpType=ipv4",
            "UnsupportedOperation",
            "DnsOptions",
        ),
    ] {
        link.refused(&link.create(&format!("{subnet}{rest}")), code, named);
    }
    let vpc = &link.vpc;
    for (kind, code) in [
        ("", "InvalidServiceName"),
        ("&VpcEndpointType=Gateway", "InvalidServiceName"),
        ("&VpcEndpointType=Resource", "UnsupportedOperation"),
        ("&VpcEndpointType=Tunnel", "InvalidParameterValue"),
        ("&VpcEndpointType=GatewayLoadBalancer", "InvalidParameter"),
    ] {
        let form = format!(
            "Action=CreateVpcEndpoint&VpcId={vpc}&ServiceName={}{subnet}{kind}",
            link.service_name
        );
        link.refused(&form, code, "");
    }
    assert!(
        !link
            .consumer("Action=DescribeVpcEndpoints")
            .contains("vpce-0")
    );
}

#[test]
fn an_endpoint_changes_its_subnets_groups_and_policy() {
    let link = PrivateLink::new();
    link.permit();
    let made = link.consumer(&link.create(
        "&TagSpecification.1.ResourceType=vpc-endpoint\
        &TagSpecification.1.Tag.1.Key=env&TagSpecification.1.Tag.1.Value=test",
    ));
    let endpoint = text(&made, "vpcEndpointId");
    let group = link.consumer(&format!(
        "Action=CreateSecurityGroup&GroupName=g&GroupDescription=g&VpcId={}",
        link.vpc
    ));
    let (group, old) = (text(&group, "groupId"), text(&made, "groupId"));
    let policy = "%7B%22Statement%22:%7B%22Effect%22:%22Allow%22,%22Principal%22:%22*%22,\
                  %22Action%22:%22*%22,%22Resource%22:%22*%22%7D%7D";
    link.consumer(&format!(
        "Action=ModifyVpcEndpoint&VpcEndpointId={endpoint}&AddSubnetId.1={}\
         &SubnetConfiguration.1.SubnetId={}&SubnetConfiguration.1.Ipv4=10.9.1.88\
         &AddSecurityGroupId.1={group}&RemoveSecurityGroupId.1={old}&PolicyDocument={policy}",
        link.subnet, link.subnet
    ));
    let find = |name: &str, value: &str| {
        link.consumer(&format!(
            "Action=DescribeVpcEndpoints&Filter.1.Name={name}&Filter.1.Value.1={value}"
        ))
    };
    let found = find("vpc-endpoint-type", "Interface");
    assert_eq!(text(&found, "groupId"), group);
    assert!(
        found.contains("<policyDocument>{&quot;Statement&quot;:{"),
        "{found}"
    );
    let interface = text(&found, "networkInterfaceIdSet");
    assert!(interface.contains("eni-"), "{found}");
    for (name, value, fits) in [
        ("vpc-id", &*link.vpc, true),
        ("service-name", "com.amazonaws.vpce.*", true),
        ("vpc-endpoint-state", "available", false),
        ("tag:env", "te?t", true),
        ("ip-address-type", "dualstack", false),
    ] {
        assert_eq!(
            find(name, value).contains(&endpoint),
            fits,
            "{name} {value}"
        );
    }
    link.consumer(&format!(
        "Action=ModifyVpcEndpoint&VpcEndpointId={endpoint}&ResetPolicy=true&RemoveSubnetId.1={}",
        link.subnet
    ));
    let reset = find("vpc-endpoint-id", &endpoint);
    assert!(reset.contains("<subnetIdSet></subnetIdSet>"), "{reset}");
    assert!(
        reset.contains("&quot;Action&quot;: &quot;*&quot;"),
        "{reset}"
    );
    for (rest, code) in [
        (
            format!("&RemoveSecurityGroupId.1={group}"),
            "InvalidParameter",
        ),
        ("&PrivateDnsEnabled=true".into(), "InvalidParameter"),
        ("&IpAddressType=dualstack".into(), "UnsupportedOperation"),
        (
            format!("&ResetPolicy=true&PolicyDocument={policy}"),
            "InvalidParameterCombination",
        ),
    ] {
        let form = format!("Action=ModifyVpcEndpoint&VpcEndpointId={endpoint}{rest}");
        link.refused(&form, code, "");
    }
}

#[test]
fn a_service_is_described_changed_and_deleted() {
    let link = PrivateLink::new();
    let client = &link.provider.client;
    let described = client.ec2(
        "Action=DescribeVpcEndpointServiceConfigurations&Filter.1.Name=tag:Name\
         &Filter.1.Value.1=offer",
    );
    for part in [
        "<serviceType><item><serviceType>Interface</serviceType></item></serviceType>",
        "<serviceState>Available</serviceState>",
        "<availabilityZoneSet><item>us-east-1a</item></availabilityZoneSet>",
        "<acceptanceRequired>true</acceptanceRequired>",
        "<gatewayLoadBalancerArnSet></gatewayLoadBalancerArnSet>",
        "<supportedIpAddressTypeSet><item>ipv4</item></supportedIpAddressTypeSet>",
    ] {
        assert!(described.contains(part), "{part} in {described}");
    }
    let service = &link.service;
    let other = link.provider.balancer("other");
    let modify = format!("Action=ModifyVpcEndpointServiceConfiguration&ServiceId={service}");
    client.ec2(&format!(
        "{modify}&AcceptanceRequired=false&AddNetworkLoadBalancerArn.1={other}"
    ));
    let changed = client.ec2("Action=DescribeVpcEndpointServiceConfigurations");
    assert_eq!(text(&changed, "acceptanceRequired"), "false");
    assert!(changed.contains(&other), "{changed}");

    link.permit();
    let permissions = format!("Action=DescribeVpcEndpointServicePermissions&ServiceId={service}");
    let everybody = client.ec2(&format!(
        "Action=ModifyVpcEndpointServicePermissions&ServiceId={service}&AddAllowedPrincipals.1=*\
         &RemoveAllowedPrincipals.1=arn:aws:iam::{CONSUMER}:root"
    ));
    assert_eq!(text(&everybody, "principalType"), "All");
    let allowed = client.ec2(&permissions);
    assert!(!allowed.contains(CONSUMER), "{allowed}");
    let none = client.ec2(&format!(
        "{permissions}&Filter.1.Name=principal-type&Filter.1.Value.1=User"
    ));
    assert!(!none.contains("<item>"), "{none}");

    // Nobody has to accept now; and what is connected cannot be deleted.
    let made = link.consumer(&link.create(&format!("&SubnetId.1={}", link.subnet)));
    assert_eq!(text(&made, "state"), "available");
    let delete = format!("Action=DeleteVpcEndpointServiceConfigurations&ServiceId.1={service}");
    let refused = client.ec2(&delete);
    assert_eq!(text(&refused, "code"), "ExistingVpcEndpointConnections");
    assert_eq!(text(&refused, "resourceId"), *service);
    client.ec2(&format!(
        "Action=RejectVpcEndpointConnections&ServiceId={service}&VpcEndpointId.1={}",
        text(&made, "vpcEndpointId")
    ));
    assert!(
        client
            .ec2(&delete)
            .contains("<unsuccessful></unsuccessful>")
    );

    let create = "Action=CreateVpcEndpointServiceConfiguration";
    let free = link.provider.balancer("free");
    for (form, code) in [
        (create.to_owned(), "MissingParameter"),
        (
            format!("{create}&NetworkLoadBalancerArn.1={free}&PrivateDnsName=nodomain"),
            "InvalidParameter",
        ),
        (
            format!("{create}&NetworkLoadBalancerArn.1={free}&SupportedIpAddressType.1=ipv6"),
            "InvalidParameter",
        ),
        (
            // Its load balancer is in one zone.
            format!("{create}&NetworkLoadBalancerArn.1={free}&SupportedRegion.1=eu-west-1"),
            "InvalidParameter",
        ),
        (
            format!("{create}&NetworkLoadBalancerArn.1={free}&SupportedRegion.1=moon-1"),
            "InvalidParameterValue",
        ),
        (
            format!("{modify}&AcceptanceRequired=true"),
            "InvalidVpcEndpointServiceId.NotFound",
        ),
        (
            "Action=DescribeVpcEndpointServices&ServiceName.1=com.amazonaws.us-east-1.sqs".into(),
            "InvalidServiceName",
        ),
        (
            "Action=DescribeVpcEndpointConnections&Filter.1.Name=x&Filter.1.Value.1=y".into(),
            "InvalidParameterValue",
        ),
    ] {
        assert_eq!(client.refused(&form), code, "{form}");
    }
    // What was refused has made nothing.
    let left = client.ec2("Action=DescribeVpcEndpointServiceConfigurations");
    assert!(!left.contains("vpce-svc-"), "{left}");
}

#[test]
fn a_private_name_is_proved_by_a_record_of_a_public_zone() {
    let link = PrivateLink::new();
    let client = &link.provider.client;
    let of_service = format!("ServiceId={}", link.service);
    let verify = format!("Action=StartVpcEndpointServicePrivateDnsVerification&{of_service}");
    assert_eq!(client.refused(&verify), "InvalidParameter");
    let modify = format!("Action=ModifyVpcEndpointServiceConfiguration&{of_service}");
    client.ec2(&format!("{modify}&PrivateDnsName=api.example.com"));
    let describe = "Action=DescribeVpcEndpointServiceConfigurations";
    let state = || text(&client.ec2(describe), "state").to_owned();
    let shown = client.ec2(describe);
    assert!(
        shown.contains("<privateDnsName>api.example.com</privateDnsName>"),
        "{shown}"
    );
    assert!(shown.contains("<value>vpce:"), "{shown}");
    assert_eq!(state(), "pendingVerification");
    client.ec2(&verify);
    assert_eq!(state(), "failed", "there is no such record");
    client.ec2(&format!("{modify}&RemovePrivateDnsName=true"));
    let shown = client.ec2(describe);
    assert!(!shown.contains("example.com"), "{shown}");
}

#[test]
fn a_gateway_load_balancer_endpoint_is_a_route_target() {
    let provider = Fixture::new();
    let gateway = provider.gateway("g");
    let client = &provider.client;
    let made = client.ec2(&format!(
        "Action=CreateVpcEndpointServiceConfiguration&AcceptanceRequired=false\
         &GatewayLoadBalancerArn.1={gateway}"
    ));
    assert!(
        made.contains("<serviceType>GatewayLoadBalancer</serviceType>"),
        "{made}"
    );
    let create = |subnet: &str| {
        format!(
            "Action=CreateVpcEndpoint&VpcEndpointType=GatewayLoadBalancer&VpcId={}\
             &ServiceName={}&SubnetId.1={subnet}",
            provider.vpc,
            text(&made, "serviceName")
        )
    };
    // The service is not in the other zone.
    let absent = client.refused(&create(&provider.subnets[1]));
    assert_eq!(absent, "InvalidParameter");
    let endpoint = client.ec2(&create(&provider.subnets[0]));
    assert_eq!(text(&endpoint, "state"), "available");
    for absent in ["<policyDocument>", "<dnsName>", "<groupId>"] {
        assert!(!endpoint.contains(absent), "{absent} in {endpoint}");
    }
    let endpoint = text(&endpoint, "vpcEndpointId");
    let table = client.ec2(&format!("Action=CreateRouteTable&VpcId={}", provider.vpc));
    let table = text(&table, "routeTableId");
    client.ec2(&format!(
        "Action=CreateRoute&RouteTableId={table}&DestinationCidrBlock=0.0.0.0/0\
         &VpcEndpointId={endpoint}"
    ));
    let delete = format!("Action=DeleteVpcEndpoints&VpcEndpointId.1={endpoint}");
    let used = client.ec2(&delete);
    assert!(text(&used, "message").contains(&table), "{used}");
    client.ec2(&format!(
        "Action=DeleteRoute&RouteTableId={table}&DestinationCidrBlock=0.0.0.0/0"
    ));
    assert!(
        client
            .ec2(&delete)
            .contains("<unsuccessful></unsuccessful>")
    );
}

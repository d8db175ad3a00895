"""The calls that Terraform's AWS provider makes for balancers, endpoints and what is
between VPCs, with its read-back and its waits on delete. Written from the provider's
sources; unverified against Terraform itself, which is not run here."""

import uuid

import botocore.exceptions

import harness
from balancers import healthy, node
from cloud import VISITOR, check, filters, wait
from terraform import delete_subnet, delete_vpc, make_subnet, make_vpc, of

TAGS = [{"Key": "Name", "Value": "main"}]


def specified(kind):
    return [{"ResourceType": kind, "Tags": TAGS}]


def token():
    return f"terraform-{uuid.uuid4().hex}"


def servers(cloud):
    """A VPC with a client and a server in it."""
    vpc = make_vpc(cloud)
    subnet = make_subnet(cloud, vpc)
    group = cloud.group(vpc)
    return vpc, subnet, group, cloud.run(subnet, group), cloud.run(subnet, group)


def make_target_group(cloud, vpc):
    elb = cloud.client("elbv2")
    # A name that is taken would be an error of the plan.
    cloud.refused("TargetGroupNotFound", "describe_target_groups", client=elb, Names=["tg"])
    made = elb.create_target_group(
        Name="tg", Protocol="TCP", Port=80, VpcId=vpc, TargetType="instance", IpAddressType="ipv4",
        HealthCheckEnabled=True, HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=2,
        HealthCheckPort="traffic-port", HealthCheckProtocol="TCP", HealthyThresholdCount=2,
        UnhealthyThresholdCount=2, Tags=TAGS)
    arn = of(made, "TargetGroups")["TargetGroupArn"]
    of(elb.describe_target_groups(TargetGroupArns=[arn]), "TargetGroups")
    elb.modify_target_group_attributes(TargetGroupArn=arn, Attributes=[
        {"Key": "deregistration_delay.timeout_seconds", "Value": "20"},
        {"Key": "load_balancing.cross_zone.enabled", "Value": "use_load_balancer_configuration"},
        {"Key": "deregistration_delay.connection_termination.enabled", "Value": "false"},
        {"Key": "proxy_protocol_v2.enabled", "Value": "false"},
        {"Key": "preserve_client_ip.enabled", "Value": "false"},
    ])
    found = of(elb.describe_target_groups(TargetGroupArns=[arn]), "TargetGroups")
    check((found["TargetGroupName"], found["Port"], found["HealthCheckPort"], found["IpAddressType"])
          == ("tg", 80, "traffic-port", "ipv4"), found)
    kept = elb.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]
    kept = {it["Key"]: it["Value"] for it in kept}
    check(kept["deregistration_delay.timeout_seconds"] == "20", kept)
    check(kept["stickiness.enabled"] == "false", kept)
    tagged(elb, arn)
    return arn


def tagged(elb, arn):
    found = of(elb.describe_tags(ResourceArns=[arn]), "TagDescriptions")
    check(found["Tags"] == TAGS, found)


def make_balancer(cloud, subnet):
    elb = cloud.client("elbv2")
    cloud.refused("LoadBalancerNotFound", "describe_load_balancers", client=elb, Names=["lb"])
    made = elb.create_load_balancer(Name="lb", Type="network", Scheme="internal",
                                    IpAddressType="ipv4", Subnets=[subnet], Tags=TAGS)
    arn = of(made, "LoadBalancers")["LoadBalancerArn"]
    found = of(elb.describe_load_balancers(LoadBalancerArns=[arn]), "LoadBalancers")
    check(found["State"]["Code"] == "active", found)
    elb.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=[
        {"Key": "access_logs.s3.enabled", "Value": "false"},
        {"Key": "deletion_protection.enabled", "Value": "false"},
        {"Key": "load_balancing.cross_zone.enabled", "Value": "true"},
        {"Key": "dns_record.client_routing_policy", "Value": "any_availability_zone"},
        {"Key": "zonal_shift.config.enabled", "Value": "false"},
    ])
    found = of(elb.describe_load_balancers(LoadBalancerArns=[arn]), "LoadBalancers")
    check([zone["SubnetId"] for zone in found["AvailabilityZones"]] == [subnet], found)
    check(found["DNSName"] and found["CanonicalHostedZoneId"] and found["VpcId"], found)
    kept = elb.describe_load_balancer_attributes(LoadBalancerArn=arn)["Attributes"]
    kept = {it["Key"]: it["Value"] for it in kept}
    check(kept["load_balancing.cross_zone.enabled"] == "true", kept)
    tagged(elb, arn)
    return arn


def make_listener(cloud, balancer, group):
    elb = cloud.client("elbv2")
    made = elb.create_listener(
        LoadBalancerArn=balancer, Port=80, Protocol="TCP", Tags=TAGS,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}])
    arn = of(made, "Listeners")["ListenerArn"]
    found = of(elb.describe_listeners(ListenerArns=[arn]), "Listeners")
    check((found["LoadBalancerArn"], found["Port"], found["DefaultActions"][0]["TargetGroupArn"])
          == (balancer, 80, group), found)
    kept = elb.describe_listener_attributes(ListenerArn=arn)["Attributes"]
    check({"Key": "tcp.idle_timeout.seconds", "Value": "350"} in kept, kept)
    tagged(elb, arn)
    return arn


def delete_balancer(cloud, balancer, listener, group):
    elb = cloud.client("elbv2")
    elb.delete_listener(ListenerArn=listener)
    cloud.refused("ListenerNotFound", "describe_listeners", client=elb, ListenerArns=[listener])
    elb.delete_load_balancer(LoadBalancerArn=balancer)
    cloud.refused("LoadBalancerNotFound", "describe_load_balancers", client=elb,
                  LoadBalancerArns=[balancer])
    # It waits for the interfaces of the nodes to be gone.
    name = balancer.split("loadbalancer/")[1]
    left = cloud.ec2.describe_network_interfaces(Filters=filters(
        **{"attachment.instance-owner-id": "amazon-aws", "description": f"ELB {name}"}))
    check(left["NetworkInterfaces"] == [], left)
    elb.delete_target_group(TargetGroupArn=group)
    cloud.refused("TargetGroupNotFound", "describe_target_groups", client=elb,
                  TargetGroupArns=[group])


def aws_lb_target_group_and_listener(cloud):
    elb = cloud.client("elbv2")
    vpc, subnet, _, client, server = servers(cloud)
    group = make_target_group(cloud, vpc)
    balancer = make_balancer(cloud, subnet)
    listener = make_listener(cloud, balancer, group)
    # aws_lb_target_group_attachment
    target = {"Id": server.name, "Port": 80}
    elb.register_targets(TargetGroupArn=group, Targets=[target])
    found = of(elb.describe_target_health(TargetGroupArn=group, Targets=[target]),
               "TargetHealthDescriptions")
    check(found["Target"]["Id"] == server.name, found)
    healthy(elb, group, server)
    client.reaches(node(cloud, "lb"))
    # Changes that are made in place.
    elb.modify_target_group(TargetGroupArn=group, HealthCheckIntervalSeconds=6,
                            HealthyThresholdCount=2, UnhealthyThresholdCount=2,
                            HealthCheckPort="traffic-port", HealthCheckProtocol="TCP")
    elb.modify_listener(ListenerArn=listener, Port=81, Protocol="TCP",
                        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}])
    client.reaches(node(cloud, "lb"), 81)
    client.cannot_reach(node(cloud, "lb"))
    elb.remove_tags(ResourceArns=[balancer], TagKeys=["Name"])
    found = of(elb.describe_tags(ResourceArns=[balancer]), "TagDescriptions")
    check(found["Tags"] == [], found)
    elb.deregister_targets(TargetGroupArn=group, Targets=[target])
    delete_balancer(cloud, balancer, listener, group)


def aws_vpc_endpoint_and_service(cloud):
    ec2, elb = cloud.ec2, cloud.client("elbv2")
    vpc, subnet, open_group, client, server = servers(cloud)
    group = make_target_group(cloud, vpc)
    balancer = make_balancer(cloud, subnet)
    listener = make_listener(cloud, balancer, group)
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": server.name, "Port": 80}])
    # aws_vpc_endpoint_service
    made = ec2.create_vpc_endpoint_service_configuration(
        AcceptanceRequired=True, ClientToken=token(), NetworkLoadBalancerArns=[balancer],
        TagSpecifications=specified("vpc-endpoint-service"))["ServiceConfiguration"]
    service, name = made["ServiceId"], made["ServiceName"]
    found = of(ec2.describe_vpc_endpoint_service_configurations(ServiceIds=[service]),
               "ServiceConfigurations")
    check((found["ServiceState"], found["AcceptanceRequired"], found["Tags"])
          == ("Available", True, TAGS), found)
    check(found["NetworkLoadBalancerArns"] == [balancer] and found["BaseEndpointDnsNames"], found)
    allowed = ec2.describe_vpc_endpoint_service_permissions(ServiceId=service)
    check(allowed["AllowedPrincipals"] == [], allowed)
    # data.aws_vpc_endpoint_service
    found = of(ec2.describe_vpc_endpoint_services(ServiceNames=[name]), "ServiceDetails")
    check(found["ServiceType"][0]["ServiceType"] == "Interface", found)
    # aws_vpc_endpoint, with auto_accept
    made = ec2.create_vpc_endpoint(
        ClientToken=token(), PrivateDnsEnabled=False, ServiceName=name,
        VpcEndpointType="Interface", VpcId=vpc, SubnetIds=[subnet], SecurityGroupIds=[open_group],
        TagSpecifications=specified("vpc-endpoint"))["VpcEndpoint"]
    endpoint = made["VpcEndpointId"]

    def state():
        found = ec2.describe_vpc_endpoints(VpcEndpointIds=[endpoint])
        return of(found, "VpcEndpoints")["State"]

    check(state() == "pendingAcceptance", state())
    ec2.accept_vpc_endpoint_connections(ServiceId=service, VpcEndpointIds=[endpoint])
    check(state() == "available", state())
    found = of(ec2.describe_vpc_endpoints(VpcEndpointIds=[endpoint]), "VpcEndpoints")
    check((found["SubnetIds"], [it["GroupId"] for it in found["Groups"]], found["Tags"])
          == ([subnet], [open_group], TAGS), found)
    check(found["DnsEntries"] and found["RequesterManaged"] is False, found)
    lists = ec2.describe_prefix_lists(Filters=filters(prefix_list_name=name))
    check(lists["PrefixLists"] == [], lists)
    found = of(ec2.describe_vpc_endpoint_connections(
        Filters=filters(service_id=service)), "VpcEndpointConnections")
    check((found["VpcEndpointId"], found["VpcEndpointState"]) == (endpoint, "available"), found)
    enis = ec2.describe_vpc_endpoints(VpcEndpointIds=[endpoint])["VpcEndpoints"][0]
    eni = of(ec2.describe_network_interfaces(
        NetworkInterfaceIds=enis["NetworkInterfaceIds"]), "NetworkInterfaces")
    healthy(elb, group, server)
    client.reaches(eni["PrivateIpAddress"])
    closed = cloud.group(vpc, "closed", allow=False)
    ec2.modify_vpc_endpoint(VpcEndpointId=endpoint, AddSecurityGroupIds=[closed],
                            RemoveSecurityGroupIds=[open_group])
    client.cannot_reach(eni["PrivateIpAddress"])
    # It waits until the endpoint is not found, then the service.
    gone = ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint])
    check(gone["Unsuccessful"] == [], gone)
    cloud.refused("InvalidVpcEndpointId.NotFound", "describe_vpc_endpoints",
                  VpcEndpointIds=[endpoint])
    gone = ec2.delete_vpc_endpoint_service_configurations(ServiceIds=[service])
    check(gone["Unsuccessful"] == [], gone)
    cloud.refused("InvalidVpcEndpointServiceId.NotFound",
                  "describe_vpc_endpoint_service_configurations", ServiceIds=[service])
    delete_balancer(cloud, balancer, listener, group)


def aws_vpc_dhcp_options_and_association(cloud):
    ec2 = cloud.ec2
    vpc = make_vpc(cloud)
    made = ec2.create_dhcp_options(
        DhcpConfigurations=[{"Key": "domain-name", "Values": ["service.consul"]},
                            {"Key": "domain-name-servers", "Values": ["127.0.0.1", "10.0.0.2"]}],
        TagSpecifications=specified("dhcp-options"))["DhcpOptions"]["DhcpOptionsId"]
    found = of(ec2.describe_dhcp_options(DhcpOptionsIds=[made]), "DhcpOptions")
    check(found["Tags"] == TAGS and found["OwnerId"], found)
    ec2.associate_dhcp_options(DhcpOptionsId=made, VpcId=vpc)
    found = of(ec2.describe_vpcs(VpcIds=[vpc]), "Vpcs")
    check(found["DhcpOptionsId"] == made, found)
    # Before it deletes a set, it takes it from those that have it.
    held = ec2.describe_vpcs(Filters=filters(dhcp_options_id=made))["Vpcs"]
    for it in held:
        ec2.associate_dhcp_options(DhcpOptionsId="default", VpcId=it["VpcId"])
    ec2.delete_dhcp_options(DhcpOptionsId=made)
    cloud.refused("InvalidDhcpOptionID.NotFound", "describe_dhcp_options", DhcpOptionsIds=[made])
    delete_vpc(cloud, vpc)


def aws_vpc_peering_connection(cloud):
    ec2 = cloud.ec2
    ours, theirs = make_vpc(cloud), make_vpc(cloud, "10.31.0.0/16")
    made = ec2.create_vpc_peering_connection(
        VpcId=ours, PeerVpcId=theirs,
        TagSpecifications=specified("vpc-peering-connection"))["VpcPeeringConnection"]
    peering = made["VpcPeeringConnectionId"]

    def state():
        found = ec2.describe_vpc_peering_connections(VpcPeeringConnectionIds=[peering])
        return of(found, "VpcPeeringConnections")["Status"]["Code"]

    check(state() == "pending-acceptance", state())
    # auto_accept
    ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peering)
    check(state() == "active", state())
    found = of(ec2.describe_vpc_peering_connections(VpcPeeringConnectionIds=[peering]),
               "VpcPeeringConnections")
    check((found["RequesterVpcInfo"]["VpcId"], found["AccepterVpcInfo"]["VpcId"], found["Tags"])
          == (ours, theirs, TAGS), found)
    table = cloud.main_table(ours)["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="10.31.0.0/16",
                     VpcPeeringConnectionId=peering)
    routes = of(ec2.describe_route_tables(RouteTableIds=[table]), "RouteTables")["Routes"]
    check([it["State"] for it in routes if it.get("VpcPeeringConnectionId") == peering]
          == ["active"], routes)
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock="10.31.0.0/16")
    ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=peering)
    # It waits for `deleted`, or for nothing to be found.
    check(state() == "deleted", state())
    delete_vpc(cloud, ours)
    delete_vpc(cloud, theirs)


def aws_vpc_endpoint_of_a_gateway(cloud):
    ec2 = cloud.ec2
    service = "com.amazonaws.us-east-1.s3"
    lists = ec2.describe_prefix_lists(Filters=filters(prefix_list_name=service))["PrefixLists"]
    if not lists:
        raise harness.CannotBe("this vpclab has no gateway endpoints")
    check(len(lists) == 1 and lists[0]["Cidrs"], lists)
    vpc = make_vpc(cloud)
    table, other = (ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"] for _ in range(2))
    made = ec2.create_vpc_endpoint(
        ClientToken=token(), PrivateDnsEnabled=False, ServiceName=service,
        VpcEndpointType="Gateway", VpcId=vpc, RouteTableIds=[table],
        TagSpecifications=specified("vpc-endpoint"))["VpcEndpoint"]["VpcEndpointId"]

    def routed(table):
        routes = of(ec2.describe_route_tables(RouteTableIds=[table]), "RouteTables")["Routes"]
        return [it["DestinationPrefixListId"] for it in routes if it.get("GatewayId") == made]

    found = of(ec2.describe_vpc_endpoints(VpcEndpointIds=[made]), "VpcEndpoints")
    check((found["State"], found["RouteTableIds"], found["VpcEndpointType"], found["Tags"])
          == ("available", [table], "Gateway", TAGS), found)
    check(found["PolicyDocument"], found)
    check(routed(table) == [lists[0]["PrefixListId"]] and routed(other) == [], routed(table))
    ec2.modify_vpc_endpoint(VpcEndpointId=made, AddRouteTableIds=[other], RemoveRouteTableIds=[table])
    check(routed(other) == [lists[0]["PrefixListId"]] and routed(table) == [], routed(other))
    done = ec2.delete_vpc_endpoints(VpcEndpointIds=[made])
    check(done["Unsuccessful"] == [], done)
    cloud.refused("InvalidVpcEndpointId.NotFound", "describe_vpc_endpoints", VpcEndpointIds=[made])
    check(routed(other) == [], "its route is still there")


def gone(found):
    try:
        return found()["State"] == "deleted"
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"] == "NatGatewayNotFound"


def aws_nat_gateway_and_aws_eip(cloud):
    if "ec2 CreateNatGateway" not in cloud.actions:
        raise harness.CannotBe("this vpclab's API has no NAT gateways")
    ec2 = cloud.ec2
    vpc = make_vpc(cloud)
    public, private = make_subnet(cloud, vpc), cloud.subnet(vpc, "10.30.2.0/24")
    out = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=out, DestinationCidrBlock="0.0.0.0/0",
                     GatewayId=cloud.gateway(vpc))
    ec2.associate_route_table(RouteTableId=out, SubnetId=public)
    # aws_eip
    made = ec2.allocate_address(Domain="vpc", TagSpecifications=specified("elastic-ip"))
    address = of(ec2.describe_addresses(AllocationIds=[made["AllocationId"]]), "Addresses")
    check(address["PublicIp"] == made["PublicIp"] and address["Tags"] == TAGS, address)
    of(ec2.describe_addresses_attribute(AllocationIds=[made["AllocationId"]],
                                        Attribute="domain-name"), "Addresses")
    # aws_nat_gateway
    gateway = ec2.create_nat_gateway(
        AllocationId=made["AllocationId"], ClientToken=token(), ConnectivityType="public",
        SubnetId=public, TagSpecifications=specified("natgateway"))["NatGateway"]["NatGatewayId"]

    def found():
        return of(ec2.describe_nat_gateways(NatGatewayIds=[gateway]), "NatGateways")

    check(found()["State"] == "available", found())
    held = of(found(), "NatGatewayAddresses")
    check((held["AllocationId"], held["PublicIp"]) == (made["AllocationId"], made["PublicIp"]), held)
    check(held["NetworkInterfaceId"] and held["PrivateIp"] and held["AssociationId"], held)
    check((found()["SubnetId"], found()["Tags"]) == (public, TAGS), found())
    inside = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=inside, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=gateway)
    routes = of(ec2.describe_route_tables(RouteTableIds=[inside]), "RouteTables")["Routes"]
    check([it["State"] for it in routes if it.get("NatGatewayId") == gateway] == ["active"], routes)
    ec2.associate_route_table(RouteTableId=inside, SubnetId=private)
    host = cloud.run(private, cloud.group(vpc))
    check(host.reaches(VISITOR) == made["PublicIp"], "not translated")
    ec2.delete_route(RouteTableId=inside, DestinationCidrBlock="0.0.0.0/0")
    ec2.delete_nat_gateway(NatGatewayId=gateway)
    # It waits for `deleted`, or for nothing to be found.
    wait("the NAT gateway is deleted", lambda: gone(found))
    ec2.release_address(AllocationId=made["AllocationId"])
    cloud.refused("InvalidAllocationID.NotFound", "describe_addresses",
                  AllocationIds=[made["AllocationId"]])


CHECKS = [aws_lb_target_group_and_listener, aws_vpc_endpoint_and_service,
          aws_vpc_dhcp_options_and_association, aws_vpc_peering_connection,
          aws_nat_gateway_and_aws_eip, aws_vpc_endpoint_of_a_gateway]

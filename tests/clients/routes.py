"""Routes and route tables: where packets go, and who sees them."""

from cloud import VISITOR, check, filters


def through_the_middle(cloud):
    """Two subnets with a host each, and a third with one that forwards."""
    vpc = cloud.vpc()
    group = cloud.group(vpc)
    subnets = [cloud.subnet(vpc, f"10.0.{n}.0/24") for n in (1, 2, 3)]
    a, b, middle = [cloud.run(subnet, group) for subnet in subnets]
    cloud.ec2.modify_instance_attribute(
        InstanceId=middle.name, SourceDestCheck={"Value": False})
    done = cloud.lab.exec(middle.name, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    check(done.returncode == 0, done.stderr)
    # What it forwards goes straight, whatever the main table says.
    table = cloud.ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    cloud.ec2.associate_route_table(RouteTableId=table, SubnetId=subnets[2])
    gateway = cloud.gateway(vpc)
    cloud.ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    return vpc, subnets, a, b, middle


def forwarded(cloud, middle):
    """Packets that the middle host has forwarded."""
    done = cloud.lab.exec(middle.name, "cat", "/proc/net/snmp")
    names, values = [l.split() for l in done.stdout.splitlines() if l.startswith("Ip:")]
    return int(values[names.index("ForwDatagrams")])


def passes(cloud, middle, a, b):
    before = forwarded(cloud, middle)
    a.reaches(b.ip)
    return forwarded(cloud, middle) > before


def a_route_is_made_replaced_and_deleted(cloud):
    vpc, subnets, a, b, middle = through_the_middle(cloud)
    table = cloud.ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    cloud.ec2.associate_route_table(RouteTableId=table, SubnetId=subnets[0])
    to_b = {"RouteTableId": table, "DestinationCidrBlock": "10.0.2.0/24"}
    check(not passes(cloud, middle, a, b), "through the middle without a route")
    made = cloud.ec2.create_route(**to_b, NetworkInterfaceId=middle.eni)
    check(made["Return"] is True, made)
    check(passes(cloud, middle, a, b), "a new route leads past the middle")
    cloud.refused("RouteAlreadyExists", "create_route", **to_b, NetworkInterfaceId=middle.eni)
    # To a host that forwards nothing.
    cloud.ec2.replace_route(**to_b, NetworkInterfaceId=a.eni)
    a.cannot_reach(b.ip)
    cloud.ec2.replace_route(**to_b, InstanceId=middle.name)
    check(passes(cloud, middle, a, b), "the replaced route leads past the middle")
    cloud.ec2.delete_route(**to_b)
    check(not passes(cloud, middle, a, b), "through the middle after its route is gone")
    cloud.refused("InvalidRoute.NotFound", "delete_route", **to_b)
    cloud.refused("InvalidParameterValue", "replace_route", **to_b, NetworkInterfaceId=middle.eni)


def the_source_dest_check_stops_what_is_not_the_hosts(cloud):
    vpc, subnets, a, b, middle = through_the_middle(cloud)
    table = cloud.main_table(vpc)["RouteTableId"]
    cloud.ec2.create_route(RouteTableId=table, DestinationCidrBlock="10.0.2.0/24",
                           NetworkInterfaceId=middle.eni)
    check(passes(cloud, middle, a, b), "not through the middle")
    cloud.ec2.modify_network_interface_attribute(
        NetworkInterfaceId=middle.eni, SourceDestCheck={"Value": True})
    a.cannot_reach(b.ip)
    cloud.ec2.modify_network_interface_attribute(
        NetworkInterfaceId=middle.eni, SourceDestCheck={"Value": False})
    check(passes(cloud, middle, a, b), "not through the middle again")
    cloud.ec2.reset_network_interface_attribute(
        NetworkInterfaceId=middle.eni, SourceDestCheck="true")
    a.cannot_reach(b.ip)


def tables_are_associated_replaced_and_let_go(cloud):
    vpc, subnets, a, b, middle = through_the_middle(cloud)
    bent, straight = [cloud.ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
                      for _ in range(2)]
    cloud.ec2.create_route(RouteTableId=bent, DestinationCidrBlock="10.0.2.0/24",
                           NetworkInterfaceId=middle.eni)
    check(not passes(cloud, middle, a, b), "bent before the table is associated")
    held = cloud.ec2.associate_route_table(RouteTableId=bent, SubnetId=subnets[0])
    check(held["AssociationState"]["State"] == "associated", held)
    held = held["AssociationId"]
    check(passes(cloud, middle, a, b), "straight though the table is associated")
    cloud.refused("Resource.AlreadyAssociated", "associate_route_table",
                  RouteTableId=straight, SubnetId=subnets[0])
    cloud.refused("DependencyViolation", "delete_route_table", RouteTableId=bent)
    held = cloud.ec2.replace_route_table_association(
        AssociationId=held, RouteTableId=straight)["NewAssociationId"]
    check(not passes(cloud, middle, a, b), "bent after the table is replaced")
    held = cloud.ec2.replace_route_table_association(
        AssociationId=held, RouteTableId=bent)["NewAssociationId"]
    check(passes(cloud, middle, a, b), "straight after the table is replaced again")
    cloud.ec2.disassociate_route_table(AssociationId=held)
    check(not passes(cloud, middle, a, b), "bent after the table is let go")
    cloud.ec2.delete_route_table(RouteTableId=bent)
    cloud.refused("InvalidRouteTableID.NotFound", "describe_route_tables", RouteTableIds=[bent])


def the_main_table_is_replaced(cloud):
    vpc, _, a, b, middle = through_the_middle(cloud)
    main = cloud.main_table(vpc)
    held = main["Associations"][0]["RouteTableAssociationId"]
    cloud.refused("InvalidParameterValue", "disassociate_route_table", AssociationId=held)
    bent = cloud.ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    cloud.ec2.create_route(RouteTableId=bent, DestinationCidrBlock="10.0.2.0/24",
                           NetworkInterfaceId=middle.eni)
    check(not passes(cloud, middle, a, b), "bent by the first main table")
    held = cloud.ec2.replace_route_table_association(
        AssociationId=held, RouteTableId=bent)["NewAssociationId"]
    check(passes(cloud, middle, a, b), "straight by the new main table")
    found = cloud.main_table(vpc)
    check(found["RouteTableId"] == bent, found)
    cloud.ec2.replace_route_table_association(
        AssociationId=held, RouteTableId=main["RouteTableId"])
    check(not passes(cloud, middle, a, b), "bent by the old main table")
    cloud.ec2.delete_route_table(RouteTableId=bent)


def public_host(cloud):
    """A host with an elastic address; its VPC has no gateway yet."""
    vpc = cloud.vpc()
    a = cloud.run(cloud.subnet(vpc), cloud.group(vpc))
    gateway = cloud.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    return vpc, gateway, a


def an_internet_gateway_is_attached_and_detached(cloud):
    vpc, gateway, a = public_host(cloud)
    table = cloud.main_table(vpc)["RouteTableId"]
    everywhere = {"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0"}
    cloud.refused("InvalidParameterValue", "create_route", **everywhere, GatewayId=gateway)
    cloud.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    cloud.refused("Resource.AlreadyAssociated", "attach_internet_gateway",
                  InternetGatewayId=gateway, VpcId=vpc)
    allocation, public = cloud.elastic(a.eni)
    a.cannot_reach(VISITOR)
    cloud.ec2.create_route(**everywhere, GatewayId=gateway)
    check(a.reaches(VISITOR) == public, "seen with another address")
    check(cloud.visitor.reaches(public) == VISITOR, "the host sees another visitor")
    cloud.refused("DependencyViolation", "detach_internet_gateway",
                  InternetGatewayId=gateway, VpcId=vpc)
    cloud.refused("DependencyViolation", "delete_internet_gateway", InternetGatewayId=gateway)
    held = cloud.ec2.describe_addresses(AllocationIds=[allocation])["Addresses"][0]
    cloud.ec2.disassociate_address(AssociationId=held["AssociationId"])
    cloud.ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    a.cannot_reach(VISITOR)
    routes = cloud.main_table(vpc)["Routes"]
    states = {r["DestinationCidrBlock"]: r["State"] for r in routes}
    check(states == {"10.0.0.0/16": "active", "0.0.0.0/0": "blackhole"}, states)
    cloud.refused("Gateway.NotAttached", "detach_internet_gateway",
                  InternetGatewayId=gateway, VpcId=vpc)
    cloud.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    cloud.ec2.associate_address(AllocationId=allocation, NetworkInterfaceId=a.eni)
    a.reaches(VISITOR)
    cloud.ec2.delete_route(**everywhere)
    a.cannot_reach(VISITOR)


def a_gateways_table_bends_what_comes_in(cloud):
    vpc, subnets, a, b, middle = through_the_middle(cloud)
    gateway = cloud.ec2.describe_internet_gateways()["InternetGateways"][0]["InternetGatewayId"]
    table = cloud.main_table(vpc)["RouteTableId"]
    cloud.ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    _, public = cloud.elastic(b.eni)
    edge = cloud.ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    cloud.ec2.create_route(RouteTableId=edge, DestinationCidrBlock="10.0.2.0/24",
                           NetworkInterfaceId=middle.eni)
    before = forwarded(cloud, middle)
    cloud.visitor.reaches(public)
    check(forwarded(cloud, middle) == before, "bent without an edge table")
    held = cloud.ec2.associate_route_table(RouteTableId=edge, GatewayId=gateway)["AssociationId"]
    # What comes by the middle must go back by it.
    cloud.visitor.cannot_reach(public)
    back = cloud.ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    cloud.ec2.create_route(RouteTableId=back, DestinationCidrBlock="0.0.0.0/0",
                           NetworkInterfaceId=middle.eni)
    back = cloud.ec2.associate_route_table(RouteTableId=back, SubnetId=subnets[1])["AssociationId"]
    cloud.visitor.reaches(public)
    check(forwarded(cloud, middle) > before, "not bent by the edge table")
    found = cloud.ec2.describe_route_tables(Filters=filters(**{"association.gateway_id": gateway}))
    check([t["RouteTableId"] for t in found["RouteTables"]] == [edge], found)
    cloud.ec2.disassociate_route_table(AssociationId=held)
    cloud.ec2.disassociate_route_table(AssociationId=back)
    before = forwarded(cloud, middle)
    cloud.visitor.reaches(public)
    check(forwarded(cloud, middle) == before, "bent after the edge table is let go")


CHECKS = [a_route_is_made_replaced_and_deleted, the_source_dest_check_stops_what_is_not_the_hosts,
          tables_are_associated_replaced_and_let_go, the_main_table_is_replaced,
          an_internet_gateway_is_attached_and_detached, a_gateways_table_bends_what_comes_in]

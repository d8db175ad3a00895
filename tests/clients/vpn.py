"""Virtual private gateways and VPN connections: what an office reaches."""

from cloud import OFFICE, OFFICE_ROUTER, check


def made(cloud):
    """A VPC with a host in it, a gateway attached, and a connection to the office."""
    vpc = cloud.vpc("10.0.0.0/16")
    group = cloud.group(vpc)
    host = cloud.run(cloud.subnet(vpc, "10.0.1.0/24"), group)
    gateway = cloud.ec2.create_vpn_gateway(Type="ipsec.1", TagSpecifications=[
        {"ResourceType": "vpn-gateway", "Tags": [{"Key": "Name", "Value": "ours"}]}])
    gateway = gateway["VpnGateway"]["VpnGatewayId"]
    cloud.ec2.attach_vpn_gateway(VpnGatewayId=gateway, VpcId=vpc)
    customer = cloud.ec2.create_customer_gateway(
        Type="ipsec.1", BgpAsn=65000, IpAddress=OFFICE_ROUTER)
    customer = customer["CustomerGateway"]["CustomerGatewayId"]
    return vpc, host, gateway, customer


def connect(cloud, gateway, customer, static):
    made = cloud.ec2.create_vpn_connection(
        Type="ipsec.1", CustomerGatewayId=customer, VpnGatewayId=gateway,
        Options={"StaticRoutesOnly": static})
    return made["VpnConnection"]["VpnConnectionId"]


def packets_follow_propagation_and_static_routes(cloud):
    vpc, host, gateway, customer = made(cloud)
    table = cloud.main_table(vpc)["RouteTableId"]
    connection = connect(cloud, gateway, customer, True)
    (held,) = cloud.ec2.describe_vpn_connections(
        VpnConnectionIds=[connection])["VpnConnections"]
    check([t["Status"] for t in held["VgwTelemetry"]] == ["UP", "UP"], held)
    host.cannot_reach(OFFICE)
    cloud.ec2.enable_vgw_route_propagation(GatewayId=gateway, RouteTableId=table)
    host.cannot_reach(OFFICE)
    route = {"VpnConnectionId": connection, "DestinationCidrBlock": "192.168.0.0/16"}
    cloud.ec2.create_vpn_connection_route(**route)
    check(host.reaches(OFFICE) == host.ip, "the source is not kept")
    cloud.office.reaches(host.ip)
    (found,) = [r for r in cloud.main_table(vpc)["Routes"]
                if r["Origin"] == "EnableVgwRoutePropagation"]
    check(found["GatewayId"] == gateway and found["State"] == "active", found)
    check(cloud.main_table(vpc)["PropagatingVgws"] == [{"GatewayId": gateway}], "not propagating")
    cloud.ec2.delete_vpn_connection_route(**route)
    host.cannot_reach(OFFICE)
    cloud.refused("InvalidRoute.NotFound", "delete_vpn_connection_route", **route)
    cloud.ec2.create_vpn_connection_route(**route)
    host.reaches(OFFICE)
    cloud.ec2.disable_vgw_route_propagation(GatewayId=gateway, RouteTableId=table)
    host.cannot_reach(OFFICE)
    cloud.refused("InvalidParameterValue", "disable_vgw_route_propagation",
                  GatewayId=gateway, RouteTableId=table)
    cloud.ec2.create_route(RouteTableId=table, DestinationCidrBlock="192.168.0.0/16",
                           GatewayId=gateway)
    host.reaches(OFFICE)
    cloud.refused("IncorrectState", "delete_vpn_gateway", VpnGatewayId=gateway)
    cloud.ec2.detach_vpn_gateway(VpnGatewayId=gateway, VpcId=vpc)
    host.cannot_reach(OFFICE)
    cloud.refused("InvalidVpnGatewayAttachment.NotFound", "detach_vpn_gateway",
                  VpnGatewayId=gateway, VpcId=vpc)
    cloud.refused("Gateway.NotAttached", "enable_vgw_route_propagation",
                  GatewayId=gateway, RouteTableId=table)


def routes_are_learnt(cloud):
    vpc, host, gateway, customer = made(cloud)
    table = cloud.main_table(vpc)["RouteTableId"]
    cloud.ec2.enable_vgw_route_propagation(GatewayId=gateway, RouteTableId=table)
    connection = connect(cloud, gateway, customer, False)
    host.reaches(OFFICE)
    cloud.refused("UnsupportedOperation", "create_vpn_connection_route",
                  VpnConnectionId=connection, DestinationCidrBlock="172.16.0.0/12")
    cloud.refused("InvalidParameterValue", "create_vpn_connection", Type="ipsec.1",
                  CustomerGatewayId=customer, VpnGatewayId=gateway)
    cloud.refused("IncorrectState", "delete_customer_gateway", CustomerGatewayId=customer)
    cloud.ec2.delete_vpn_connection(VpnConnectionId=connection)
    host.cannot_reach(OFFICE)
    cloud.refused("InvalidVpnConnectionID.NotFound", "delete_vpn_connection",
                  VpnConnectionId=connection)
    cloud.ec2.delete_customer_gateway(CustomerGatewayId=customer)
    cloud.refused("InvalidCustomerGatewayID.NotFound", "describe_customer_gateways",
                  CustomerGatewayIds=[customer])


def gateways_are_described_and_refused(cloud):
    vpc, _, gateway, customer = made(cloud)
    (found,) = cloud.ec2.describe_vpn_gateways(Filters=[
        {"Name": "attachment.vpc-id", "Values": [vpc]}])["VpnGateways"]
    check(found["VpnGatewayId"] == gateway and found["AmazonSideAsn"] == 64512, found)
    check(found["VpcAttachments"] == [{"VpcId": vpc, "State": "attached"}], found)
    (found,) = cloud.ec2.describe_customer_gateways()["CustomerGateways"]
    check(found["IpAddress"] == OFFICE_ROUTER, found)
    cloud.refused("InvalidParameterValue", "create_vpn_gateway", Type="ipsec.2")
    cloud.refused("InvalidParameterValue", "create_customer_gateway", Type="x", BgpAsn=65000,
                  IpAddress=OFFICE_ROUTER)
    cloud.refused("VpnGatewayAttachmentLimitExceeded", "attach_vpn_gateway",
                  VpnGatewayId=gateway, VpcId=vpc)
    cloud.refused("InvalidVpnGatewayID.NotFound", "describe_vpn_gateways",
                  VpnGatewayIds=["vgw-0123456789abcdef0"])
    cloud.refused("InvalidVpnConnectionID.NotFound", "describe_vpn_connections",
                  VpnConnectionIds=["vpn-0123456789abcdef0"])
    cloud.ec2.detach_vpn_gateway(VpnGatewayId=gateway, VpcId=vpc)
    cloud.ec2.delete_vpn_gateway(VpnGatewayId=gateway)


CHECKS = [
    packets_follow_propagation_and_static_routes,
    routes_are_learnt,
    gateways_are_described_and_refused,
]

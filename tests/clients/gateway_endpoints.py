"""Gateway endpoints by their API: AWS's lists, the route that is nobody else's, packets."""

from cloud import check, filters

S3, LIST = "com.amazonaws.us-east-1.s3", "pl-63a5400a"


def routes(cloud, table):
    found = cloud.ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]
    return {it["DestinationPrefixListId"]: it for it in found if "DestinationPrefixListId" in it}


def aws_has_lists_of_its_own(cloud):
    (found,) = cloud.ec2.describe_prefix_lists(
        Filters=filters(prefix_list_name=S3))["PrefixLists"]
    check((found["PrefixListId"], "52.216.0.0/15" in found["Cidrs"]) == (LIST, True), found)
    (found,) = cloud.ec2.describe_managed_prefix_lists(PrefixListIds=[LIST])["PrefixLists"]
    check((found["OwnerId"], found["PrefixListName"]) == ("AWS", S3), found)
    check("MaxEntries" not in found, found)
    entries = cloud.ec2.get_managed_prefix_list_entries(PrefixListId=LIST)["Entries"]
    check({"Cidr": "52.216.0.0/15"} in entries, entries)
    cloud.refused("InvalidPrefixListID.NotFound", "delete_managed_prefix_list",
                  PrefixListId=LIST)
    offered = cloud.ec2.describe_vpc_endpoint_services(ServiceNames=[S3])["ServiceDetails"][0]
    check(offered["ServiceType"] == [{"ServiceType": "Gateway"}], offered)


def only_the_endpoint_touches_its_route(cloud):
    vpc = cloud.vpc()
    first = cloud.main_table(vpc)["RouteTableId"]
    second = cloud.ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    made = cloud.ec2.create_vpc_endpoint(
        VpcId=vpc, ServiceName=S3, RouteTableIds=[first])["VpcEndpoint"]
    endpoint = made["VpcEndpointId"]
    check((made["VpcEndpointType"], made["State"], made["RouteTableIds"]) ==
          ("Gateway", "available", [first]), made)
    route = routes(cloud, first)[LIST]
    check((route["GatewayId"], route["State"]) == (endpoint, "active"), route)
    cloud.refused("InvalidParameterValue", "delete_route", RouteTableId=first,
                  DestinationPrefixListId=LIST)
    cloud.refused("RouteAlreadyExists", "create_vpc_endpoint", VpcId=vpc, ServiceName=S3,
                  RouteTableIds=[first])
    cloud.refused("InvalidServiceName", "create_vpc_endpoint", VpcId=vpc,
                  ServiceName="com.amazonaws.us-west-2.s3")
    cloud.ec2.modify_vpc_endpoint(VpcEndpointId=endpoint, AddRouteTableIds=[second],
                                  RemoveRouteTableIds=[first])
    check(LIST in routes(cloud, second) and LIST not in routes(cloud, first), "not moved")
    cloud.refused("InvalidParameter", "modify_vpc_endpoint", VpcEndpointId=endpoint,
                  RemoveRouteTableIds=[first])
    gone = cloud.ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint])
    check(gone["Unsuccessful"] == [], gone)
    check(LIST not in routes(cloud, second), "the route is still there")


def a_group_may_name_the_list(cloud):
    vpc = cloud.vpc()
    group = cloud.group(vpc, allow=False)
    cloud.ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443,
         "PrefixListIds": [{"PrefixListId": LIST}]}])
    used = cloud.ec2.get_managed_prefix_list_associations(PrefixListId=LIST)
    check([it["ResourceId"] for it in used["PrefixListAssociations"]] == [group], used)


CHECKS = [aws_has_lists_of_its_own, only_the_endpoint_touches_its_route,
          a_group_may_name_the_list]

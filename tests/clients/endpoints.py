"""PrivateLink by its API: a service, who may use it, who is let in, and packets."""

import harness
import refusals
from balancers import balancer, healthy, listen, world
from cloud import OTHER_ACCOUNT, check, filters, wait

NOBODY = "0123456789abcdef0"
SERVICE, ENDPOINT = f"vpce-svc-{NOBODY}", f"vpce-{NOBODY}"


def needs_endpoints(cloud):
    if "ec2 CreateVpcEndpoint" not in cloud.actions:
        raise harness.CannotBe("this vpclab's API has no VPC endpoints")


def provider(cloud):
    """A service behind a balancer whose target is healthy."""
    needs_endpoints(cloud)
    elb, _, subnet, _, (_, server, _), group = world(cloud)
    arn = balancer(elb, subnet)["LoadBalancerArn"]
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": server.name}])
    listen(elb, arn, group)
    healthy(elb, group, server)
    made = cloud.ec2.create_vpc_endpoint_service_configuration(
        NetworkLoadBalancerArns=[arn], AcceptanceRequired=True)["ServiceConfiguration"]
    return made["ServiceId"], made["ServiceName"], arn


class Consumer:
    """Another account's VPC with a host."""

    def __init__(self, cloud):
        self.ec2 = cloud.client("ec2", OTHER_ACCOUNT)
        ec2 = self.ec2
        self.vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        made = ec2.create_subnet(VpcId=self.vpc, CidrBlock="10.0.1.0/24")
        self.subnet = made["Subnet"]["SubnetId"]
        group = ec2.create_security_group(GroupName="open", Description="open", VpcId=self.vpc)
        self.group = group["GroupId"]
        ec2.authorize_security_group_ingress(GroupId=self.group, IpPermissions=[
            {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
        made = ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1,
                                 SubnetId=self.subnet, SecurityGroupIds=[self.group])
        self.host = cloud.host(made["Instances"][0])

    def endpoint(self, service):
        made = self.ec2.create_vpc_endpoint(
            VpcEndpointType="Interface", VpcId=self.vpc, ServiceName=service,
            SubnetIds=[self.subnet], SecurityGroupIds=[self.group])["VpcEndpoint"]
        found = self.ec2.describe_network_interfaces(
            NetworkInterfaceIds=made["NetworkInterfaceIds"])["NetworkInterfaces"][0]
        check(found["RequesterManaged"], found)
        return made["VpcEndpointId"], found["PrivateIpAddress"]

    def state(self, endpoint):
        found = self.ec2.describe_vpc_endpoints(VpcEndpointIds=[endpoint])["VpcEndpoints"]
        return found[0]["State"]


def a_service_is_offered_accepted_and_rejected(cloud):
    """AWS's walk-through for PrivateLink: create, permit, connect, accept, reject."""
    ec2 = cloud.ec2
    service, name, _ = provider(cloud)
    consumer = Consumer(cloud)
    cloud.refused("InvalidServiceName", "create_vpc_endpoint", client=consumer.ec2,
                  VpcEndpointType="Interface", VpcId=consumer.vpc, ServiceName=name,
                  SubnetIds=[consumer.subnet])
    ec2.modify_vpc_endpoint_service_permissions(
        ServiceId=service, AddAllowedPrincipals=[f"arn:aws:iam::{OTHER_ACCOUNT}:root"])
    found = ec2.describe_vpc_endpoint_service_permissions(ServiceId=service)["AllowedPrincipals"]
    check([it["Principal"] for it in found] == [f"arn:aws:iam::{OTHER_ACCOUNT}:root"], found)
    found = consumer.ec2.describe_vpc_endpoint_services(ServiceNames=[name])["ServiceDetails"]
    check(found[0]["ServiceName"] == name and found[0]["AcceptanceRequired"], found)
    endpoint, ip = consumer.endpoint(name)
    check(consumer.state(endpoint) == "pendingAcceptance", consumer.state(endpoint))
    consumer.host.cannot_reach(ip)
    found = ec2.describe_vpc_endpoint_connections(
        Filters=filters(service_id=service))["VpcEndpointConnections"]
    check([(it["VpcEndpointId"], it["VpcEndpointState"]) for it in found]
          == [(endpoint, "pendingAcceptance")], found)
    done = ec2.accept_vpc_endpoint_connections(ServiceId=service, VpcEndpointIds=[endpoint])
    check(not done.get("Unsuccessful"), done)
    wait("the endpoint is available", lambda: consumer.state(endpoint) == "available")
    consumer.host.reaches(ip)
    ec2.reject_vpc_endpoint_connections(ServiceId=service, VpcEndpointIds=[endpoint])
    check(consumer.state(endpoint) == "rejected", consumer.state(endpoint))
    consumer.host.cannot_reach(ip)
    done = consumer.ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint, ENDPOINT])
    check([it["ResourceId"] for it in done["Unsuccessful"]] == [ENDPOINT], done)
    cloud.refused("InvalidVpcEndpointId.NotFound", "describe_vpc_endpoints", client=consumer.ec2,
                  VpcEndpointIds=[endpoint])
    done = ec2.delete_vpc_endpoint_service_configurations(ServiceIds=[service, SERVICE])
    check([it["ResourceId"] for it in done["Unsuccessful"]] == [SERVICE], done)


def services_and_endpoints_are_modified(cloud):
    ec2 = cloud.ec2
    service, name, _ = provider(cloud)
    ec2.modify_vpc_endpoint_service_configuration(ServiceId=service, AcceptanceRequired=False)
    found = ec2.describe_vpc_endpoint_service_configurations(ServiceIds=[service])
    check(found["ServiceConfigurations"][0]["AcceptanceRequired"] is False, found)
    ec2.modify_vpc_endpoint_service_configuration(ServiceId=service,
                                                  PrivateDnsName="api.example.com")
    # No public zone of the lab has the record.
    ec2.start_vpc_endpoint_service_private_dns_verification(ServiceId=service)
    found = ec2.describe_vpc_endpoint_service_configurations(ServiceIds=[service])
    held = found["ServiceConfigurations"][0]["PrivateDnsNameConfiguration"]
    check((held["State"], held["Type"]) == ("failed", "TXT"), found)
    ec2.modify_vpc_endpoint_service_configuration(ServiceId=service, RemovePrivateDnsName=True)
    ec2.modify_vpc_endpoint_service_permissions(ServiceId=service, AddAllowedPrincipals=["*"])
    consumer = Consumer(cloud)
    endpoint, ip = consumer.endpoint(name)
    wait("the endpoint is available", lambda: consumer.state(endpoint) == "available")
    consumer.host.reaches(ip)
    closed = consumer.ec2.create_security_group(
        GroupName="closed", Description="closed", VpcId=consumer.vpc)["GroupId"]
    consumer.ec2.modify_vpc_endpoint(VpcEndpointId=endpoint, AddSecurityGroupIds=[closed],
                                     RemoveSecurityGroupIds=[consumer.group])
    consumer.host.cannot_reach(ip)
    consumer.ec2.modify_vpc_endpoint(VpcEndpointId=endpoint, AddSecurityGroupIds=[consumer.group],
                                     RemoveSecurityGroupIds=[closed])
    consumer.host.reaches(ip)
    consumer.ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint])
    consumer.host.cannot_reach(ip)


MANY = {"VpcEndpointIds": [ENDPOINT]}
REFUSALS = [
    *[(action, {"ServiceId": SERVICE} | more, "InvalidVpcEndpointServiceId.NotFound")
      for action, more in (
          ("describe_vpc_endpoint_service_permissions", {}),
          ("modify_vpc_endpoint_service_permissions", {"AddAllowedPrincipals": ["*"]}),
          ("accept_vpc_endpoint_connections", MANY), ("reject_vpc_endpoint_connections", MANY),
          ("start_vpc_endpoint_service_private_dns_verification", {}),
          ("modify_vpc_endpoint_service_configuration", {"AcceptanceRequired": False}))],
    ("describe_vpc_endpoint_service_configurations", {"ServiceIds": [SERVICE]},
     "InvalidVpcEndpointServiceId.NotFound"),
    ("describe_vpc_endpoint_connections", {"Filters": refusals.UNKNOWN_FILTER},
     "InvalidParameterValue"),
    ("describe_vpc_endpoint_services", {"ServiceNames": ["nonsense"]}, "InvalidServiceName"),
    ("create_vpc_endpoint_service_configuration", {}, "MissingParameter"),
    ("delete_vpc_endpoint_service_configurations", {}, "MissingParameter"),
    ("describe_vpc_endpoints", {"VpcEndpointIds": [ENDPOINT]}, "InvalidVpcEndpointId.NotFound"),
    ("create_vpc_endpoint", {"VpcId": refusals.VPC, "ServiceName": "nonsense",
                             "VpcEndpointType": "Interface"}, "InvalidVpcID.NotFound"),
    ("modify_vpc_endpoint", {"VpcEndpointId": ENDPOINT, "AddSubnetIds": [refusals.SUBNET]},
     "InvalidVpcEndpointId.NotFound"),
    ("delete_vpc_endpoints", {}, "MissingParameter"),
]


def what_is_not_there(cloud):
    needs_endpoints(cloud)
    refusals.refuse(cloud, REFUSALS, {})


CHECKS = [a_service_is_offered_accepted_and_rejected, services_and_endpoints_are_modified,
          what_is_not_there]

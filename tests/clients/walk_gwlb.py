"""AWS's walk-through "Getting started with Gateway Load Balancers using the AWS CLI":
what enters and leaves an application's subnet crosses an appliance in another VPC."""

import subprocess

import harness
from cloud import VISITOR, check
from walk_privatelink import aws, healthy


def consumer(cloud):
    """The walk-through's consumer VPC: an internet gateway, an application in one
    subnet, and one for the endpoint, each with its route table."""
    vpc = aws(cloud, "ec2", "create-vpc", "--cidr-block", "10.0.0.0/16")["Vpc"]["VpcId"]
    gateway = aws(cloud, "ec2", "create-internet-gateway")["InternetGateway"]["InternetGatewayId"]
    aws(cloud, "ec2", "attach-internet-gateway", "--internet-gateway-id", gateway, "--vpc-id", vpc)
    subnets, tables = [], []
    for block in ("10.0.0.0/24", "10.0.1.0/24"):
        subnet = aws(cloud, "ec2", "create-subnet", "--vpc-id", vpc, "--cidr-block", block,
                     "--availability-zone", "us-east-1a")["Subnet"]["SubnetId"]
        table = aws(cloud, "ec2", "create-route-table", "--vpc-id", vpc)["RouteTable"]
        table = table["RouteTableId"]
        aws(cloud, "ec2", "associate-route-table", "--route-table-id", table,
            "--subnet-id", subnet)
        aws(cloud, "ec2", "create-route", "--route-table-id", table,
            "--destination-cidr-block", "0.0.0.0/0", "--gateway-id", gateway)
        subnets.append(subnet)
        tables.append(table)
    edge = aws(cloud, "ec2", "create-route-table", "--vpc-id", vpc)["RouteTable"]["RouteTableId"]
    aws(cloud, "ec2", "associate-route-table", "--route-table-id", edge, "--gateway-id", gateway)
    application = instance(cloud, vpc, subnets[1], "--associate-public-ip-address")
    return vpc, subnets[0], tables[1], edge, application


def instance(cloud, vpc, subnet, *more):
    """Runs an instance that takes all traffic."""
    group = aws(cloud, "ec2", "create-security-group", "--group-name", "open",
                "--description", "open", "--vpc-id", vpc)["GroupId"]
    aws(cloud, "ec2", "authorize-security-group-ingress", "--group-id", group,
        "--protocol", "all", "--cidr", "0.0.0.0/0")
    return aws(cloud, "ec2", "run-instances", "--image-id", "ami-12345678", "--subnet-id", subnet,
               "--security-group-ids", group, *more)["Instances"][0]


def gwlb(cloud):
    vpc, endpoint_subnet, application_table, edge_table, made = consumer(cloud)
    application = cloud.host(made)
    public = aws(cloud, "ec2", "describe-instances", "--instance-ids", application.name,
                 "--query", "Reservations[0].Instances[0].PublicIpAddress")
    check(application.reaches(VISITOR) == public, "another address on the way out")
    cloud.visitor.reaches(public)

    # Step 1: the load balancer and its target, an appliance.
    provider = aws(cloud, "ec2", "create-vpc", "--cidr-block", "10.1.0.0/16")["Vpc"]["VpcId"]
    subnet = aws(cloud, "ec2", "create-subnet", "--vpc-id", provider, "--cidr-block", "10.1.1.0/24",
                 "--availability-zone", "us-east-1a")["Subnet"]["SubnetId"]
    appliance = instance(cloud, provider, subnet)["InstanceId"]
    balancer = aws(cloud, "elbv2", "create-load-balancer", "--name", "my-load-balancer",
                   "--type", "gateway", "--subnets", subnet)["LoadBalancers"][0]["LoadBalancerArn"]
    targets = aws(cloud, "elbv2", "create-target-group", "--name", "my-targets",
                  "--protocol", "GENEVE", "--port", "6081", "--vpc-id", provider,
                  "--health-check-interval-seconds", "6", "--healthy-threshold-count", "2")
    targets = targets["TargetGroups"][0]["TargetGroupArn"]
    aws(cloud, "elbv2", "register-targets", "--target-group-arn", targets,
        "--targets", f"Id={appliance}")
    aws(cloud, "elbv2", "create-listener", "--load-balancer-arn", balancer,
        "--default-actions", f"Type=forward,TargetGroupArn={targets}")

    # Step 2: its endpoint in the consumer's VPC.
    service = aws(cloud, "ec2", "create-vpc-endpoint-service-configuration",
                  "--gateway-load-balancer-arns", balancer, "--no-acceptance-required")
    service = service["ServiceConfiguration"]
    endpoint = aws(cloud, "ec2", "create-vpc-endpoint", "--service-name", service["ServiceName"],
                   "--vpc-endpoint-type", "GatewayLoadBalancer", "--vpc-id", vpc,
                   "--subnet-ids", endpoint_subnet)["VpcEndpoint"]
    check(endpoint["State"] == "available", endpoint)
    endpoint = endpoint["VpcEndpointId"]

    # Step 3: routes both ways lead to it, and nothing passes until the appliance runs.
    aws(cloud, "ec2", "create-route", "--route-table-id", edge_table,
        "--destination-cidr-block", "10.0.1.0/24", "--vpc-endpoint-id", endpoint)
    aws(cloud, "ec2", "replace-route", "--route-table-id", application_table,
        "--destination-cidr-block", "0.0.0.0/0", "--vpc-endpoint-id", endpoint)
    application.cannot_reach(VISITOR)
    program = cloud.lab.start(*cloud.lab.argv(
        appliance, harness.VPCLAB, "appliance", "--drop", "tcp:81"), stdout=subprocess.DEVNULL)
    try:
        healthy(cloud, targets)
        check(application.reaches(VISITOR) == public, "another address on the way out")
        cloud.visitor.reaches(public)
        # The appliance decides.
        application.cannot_reach(VISITOR, 81)
        cloud.visitor.cannot_reach(public, 81)
    finally:
        cloud.lab.stop(program)
    application.cannot_reach(VISITOR)

    # Past the appliance again, and everything goes.
    done = aws(cloud, "ec2", "delete-vpc-endpoints", "--vpc-endpoint-ids", endpoint)
    check(done["Unsuccessful"][0]["ResourceId"] == endpoint, f"routes lead to it: {done}")
    gateway = aws(cloud, "ec2", "describe-internet-gateways", "--query",
                  "InternetGateways[0].InternetGatewayId")
    aws(cloud, "ec2", "delete-route", "--route-table-id", edge_table,
        "--destination-cidr-block", "10.0.1.0/24")
    aws(cloud, "ec2", "replace-route", "--route-table-id", application_table,
        "--destination-cidr-block", "0.0.0.0/0", "--gateway-id", gateway)
    application.reaches(VISITOR, 81)
    done = aws(cloud, "ec2", "delete-vpc-endpoints", "--vpc-endpoint-ids", endpoint)
    check(not done.get("Unsuccessful"), done)
    aws(cloud, "ec2", "delete-vpc-endpoint-service-configurations", "--service-ids",
        service["ServiceId"])
    aws(cloud, "elbv2", "delete-load-balancer", "--load-balancer-arn", balancer)
    aws(cloud, "elbv2", "delete-target-group", "--target-group-arn", targets)


CHECKS = [gwlb]

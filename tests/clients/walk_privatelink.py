"""AWS's walk-through "Share your services through AWS PrivateLink", by the AWS CLI
alone: a provider's service behind a network load balancer, a consumer in another
account, whose VPC has the same addresses."""

import json

from cloud import ACCOUNT, OTHER_ACCOUNT, check, wait

ANYWHERE = ("--protocol", "tcp", "--port", "80", "--cidr", "0.0.0.0/0")


def aws(cloud, *words, account=ACCOUNT):
    done = cloud.cli(*words, account=account)
    check(done.returncode == 0, f"aws {' '.join(words)}: {done.stderr.strip()}")
    return json.loads(done.stdout) if done.stdout.strip() else {}


def network(cloud, account):
    """A VPC with a subnet and an instance that takes web traffic."""
    def run(*words):
        return aws(cloud, "ec2", *words, account=account)

    vpc = run("create-vpc", "--cidr-block", "10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = run("create-subnet", "--vpc-id", vpc, "--cidr-block", "10.0.1.0/24",
                 "--availability-zone", "us-east-1a")["Subnet"]["SubnetId"]
    group = run("create-security-group", "--group-name", "web", "--description", "web",
                "--vpc-id", vpc)["GroupId"]
    run("authorize-security-group-ingress", "--group-id", group, *ANYWHERE)
    made = run("run-instances", "--image-id", "ami-12345678", "--subnet-id", subnet,
               "--security-group-ids", group)["Instances"][0]
    return vpc, subnet, group, cloud.host(made)


def healthy(cloud, group):
    """Waits for a target group's one target. (The CLI would take a second to ask.)"""
    def states():
        found = cloud.client("elbv2").describe_target_health(TargetGroupArn=group)
        return [it["TargetHealth"]["State"] for it in found["TargetHealthDescriptions"]]
    wait("the target is healthy", lambda: states() == ["healthy"])


def service(cloud, vpc, subnet, server):
    """Step 1: a network load balancer before the server, and a service of it."""
    balancer = aws(cloud, "elbv2", "create-load-balancer", "--name", "service", "--type", "network",
                   "--scheme", "internal", "--subnets", subnet)["LoadBalancers"][0]
    balancer = balancer["LoadBalancerArn"]
    group = aws(cloud, "elbv2", "create-target-group", "--name", "servers", "--protocol", "TCP",
                "--port", "80", "--vpc-id", vpc, "--health-check-interval-seconds", "5",
                "--health-check-timeout-seconds", "2", "--healthy-threshold-count", "2")
    group = group["TargetGroups"][0]["TargetGroupArn"]
    aws(cloud, "elbv2", "register-targets", "--target-group-arn", group, "--targets",
        f"Id={server.name}")
    aws(cloud, "elbv2", "create-listener", "--load-balancer-arn", balancer, "--protocol", "TCP",
        "--port", "80", "--default-actions", f"Type=forward,TargetGroupArn={group}")
    healthy(cloud, group)
    made = aws(cloud, "ec2", "create-vpc-endpoint-service-configuration",
               "--network-load-balancer-arns", balancer, "--acceptance-required")
    made = made["ServiceConfiguration"]
    check(made["ServiceState"] == "Available" and made["AcceptanceRequired"], made)
    return balancer, group, made["ServiceId"], made["ServiceName"]


def privatelink(cloud):
    cloud.client("ec2", OTHER_ACCOUNT)  # to be emptied afterwards
    vpc, subnet, _, server = network(cloud, ACCOUNT)
    balancer, targets, service_id, name = service(cloud, vpc, subnet, server)
    vpc, subnet, group, client = network(cloud, OTHER_ACCOUNT)

    def consumer(*words):
        return aws(cloud, "ec2", *words, account=OTHER_ACCOUNT)

    create = ("create-vpc-endpoint", "--vpc-endpoint-type", "Interface", "--vpc-id", vpc,
              "--service-name", name, "--subnet-ids", subnet, "--security-group-ids", group)
    done = cloud.cli("ec2", *create, account=OTHER_ACCOUNT)
    check("(InvalidServiceName)" in done.stderr, f"without permission: {done.stderr}")

    # Step 2: the consumer may, asks, and waits.
    aws(cloud, "ec2", "modify-vpc-endpoint-service-permissions", "--service-id", service_id,
        "--add-allowed-principals", f"arn:aws:iam::{OTHER_ACCOUNT}:root")
    offered = consumer("describe-vpc-endpoint-services", "--service-names", name)
    check(offered["ServiceDetails"][0]["Owner"] == ACCOUNT, offered)
    made = consumer(*create)["VpcEndpoint"]
    check(made["State"] == "pendingAcceptance", made)
    endpoint, (eni,) = made["VpcEndpointId"], made["NetworkInterfaceIds"]
    eni = consumer("describe-network-interfaces", "--network-interface-ids", eni)
    eni = eni["NetworkInterfaces"][0]
    check(eni["RequesterManaged"] and eni["InterfaceType"] == "vpc_endpoint", eni)
    ip = eni["PrivateIpAddress"]
    client.cannot_reach(ip)

    # Step 3: the provider accepts. The server sees the load balancer, not the client.
    waiting = aws(cloud, "ec2", "describe-vpc-endpoint-connections", "--filters",
                  "Name=vpc-endpoint-state,Values=pendingAcceptance")["VpcEndpointConnections"]
    check([(it["VpcEndpointId"], it["VpcEndpointOwner"]) for it in waiting]
          == [(endpoint, OTHER_ACCOUNT)], waiting)
    decide = ("--service-id", service_id, "--vpc-endpoint-ids", endpoint)
    done = aws(cloud, "ec2", "accept-vpc-endpoint-connections", *decide)
    check(not done.get("Unsuccessful"), done)
    state = consumer("describe-vpc-endpoints", "--vpc-endpoint-ids", endpoint,
                     "--query", "VpcEndpoints[0].State")
    check(state == "available", state)
    node = aws(cloud, "ec2", "describe-network-interfaces", "--filters",
               "Name=description,Values=ELB net/service/*",
               "--query", "NetworkInterfaces[0].PrivateIpAddress")
    check(client.reaches(ip) == node, "the server has not seen the load balancer's node")

    # The endpoint's security group counts, and taking a permission away cuts nobody.
    rule = ("--group-id", group, *ANYWHERE)
    consumer("revoke-security-group-ingress", *rule)
    client.cannot_reach(ip)
    consumer("authorize-security-group-ingress", *rule)
    client.reaches(ip)
    aws(cloud, "ec2", "modify-vpc-endpoint-service-permissions", "--service-id", service_id,
        "--remove-allowed-principals", f"arn:aws:iam::{OTHER_ACCOUNT}:root")
    client.reaches(ip)

    # Step 4: rejected, traffic stops; then everything goes.
    aws(cloud, "ec2", "reject-vpc-endpoint-connections", *decide)
    client.cannot_reach(ip)
    done = consumer("delete-vpc-endpoints", "--vpc-endpoint-ids", endpoint)
    check(not done.get("Unsuccessful"), done)
    done = aws(cloud, "ec2", "delete-vpc-endpoint-service-configurations", "--service-ids",
               service_id)
    check(not done.get("Unsuccessful"), done)
    aws(cloud, "elbv2", "delete-load-balancer", "--load-balancer-arn", balancer)
    aws(cloud, "elbv2", "delete-target-group", "--target-group-arn", targets)


CHECKS = [privatelink]

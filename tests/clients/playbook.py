"""Ansible's collections amazon.aws and community.aws, unchanged: apply, apply
again, tear down."""

import json
import os
import pathlib
import sys

import harness
from cloud import ACCOUNT, HERE, OTHER_ACCOUNT, REGION, SHOWN, check, filters

VENV = pathlib.Path(sys.executable).parent
COLLECTIONS = harness.ROOT / "target/clients/collections"


def play(cloud, directory, *options):
    """Runs the playbook; what changed, by task."""
    environment = {
        "PATH": f"{VENV}:{os.environ['PATH']}", "HOME": str(directory), "LC_ALL": "C.UTF-8",
        "AWS_ENDPOINT_URL": cloud.url, "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": REGION,
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable, "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False", "ANSIBLE_RETRY_FILES_ENABLED": "False",
    }
    done = harness.sh(sys.executable, VENV / "ansible-playbook", HERE / "ansible/network.yaml",
                      *options, env=environment, timeout=180)
    check(done.stdout.startswith("{"), f"ansible-playbook: {done.stdout}{done.stderr}")
    report = json.loads(done.stdout)
    why = [f"{task['task']['name']}: {host.get('msg')}"
           for play in report["plays"] for task in play["tasks"] for host in task["hosts"].values()
           if host.get("failed")]
    check(done.returncode == 0, f"ansible-playbook: {why}")
    return {task["task"]["name"]: task["hosts"]["localhost"].get("changed", False)
            for play in report["plays"] for task in play["tasks"] if "localhost" in task["hosts"]}


def service(cloud):
    """An endpoint service of another account, which lets ours in. Ansible has no module
    that makes one."""
    ec2, elb = cloud.client("ec2", OTHER_ACCOUNT), cloud.client("elbv2", OTHER_ACCOUNT)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    balancer = elb.create_load_balancer(Name="theirs", Type="network", Scheme="internal",
                                        Subnets=[subnet])["LoadBalancers"][0]
    made = ec2.create_vpc_endpoint_service_configuration(
        NetworkLoadBalancerArns=[balancer["LoadBalancerArn"]],
        AcceptanceRequired=False)["ServiceConfiguration"]
    ec2.modify_vpc_endpoint_service_permissions(
        ServiceId=made["ServiceId"], AddAllowedPrincipals=[f"arn:aws:iam::{ACCOUNT}:root"])
    return made["ServiceName"]


def a_playbook_is_applied_twice_and_torn_down(cloud):
    with harness.temporary() as directory:
        offered = "-e", f"service={service(cloud)}"
        first = play(cloud, directory, *offered)
        made = ["VPC", "Subnets", "Network ACL of the application", "DHCP options", "Target group",
                "Network load balancer", "Endpoint of a service"]
        check(all(first[name] for name in made), first)
        vpc = cloud.ec2.describe_vpcs(Filters=filters(**{"tag:Name": "tiers"}))["Vpcs"][0]["VpcId"]
        before = everything(cloud, vpc)
        again = [name for name, changed in play(cloud, directory, *offered).items() if changed]
        check(again == [], f"applied again, it changes {again}")
        check(everything(cloud, vpc) == before, "applied again, something else is there")
        play(cloud, directory, "-e", "state=absent", *offered)
        elb = cloud.client("elbv2")
        left = [cloud.ec2.describe_vpcs()["Vpcs"], cloud.ec2.describe_vpc_endpoints()["VpcEndpoints"],
                elb.describe_load_balancers()["LoadBalancers"],
                elb.describe_target_groups()["TargetGroups"],
                cloud.ec2.describe_dhcp_options(Filters=filters(key="ntp-servers"))["DhcpOptions"]]
        check(left == [[]] * 5, f"still there: {left}")
        left = [tag for tag in cloud.ec2.describe_tags()["Tags"] if tag["ResourceType"] not in SHOWN]
        check(left == [], f"left behind: {left}")


def everything(cloud, vpc):
    """What the playbook made."""
    inside = filters(vpc_id=vpc)
    elb = cloud.client("elbv2")
    return [cloud.ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"],
            cloud.ec2.describe_vpc_endpoints(Filters=inside)["VpcEndpoints"],
            elb.describe_load_balancers()["LoadBalancers"],
            elb.describe_target_groups()["TargetGroups"],
            cloud.ec2.describe_subnets(Filters=inside)["Subnets"],
            cloud.ec2.describe_route_tables(Filters=inside)["RouteTables"],
            cloud.ec2.describe_security_groups(Filters=inside)["SecurityGroups"],
            cloud.ec2.describe_network_acls(Filters=inside)["NetworkAcls"],
            cloud.ec2.describe_network_interfaces(Filters=inside)["NetworkInterfaces"]]


CHECKS = [a_playbook_is_applied_twice_and_torn_down]

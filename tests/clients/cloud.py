"""A lab as AWS's clients see it: boto3 and the CLI, instances, and packets
between them."""

import contextlib
import json
import os
import pathlib
import select
import subprocess
import sys

import boto3
import botocore.config
import botocore.exceptions

import harness
from harness import check, wait

HERE = pathlib.Path(__file__).resolve().parent
AGENT = HERE / "agent.py"
ACCOUNT = "111122223333"
OTHER_ACCOUNT = "444455556666"
REGION = "us-east-1"
# Long enough for a packet that comes; short, as those that do not are waited for.
SOON = 0.4
PATIENT = 3.0
# What the checks call for: on a whole internet, one host.
TOPOLOGY = """
name: clients
# Health checks and delays take no longer than needed.
time_scale: 20
internet:
  hosts:
    visitor:
      addresses: 203.0.113.7
on_prem:
  office:
    cidrs: 192.168.0.0/16
    router: 198.51.100.1
    hosts:
      office:
        addresses: 192.168.1.8
"""
VISITOR = "203.0.113.7"
OFFICE = "192.168.1.8"
OFFICE_ROUTER = "198.51.100.1"


class Host:
    """A host of the lab with our agent inside."""

    def __init__(self, cloud, name, ip=None, eni=None):
        self.cloud, self.name, self.ip, self.eni = cloud, name, ip, eni
        self.agent = None
        self.start()

    def start(self):
        argv = self.cloud.lab.argv(self.name, sys.executable, "-I", AGENT)
        self.agent = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.DEVNULL)
        check(self.answer() == "ready", f"no agent in {self.name}")
        self.ask("listen", 80)
        self.ask("listen", 81)

    def ask(self, *command):
        self.agent.stdin.write(json.dumps(command).encode() + b"\n")
        self.agent.stdin.flush()
        return self.answer()

    def answer(self):
        ready, _, _ = select.select([self.agent.stdout], [], [], harness.DEADLINE)
        line = self.agent.stdout.readline() if ready else b""
        check(line, f"{self.name} does not answer: is it still there?")
        return json.loads(line)

    def stop(self):
        self.agent.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.agent.wait(harness.DEADLINE)
        self.agent.kill()
        self.agent.wait()
        self.agent.stdout.close()

    def connect(self, ip, port=80, seconds=SOON, source=None):
        """The address that the server has seen, or why there is none."""
        return self.ask("connect", ip, port, seconds, source)

    def reaches(self, ip, port=80, source=None):
        """It must; gives the address that the server has seen."""
        seen = self.connect(ip, port, PATIENT, source)
        check(is_address(seen), f"{self.name} to {ip}:{port}: {seen}")
        return seen

    def cannot_reach(self, ip, port=80, source=None):
        seen = self.connect(ip, port, source=source)
        check(seen in ("timeout", "error: No route to host", "error: Network is unreachable"),
              f"{self.name} to {ip}:{port}: {seen}, but nothing may come")

    def pings(self, ip):
        done = self.cloud.lab.exec(self.name, "ping", "-c", 1, "-W", 1, ip)
        return done.returncode == 0


def is_address(seen):
    return "." in seen or ":" in seen and not seen.startswith("error")


class Cloud:
    """The lab, its clients, and what they made."""

    def __init__(self, lab, url):
        self.lab, self.url = lab, url
        listed = harness.vpclab("aws-actions")
        check(listed.returncode == 0, listed.stderr)
        self.actions = listed.stdout.splitlines()
        self.hosts = {}
        self.calls = {}  # "ec2 CreateVpc": {"ok" or the error's code}
        self.requests = []  # bodies, for the hostile
        self.recording = False
        self.clients = {}
        self.ec2 = self.client("ec2")
        self.sts = self.client("sts")
        self.visitor = Host(self, "visitor", VISITOR)
        self.office = Host(self, "office", OFFICE)

    def client(self, service, account=ACCOUNT, region=REGION):
        """A client of an account (its access key) in a region."""
        key = service, account, region
        if key not in self.clients:
            # The hostile send what boto3 itself would refuse.
            config = botocore.config.Config(
                retries={"total_max_attempts": 1}, parameter_validation=False, read_timeout=20)
            session = boto3.Session(aws_access_key_id=account, aws_secret_access_key="secret",
                                    region_name=region)
            client = session.client(service, endpoint_url=self.url, config=config)
            client.meta.events.register("after-call", self.record)
            client.meta.events.register("before-send", self.keep)
            self.clients[key] = client
        return self.clients[key]

    def record(self, model, parsed, **_):
        if self.recording:
            code = parsed.get("Error", {}).get("Code", "ok")
            action = f"{model.service_model.service_name} {model.name}"
            self.calls.setdefault(action, set()).add(code)

    def keep(self, request, **_):
        if self.recording:
            self.requests.append((dict(request.headers), request.body))

    def refused(self, code, action, **parameters):
        """The call must fail with this code. Gives the message."""
        client = parameters.pop("client", self.ec2)
        try:
            answer = getattr(client, action)(**parameters)
        except botocore.exceptions.ClientError as error:
            found = error.response["Error"]
            check(found["Code"] == code, f"{action}: {found}, not {code}")
            return found["Message"]
        answer.pop("ResponseMetadata")
        raise harness.Failed(f"{action} {parameters} went well, with {answer}, not {code}")

    def cli(self, *words, account=ACCOUNT, region=REGION):
        """`aws WORDS`, as a user would run it."""
        environment = {
            "PATH": os.environ["PATH"], "HOME": "/nonexistent", "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": account, "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": region, "AWS_MAX_ATTEMPTS": "1", "AWS_DEFAULT_OUTPUT": "json",
        }
        aws = pathlib.Path(sys.executable).with_name("aws")
        return harness.sh(sys.executable, aws, *words, env=environment)

    # Resources, by their ids.

    def vpc(self, cidr="10.0.0.0/16", **more):
        return self.ec2.create_vpc(CidrBlock=cidr, **more)["Vpc"]["VpcId"]

    def subnet(self, vpc, cidr="10.0.1.0/24", **more):
        made = self.ec2.create_subnet(VpcId=vpc, CidrBlock=cidr, **more)
        return made["Subnet"]["SubnetId"]

    def group(self, vpc, name="open", allow=True):
        """A security group that lets everything in, or nothing."""
        group = self.ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)
        group = group["GroupId"]
        if allow:
            self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[ANYTHING])
        return group

    def gateway(self, vpc):
        """An internet gateway, attached."""
        gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
        return gateway

    def main_table(self, vpc):
        tables = self.ec2.describe_route_tables(Filters=[
            {"Name": "vpc-id", "Values": [vpc]}, {"Name": "association.main", "Values": ["true"]}])
        return tables["RouteTables"][0]

    def run(self, subnet, *groups, **more):
        """Runs an instance, with our agent inside."""
        if "NetworkInterfaces" not in more:
            more |= {"SubnetId": subnet, "SecurityGroupIds": list(groups)}
        made = self.ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1, **more)
        return self.host(made["Instances"][0])

    def host(self, instance):
        name = instance["InstanceId"]
        first = instance["NetworkInterfaces"][0]
        host = Host(self, name, first["PrivateIpAddress"], first["NetworkInterfaceId"])
        self.hosts[name] = host
        return host

    def elastic(self, eni=None):
        """An elastic address: allocation and address."""
        made = self.ec2.allocate_address(Domain="vpc")
        if eni:
            self.ec2.associate_address(AllocationId=made["AllocationId"], NetworkInterfaceId=eni)
        return made["AllocationId"], made["PublicIp"]

    def wipe(self):
        """Deletes everything, in the order that dependencies ask for."""
        recording, self.recording = self.recording, False
        for host in self.hosts.values():
            host.stop()
        self.hosts = {}
        ours = [self.clients[key] for key in self.clients if key[0] == "ec2"]
        if "ec2 CreateVpcEndpoint" not in self.actions:
            ours = []
        # Consumers of a service before those who offer it.
        for ec2 in ours:
            found = ec2.describe_vpc_endpoints()["VpcEndpoints"]
            if found:
                ec2.delete_vpc_endpoints(VpcEndpointIds=[it["VpcEndpointId"] for it in found])
        for ec2 in ours:
            for it in ec2.describe_vpc_peering_connections()["VpcPeeringConnections"]:
                if it["Status"]["Code"] in ("pending-acceptance", "active"):
                    ec2.delete_vpc_peering_connection(
                        VpcPeeringConnectionId=it["VpcPeeringConnectionId"])
        for ec2 in ours:
            found = ec2.describe_vpc_endpoint_service_configurations()["ServiceConfigurations"]
            if found:
                ec2.delete_vpc_endpoint_service_configurations(
                    ServiceIds=[it["ServiceId"] for it in found])
        for service, account, region in sorted(self.clients, reverse=True):
            if service == "elbv2":
                wipe_balancers(self.client("elbv2", account, region))
            if service == "ec2":
                wipe(self.client("ec2", account, region))
        self.recording = recording


def wipe_balancers(elb):
    for made in elb.describe_load_balancers()["LoadBalancers"]:
        arn = made["LoadBalancerArn"]
        elb.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=[
            {"Key": "deletion_protection.enabled", "Value": "false"}])
        elb.delete_load_balancer(LoadBalancerArn=arn)
    for made in elb.describe_target_groups()["TargetGroups"]:
        elb.delete_target_group(TargetGroupArn=made["TargetGroupArn"])


def wipe(ec2):
    # Whatever follows, an interface goes with its instance.
    for instance in instances(ec2):
        name = instance["InstanceId"]
        ec2.modify_instance_attribute(InstanceId=name, DisableApiTermination={"Value": False})
        ec2.terminate_instances(InstanceIds=[name])
    for made in ec2.describe_nat_gateways()["NatGateways"]:
        ec2.delete_nat_gateway(NatGatewayId=made["NatGatewayId"])
    for address in ec2.describe_addresses()["Addresses"]:
        if "AssociationId" in address:
            ec2.disassociate_address(AssociationId=address["AssociationId"])
        ec2.release_address(AllocationId=address["AllocationId"])
    for eni in ec2.describe_network_interfaces()["NetworkInterfaces"]:
        ec2.delete_network_interface(NetworkInterfaceId=eni["NetworkInterfaceId"])
    for table in ec2.describe_route_tables()["RouteTables"]:
        main = any(it["Main"] for it in table["Associations"])
        for it in table["Associations"]:
            if not it["Main"]:
                ec2.disassociate_route_table(AssociationId=it["RouteTableAssociationId"])
        if not main:
            ec2.delete_route_table(RouteTableId=table["RouteTableId"])
    for gateway in ec2.describe_internet_gateways()["InternetGateways"]:
        for held in gateway["Attachments"]:
            ec2.detach_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"],
                                        VpcId=held["VpcId"])
        ec2.delete_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"])
    for it in ec2.describe_vpn_connections()["VpnConnections"]:
        ec2.delete_vpn_connection(VpnConnectionId=it["VpnConnectionId"])
    for it in ec2.describe_customer_gateways()["CustomerGateways"]:
        ec2.delete_customer_gateway(CustomerGatewayId=it["CustomerGatewayId"])
    for gateway in ec2.describe_vpn_gateways()["VpnGateways"]:
        for held in gateway["VpcAttachments"]:
            ec2.detach_vpn_gateway(VpnGatewayId=gateway["VpnGatewayId"], VpcId=held["VpcId"])
        ec2.delete_vpn_gateway(VpnGatewayId=gateway["VpnGatewayId"])
    for subnet in ec2.describe_subnets()["Subnets"]:
        ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    groups = ec2.describe_security_groups()["SecurityGroups"]
    for group in groups:
        if group["IpPermissions"]:
            ec2.revoke_security_group_ingress(GroupId=group["GroupId"],
                                              IpPermissions=group["IpPermissions"])
        if group["IpPermissionsEgress"]:
            ec2.revoke_security_group_egress(GroupId=group["GroupId"],
                                             IpPermissions=group["IpPermissionsEgress"])
    for group in groups:
        if group["GroupName"] != "default":
            ec2.delete_security_group(GroupId=group["GroupId"])
    for acl in ec2.describe_network_acls()["NetworkAcls"]:
        if not acl["IsDefault"]:
            ec2.delete_network_acl(NetworkAclId=acl["NetworkAclId"])
    for vpc in ec2.describe_vpcs()["Vpcs"]:
        ec2.delete_vpc(VpcId=vpc["VpcId"])
    for each in ec2.describe_dhcp_options()["DhcpOptions"]:
        ec2.delete_dhcp_options(DhcpOptionsId=each["DhcpOptionsId"])
    for each in ec2.describe_managed_prefix_lists()["PrefixLists"]:
        if each["OwnerId"] == "AWS":
            continue
        ec2.delete_managed_prefix_list(PrefixListId=each["PrefixListId"])
    left = {
        "network interfaces": ec2.describe_network_interfaces()["NetworkInterfaces"],
        "security groups": ec2.describe_security_groups()["SecurityGroups"],
        "route tables": ec2.describe_route_tables()["RouteTables"],
        "ACLs": ec2.describe_network_acls()["NetworkAcls"],
        "tags": [tag for tag in ec2.describe_tags()["Tags"] if tag["ResourceType"] not in SHOWN],
    }
    left = {kind: found for kind, found in left.items() if found}
    check(not left, f"left after everything is deleted: {left}")


# AWS shows these for an hour or two after their end.
SHOWN = ("instance", "vpc-peering-connection")


def instances(ec2):
    """Those that are not terminated."""
    found = ec2.describe_instances()["Reservations"]
    return [one for made in found for one in made["Instances"]
            if one["State"]["Name"] != "terminated"]


ANYTHING = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}


def tcp(port, cidr="0.0.0.0/0", to=None):
    """A permission."""
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": to or port,
            "IpRanges": [{"CidrIp": cidr}]}


def filters(**wanted):
    """`vpc_id=…` as the API wants it."""
    return [{"Name": name.replace("_", "-"), "Values": [value] if isinstance(value, str) else value}
            for name, value in wanted.items()]


@contextlib.contextmanager
def cloud(name="clients", *options):
    with harness.topology(TOPOLOGY) as file:
        lab = harness.Lab(name, file)
        try:
            answer = json.loads(lab.up("--http", "0", "--json", *options))
            it = Cloud(lab, answer["http"])
            try:
                yield it
            finally:
                it.visitor.stop()
                it.office.stop()
        finally:
            lab.down()


__all__ = ["ACCOUNT", "ANYTHING", "Cloud", "Host", "OFFICE", "OFFICE_ROUTER", "OTHER_ACCOUNT",
           "REGION", "SHOWN", "VISITOR", "check", "cloud", "filters", "instances", "tcp", "wait"]

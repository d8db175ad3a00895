"""Network load balancers: listeners, targets and their health, with packets."""

import sys

import refusals
from cloud import check, wait

NOBODY = "0123456789abcdef"
ARN = "arn:aws:elasticloadbalancing:us-east-1:111122223333:"
BALANCER = f"{ARN}loadbalancer/net/nobody/{NOBODY}"
GROUP = f"{ARN}targetgroup/nobody/{NOBODY}"
LISTENER = f"{ARN}listener/net/nobody/{NOBODY}/{NOBODY}"


def world(cloud):
    """A client, two servers, and a target group of none."""
    elb = cloud.client("elbv2")
    vpc = cloud.vpc()
    subnet, group = cloud.subnet(vpc), cloud.group(vpc)
    hosts = [cloud.run(subnet, group) for _ in range(3)]
    made = elb.create_target_group(
        Name="web", Protocol="TCP", Port=80, VpcId=vpc, TargetType="instance",
        HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=2, HealthyThresholdCount=2,
        UnhealthyThresholdCount=2)
    target_group = made["TargetGroups"][0]["TargetGroupArn"]
    return elb, vpc, subnet, group, hosts, target_group


def balancer(elb, *subnets, **more):
    made = elb.create_load_balancer(
        Name="front", Type="network", Scheme="internal", Subnets=list(subnets), **more)
    return made["LoadBalancers"][0]


def node(cloud, name):
    """The balancer's address: that of the interface that AWS makes for it."""
    found = cloud.ec2.describe_network_interfaces(Filters=[
        {"Name": "description", "Values": [f"ELB net/{name}/*"]}])["NetworkInterfaces"]
    check(len(found) == 1 and found[0]["RequesterManaged"], found)
    return found[0]["PrivateIpAddress"]


def health(elb, group):
    found = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    return {it["Target"]["Id"]: it["TargetHealth"]["State"] for it in found}


def healthy(elb, group, *hosts):
    wait("the targets are healthy",
         lambda: all(health(elb, group).get(it.name) == "healthy" for it in hosts))


def listen(elb, arn, group, port=80):
    made = elb.create_listener(
        LoadBalancerArn=arn, Protocol="TCP", Port=port,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}])
    return made["Listeners"][0]["ListenerArn"]


def a_balancer_is_made_used_and_deleted(cloud):
    elb, _, subnet, _, (client, one, two), group = world(cloud)
    made = balancer(elb, subnet)
    arn = made["LoadBalancerArn"]
    check(made["Type"] == "network" and made["DNSName"].startswith("front-"), made)
    found = elb.describe_load_balancers(Names=["front"])["LoadBalancers"][0]
    check(found["LoadBalancerArn"] == arn and found["State"]["Code"] == "active", found)
    ip = node(cloud, "front")
    client.cannot_reach(ip)
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": one.name}])
    listener = listen(elb, arn, group)
    healthy(elb, group, one)
    client.reaches(ip)
    found = elb.describe_target_groups(LoadBalancerArn=arn)["TargetGroups"]
    check([it["TargetGroupArn"] for it in found] == [group], found)
    cloud.refused("DuplicateListener", "create_listener", client=elb, LoadBalancerArn=arn,
                  Protocol="TCP", Port=80,
                  DefaultActions=[{"Type": "forward", "TargetGroupArn": group}])
    cloud.refused("ResourceInUse", "delete_target_group", client=elb, TargetGroupArn=group)
    elb.modify_listener(ListenerArn=listener, Port=81)
    client.cannot_reach(ip)
    client.reaches(ip, 81)
    # The other server takes over.
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": two.name}])
    healthy(elb, group, one, two)
    elb.deregister_targets(TargetGroupArn=group, Targets=[{"Id": one.name}])
    for _ in range(5):
        client.reaches(ip, 81)
    elb.deregister_targets(TargetGroupArn=group, Targets=[{"Id": two.name}])
    check(client.connect(ip, 81) in ("timeout", "error: Connection refused"), "without a target")
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": one.name}])
    healthy(elb, group, one)
    client.reaches(ip, 81)
    found = elb.describe_listeners(LoadBalancerArn=arn)["Listeners"]
    check([it["ListenerArn"] for it in found] == [listener], found)
    elb.delete_listener(ListenerArn=listener)
    client.cannot_reach(ip, 81)
    elb.delete_load_balancer(LoadBalancerArn=arn)
    cloud.refused("LoadBalancerNotFound", "describe_load_balancers", client=elb,
                  LoadBalancerArns=[arn])
    elb.delete_target_group(TargetGroupArn=group)
    cloud.refused("TargetGroupNotFound", "describe_target_groups", client=elb,
                  TargetGroupArns=[group])


def its_groups_and_subnets_are_replaced(cloud):
    elb, vpc, subnet, open_group, (client, one, _), group = world(cloud)
    closed = cloud.group(vpc, "closed", allow=False)
    arn = balancer(elb, subnet, SecurityGroups=[closed])["LoadBalancerArn"]
    ip = node(cloud, "front")
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": one.name}])
    listen(elb, arn, group)
    healthy(elb, group, one)
    client.cannot_reach(ip)
    done = elb.set_security_groups(LoadBalancerArn=arn, SecurityGroups=[open_group])
    check(done["SecurityGroupIds"] == [open_group], done)
    client.reaches(ip)
    other = cloud.subnet(vpc, "10.0.2.0/24", AvailabilityZone="us-east-1b")
    done = elb.set_subnets(LoadBalancerArn=arn, Subnets=[subnet, other])
    check({it["SubnetId"] for it in done["AvailabilityZones"]} == {subnet, other}, done)
    check(elb.set_ip_address_type(LoadBalancerArn=arn, IpAddressType="ipv4")["IpAddressType"]
          == "ipv4", "another address type")
    found = cloud.ec2.describe_network_interfaces(Filters=[
        {"Name": "subnet-id", "Values": [other]}])["NetworkInterfaces"]
    there = found[0]["PrivateIpAddress"]
    # No target is in its zone until it may cross zones.
    check(client.connect(there) in ("timeout", "error: Connection refused"), "across zones")
    done = elb.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=[
        {"Key": "load_balancing.cross_zone.enabled", "Value": "true"}])
    check({"Key": "load_balancing.cross_zone.enabled", "Value": "true"} in done["Attributes"], done)
    client.reaches(there)


def attributes_tags_and_limits(cloud):
    elb, _, subnet, _, _, group = world(cloud)
    arn = balancer(elb, subnet)["LoadBalancerArn"]
    listener = listen(elb, arn, group)
    for kind, name, key, value in (
            ("load_balancer", {"LoadBalancerArn": arn}, "deletion_protection.enabled", "true"),
            ("target_group", {"TargetGroupArn": group}, "deregistration_delay.timeout_seconds", "7"),
            ("listener", {"ListenerArn": listener}, "tcp.idle_timeout.seconds", "100")):
        getattr(elb, f"modify_{kind}_attributes")(
            **name, Attributes=[{"Key": key, "Value": value}])
        found = getattr(elb, f"describe_{kind}_attributes")(**name)["Attributes"]
        check({"Key": key, "Value": value} in found, found)
    cloud.refused("OperationNotPermitted", "delete_load_balancer", client=elb, LoadBalancerArn=arn)
    elb.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=[
        {"Key": "deletion_protection.enabled", "Value": "false"}])
    done = elb.modify_target_group(TargetGroupArn=group, HealthCheckPort="81")
    check(done["TargetGroups"][0]["HealthCheckPort"] == "81", done)
    elb.add_tags(ResourceArns=[arn, group], Tags=[{"Key": "a", "Value": "1"},
                                                  {"Key": "b", "Value": "2"}])
    elb.remove_tags(ResourceArns=[arn], TagKeys=["b"])
    found = elb.describe_tags(ResourceArns=[arn, group])["TagDescriptions"]
    found = {it["ResourceArn"]: sorted(tag["Key"] for tag in it["Tags"]) for it in found}
    check(found == {arn: ["a"], group: ["a", "b"]}, found)
    check(elb.describe_account_limits()["Limits"], "no limits")
    elb.describe_capacity_reservation(LoadBalancerArn=arn)


ECHO = """
import socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(64):
            self.request.sendall(data)
socketserver.ThreadingTCPServer.daemon_threads = True
socketserver.ThreadingTCPServer(("", 90), Echo).serve_forever()
"""
# A word, silence, another word: how the second is answered.
SILENT = """
import socket, sys, time
with socket.create_connection((sys.argv[1], 90), 5) as it:
    it.sendall(b"a")
    it.recv(1)
    time.sleep(float(sys.argv[2]))
    try:
        it.sendall(b"b")
        print(it.recv(1).decode() or "closed")
    except ConnectionResetError:
        print("reset")
"""
# 60 s of the lab's clock, and some more.
SILENCE = 60 / 20 + 0.6


def a_listener_forgets_silent_connections(cloud):
    elb, _, subnet, _, (client, one, _), group = world(cloud)
    arn = balancer(elb, subnet)["LoadBalancerArn"]
    cloud.lab.start(*cloud.lab.argv(one.name, sys.executable, "-I", "-c", ECHO))
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": one.name, "Port": 90}])
    listener = listen(elb, arn, group, 90)
    healthy(elb, group, one)
    answer = lambda: cloud.lab.exec(client.name, sys.executable, "-I", "-c", SILENT,
                                    node(cloud, "front"), SILENCE).stdout.strip()
    check(answer() == "b", "forgotten before 350 s")
    elb.modify_listener_attributes(ListenerArn=listener, Attributes=[
        {"Key": "tcp.idle_timeout.seconds", "Value": "60"}])
    check(answer() == "reset", "remembered after 60 s")


FORWARD = [{"Type": "forward", "TargetGroupArn": GROUP}]
SWITCH = [{"Key": "deletion_protection.enabled", "Value": "true"}]
TAGS = [{"Key": "a", "Value": "1"}]
REFUSALS = [
    *[(action, {"LoadBalancerArn": BALANCER} | more, "LoadBalancerNotFound")
      for action, more in (
          ("describe_load_balancer_attributes", {}), ("describe_capacity_reservation", {}),
          ("modify_load_balancer_attributes", {"Attributes": SWITCH}),
          ("create_listener", {"Protocol": "TCP", "Port": 80, "DefaultActions": FORWARD}),
          ("set_subnets", {"Subnets": [f"subnet-{NOBODY}0"]}),
          ("set_security_groups", {"SecurityGroups": []}),
          ("set_ip_address_type", {"IpAddressType": "ipv4"}))],
    ("describe_load_balancers", {"Names": ["nobody"]}, "LoadBalancerNotFound"),
    ("create_load_balancer",
     {"Name": "x", "Type": "network", "Scheme": "internal", "Subnets": [f"subnet-{NOBODY}0"]},
     "SubnetNotFound"),
    ("delete_load_balancer", {"LoadBalancerArn": "nonsense"}, "ValidationError"),
    *[(action, {"ListenerArn": LISTENER} | more, "ListenerNotFound")
      for action, more in (
          ("describe_listener_attributes", {}), ("modify_listener", {"Port": 80}),
          ("modify_listener_attributes",
           {"Attributes": [{"Key": "tcp.idle_timeout.seconds", "Value": "100"}]}),
          ("delete_listener", {}))],
    ("describe_listeners", {"ListenerArns": [LISTENER]}, "ListenerNotFound"),
    *[(action, {"TargetGroupArn": GROUP} | more, "TargetGroupNotFound")
      for action, more in (
          ("describe_target_group_attributes", {}), ("describe_target_health", {}),
          ("modify_target_group_attributes",
           {"Attributes": [{"Key": "deregistration_delay.timeout_seconds", "Value": "7"}]}),
          ("modify_target_group", {"HealthCheckPort": "81"}),
          ("register_targets", {"Targets": [{"Id": f"i-{NOBODY}0"}]}),
          ("deregister_targets", {"Targets": [{"Id": f"i-{NOBODY}0"}]}))],
    ("describe_target_groups", {"Names": ["nobody"]}, "TargetGroupNotFound"),
    ("create_target_group", {"Name": "x", "Protocol": "TCP", "Port": 80,
                             "VpcId": f"vpc-{NOBODY}0"}, "ValidationError"),
    ("describe_tags", {"ResourceArns": [BALANCER]}, "LoadBalancerNotFound"),
    ("add_tags", {"ResourceArns": [BALANCER], "Tags": TAGS}, "LoadBalancerNotFound"),
    ("remove_tags", {"ResourceArns": [BALANCER], "TagKeys": ["a"]}, "LoadBalancerNotFound"),
    ("describe_account_limits", {"PageSize": -1}, "ValidationError"),
]


def what_is_not_there(cloud):
    refusals.refuse(cloud, REFUSALS, {"client": cloud.client("elbv2")})


CHECKS = [a_balancer_is_made_used_and_deleted, its_groups_and_subnets_are_replaced,
          a_listener_forgets_silent_connections, attributes_tags_and_limits, what_is_not_there]

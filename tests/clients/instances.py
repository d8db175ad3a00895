"""Instances are hosts: they start, stop, end, and run what they are given."""

import base64
import os
import pathlib
import resource
import threading

import cloud as clouds
import harness
from cloud import check, filters, wait


def two(cloud, **more):
    vpc = cloud.vpc()
    subnet, group = cloud.subnet(vpc), cloud.group(vpc)
    return subnet, group, cloud.run(subnet, group), cloud.run(subnet, group, **more)


def state(cloud, host):
    found = cloud.ec2.describe_instances(InstanceIds=[host.name])
    return found["Reservations"][0]["Instances"][0]["State"]["Name"]


def an_instance_is_stopped_and_started(cloud):
    _, _, a, b = two(cloud)
    a.reaches(b.ip)
    cloud.refused("InvalidInstanceID.NotFound", "stop_instances",
                  InstanceIds=["i-0123456789abcdef0"])
    done = cloud.ec2.stop_instances(InstanceIds=[b.name])["StoppingInstances"][0]
    check(done["PreviousState"]["Name"] == "running", done)
    check(state(cloud, b) == "stopped", state(cloud, b))
    a.cannot_reach(b.ip)
    b.stop()
    status = cloud.ec2.describe_instance_status(InstanceIds=[b.name], IncludeAllInstances=True)
    check(status["InstanceStatuses"][0]["InstanceState"]["Name"] == "stopped", status)
    cloud.ec2.start_instances(InstanceIds=[b.name])
    check(state(cloud, b) == "running", state(cloud, b))
    b.start()
    check(a.reaches(b.ip) == a.ip, "another source")


def an_instance_ends_with_its_interfaces(cloud):
    subnet, group, a, b = two(cloud)
    kept = cloud.ec2.create_network_interface(SubnetId=subnet, Groups=[group])["NetworkInterface"]
    cloud.ec2.attach_network_interface(
        NetworkInterfaceId=kept["NetworkInterfaceId"], InstanceId=b.name, DeviceIndex=1)
    a.reaches(b.ip)
    cloud.ec2.modify_instance_attribute(InstanceId=b.name, DisableApiTermination={"Value": True})
    cloud.refused("OperationNotPermitted", "terminate_instances", InstanceIds=[b.name])
    found = cloud.ec2.describe_instance_attribute(
        InstanceId=b.name, Attribute="disableApiTermination")
    check(found["DisableApiTermination"]["Value"] is True, found)
    a.reaches(b.ip)
    cloud.ec2.modify_instance_attribute(InstanceId=b.name, DisableApiTermination={"Value": False})
    cloud.ec2.terminate_instances(InstanceIds=[b.name])
    a.cannot_reach(b.ip)
    check(state(cloud, b) == "terminated", state(cloud, b))
    cloud.refused("InvalidNetworkInterfaceID.NotFound", "describe_network_interfaces",
                  NetworkInterfaceIds=[b.eni])
    found = cloud.ec2.describe_network_interfaces(
        NetworkInterfaceIds=[kept["NetworkInterfaceId"]])["NetworkInterfaces"][0]
    check(found["Status"] == "available", found["Status"])
    done = cloud.lab.exec(b.name, "true")
    check(done.returncode == 2 and b.name in done.stderr, f"{done.returncode}: {done.stderr}")
    cloud.refused("IncorrectInstanceState", "start_instances", InstanceIds=[b.name])


def several_at_once_and_by_name(cloud):
    vpc = cloud.vpc()
    subnet, group = cloud.subnet(vpc), cloud.group(vpc)
    made = cloud.ec2.run_instances(
        ImageId="ami-12345678", MinCount=3, MaxCount=3, SubnetId=subnet, SecurityGroupIds=[group],
        ClientToken="three",
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "many"}]}])
    again = cloud.ec2.run_instances(
        ImageId="ami-12345678", MinCount=3, MaxCount=3, SubnetId=subnet, SecurityGroupIds=[group],
        ClientToken="three",
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "many"}]}])
    ids = sorted(one["InstanceId"] for one in made["Instances"])
    check(ids == sorted(one["InstanceId"] for one in again["Instances"]), "made twice")
    found = cloud.ec2.describe_instances(Filters=filters(**{"tag:Name": "ma?y"}))["Reservations"]
    check(len(found) == 1 and len(found[0]["Instances"]) == 3, found)
    a, b, _ = [cloud.host(one) for one in made["Instances"]]
    a.reaches(b.ip)
    cloud.refused("IdempotentParameterMismatch", "run_instances", ImageId="ami-12345678",
                  MinCount=1, MaxCount=1, SubnetId=subnet, ClientToken="three")


def user_data_runs_only_if_the_lab_allows_it(cloud):
    with harness.temporary() as directory:
        ran = directory / "ran"
        script = f"#!/bin/sh -e\nip -4 -br addr show eth0 > {directory}/new\nmv {directory}/new {ran}\n"
        _, _, a, b = two(cloud, UserData=script)
        a.reaches(b.ip)
        found = cloud.ec2.describe_instance_attribute(InstanceId=b.name, Attribute="userData")
        kept = base64.b64decode(found["UserData"]["Value"]).decode()
        check(kept == script, f"kept as {kept!r}")
        check(not ran.exists(), "user data ran without being allowed to")
        with clouds.cloud("user-data", "--run-user-data") as other:
            vpc = other.vpc()
            host = other.run(other.subnet(vpc), UserData=script)
            wait("the script has run", ran.exists)
            check(host.ip in ran.read_text(), f"not in the instance: {ran.read_text()}")
            host.stop()


def what_finds_no_room_is_not_there(cloud):
    vpc = cloud.vpc()
    subnet, group = cloud.subnet(vpc), cloud.group(vpc)
    first = cloud.run(subnet, group)
    wanted = {"ImageId": "ami-12345678", "MinCount": 8, "MaxCount": 8, "SubnetId": subnet,
              "SecurityGroupIds": [group], "ClientToken": "room"}
    daemon = cloud.lab.daemon()
    before = resource.prlimit(daemon, resource.RLIMIT_NOFILE)
    there = len(cloud.lab.json("ps")["hosts"])
    # Room for some of their interfaces, not for all.
    room = len(os.listdir(f"/proc/{daemon}/fd")) + 8
    resource.prlimit(daemon, resource.RLIMIT_NOFILE, (room, before[1]))
    try:
        why = cloud.refused("InsufficientInstanceCapacity", "run_instances", **wanted)
        check("open files" in why, why)
    finally:
        resource.prlimit(daemon, resource.RLIMIT_NOFILE, before)
    check([one["InstanceId"] for one in clouds.instances(cloud.ec2)] == [first.name],
          clouds.instances(cloud.ec2))
    hosts = [host["name"] for host in cloud.lab.json("ps")["hosts"]]
    check(len(hosts) == there, hosts)
    found = cloud.ec2.describe_network_interfaces()["NetworkInterfaces"]
    check([eni["NetworkInterfaceId"] for eni in found] == [first.eni], found)
    # The token made nothing: now it does.
    made = cloud.ec2.run_instances(**wanted)["Instances"]
    check(len(made) == 8, made)
    first.reaches(cloud.host(made[7]).ip)


VPCS = """
vpcs:
  own:
    cidr: 10.9.0.0/16
    subnets: {s: {cidr: 10.9.1.0/24}}
hosts:
"""


def a_second_up_and_calls_take_turns(_cloud):
    """A file that changes and the API make and end hosts at once: in the end there is
    what both say."""
    with clouds.cloud("turns") as other:
        file = pathlib.Path(other.lab.file)
        begun = file.read_text()
        failures = []

        def change():
            try:
                for count in (2, 1, 3, 2):
                    hosts = [f"  own{n}: {{subnet: s}}\n" for n in range(count)]
                    file.write_text(begun + VPCS + "".join(hosts))
                    other.lab.up()
            except Exception as error:  # told by the check
                failures.append(error)

        vpc = other.vpc()
        subnet = other.subnet(vpc)
        changing = threading.Thread(target=change)
        changing.start()
        running = []
        for n in range(8):
            made = other.ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1, SubnetId=subnet)
            running.append(made["Instances"][0]["InstanceId"])
            if n % 3 == 2:
                other.ec2.terminate_instances(InstanceIds=[running.pop(0)])
        changing.join()
        check(not failures, failures)
        hosts = sorted(host["name"] for host in other.lab.json("ps")["hosts"])
        expected = sorted(["visitor", "office", "own0", "own1", *running])
        check(hosts == expected, f"{hosts}, not {expected}")
        for host in expected:
            done = other.lab.exec(host, "ip", "-4", "-br", "addr", "show", "eth0")
            check(done.returncode == 0 and "/" in done.stdout, f"{host}: {done}")


CHECKS = [an_instance_is_stopped_and_started, an_instance_ends_with_its_interfaces,
          several_at_once_and_by_name, what_finds_no_room_is_not_there,
          a_second_up_and_calls_take_turns,
          user_data_runs_only_if_the_lab_allows_it]

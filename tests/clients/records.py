"""`vpclab serve --attach-only`: by a user without any right, who may not even make user
namespaces. Instances are records; what is attached to them sends and receives."""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess

import boto3

import cloud as clouds
import harness
from harness import check, wait

UID = 39_481
# In a user namespace of its own, so that nobody else is forbidden to make one.
NO_NAMESPACES = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --inh-caps=-all --ambient-caps=-all \"$@\""
NETWORKS = ("one", "two")


def as_nobody(*argv):
    """What runs `argv` as a user without rights."""
    return ["setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups", "--inh-caps=-all",
            "--no-new-privs", "unshare", "--user", "--map-current-user", "--keep-caps",
            "sh", "-c", NO_NAMESPACES, "sh", *map(str, argv)]


@contextlib.contextmanager
def serving(directory):
    """A lab of the API alone. Gives its URL and its program."""
    program = directory / "vpclab"
    shutil.copy(harness.VPCLAB, program)
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    forbidden = subprocess.run(as_nobody("unshare", "--user", "true"), env=environment,
                               capture_output=True, text=True, check=False)
    check(forbidden.returncode != 0, "the user may make user namespaces")
    serve = subprocess.Popen(
        as_nobody(program, "serve", "--attach-only", "--lab", f"{harness.PREFIX}records",
                  "--http", "0", "--json"),
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        ready, _, _ = select.select([serve.stdout], [], [], harness.DEADLINE)
        said = serve.stdout.readline() if ready else ""
        if not said:
            serve.kill()
            raise harness.Failed(f"serve says nothing: {serve.stderr.read()}")
        while not said.rstrip().endswith("}"):
            said += serve.stdout.readline()
        yield json.loads(said)["http"], program
    finally:
        serve.send_signal(signal.SIGINT)
        try:
            serve.wait(harness.DEADLINE)
        except subprocess.TimeoutExpired:
            serve.kill()
            serve.wait()
        serve.stdout.close()
        serve.stderr.close()
    check(serve.returncode == 0, f"serve: exit code {serve.returncode}")


def instances_are_what_is_attached(_cloud):
    with harness.temporary() as directory, serving(directory) as (url, program):
        session = boto3.Session(aws_access_key_id=clouds.ACCOUNT, aws_secret_access_key="secret",
                                region_name="eu-west-1")
        ec2 = session.client("ec2", endpoint_url=url)
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
        group = ec2.create_security_group(GroupName="g", Description="g", VpcId=vpc)["GroupId"]
        made = ec2.run_instances(ImageId="ami-1", MinCount=2, MaxCount=2, SubnetId=subnet,
                                 SecurityGroupIds=[group])["Instances"]
        one, two = (it["InstanceId"] for it in made)
        address = made[1]["PrivateIpAddress"]
        check(len(clouds.instances(ec2)) == 2, clouds.instances(ec2))

        def vpclab(*argv):
            # Root helps the user to what is root's: the networks.
            done = harness.sh("env", f"SUDO_UID={UID}", program, *argv,
                              "--lab", f"{harness.PREFIX}records")
            check(done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}")

        def pings():
            ping = ["ip", "netns", "exec", "one", "ping", "-c", "1", "-W", "1", address]
            return harness.sh(*ping).returncode == 0

        for network in NETWORKS:
            subprocess.run(["ip", "netns", "add", network], check=True)
        try:
            for instance, network in zip((one, two), NETWORKS):
                vpclab("attach", instance, "--netns", f"/run/netns/{network}")
            check(not pings(), "the group lets nothing in")
            ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[clouds.ANYTHING])
            check(pings(), "the next packet does not pass")
            ec2.stop_instances(InstanceIds=[two])
            check(not pings(), "a stopped instance answers")
            ec2.start_instances(InstanceIds=[two])
            check(not pings(), "nothing is attached, and it answers")
            wait("the other has been let go",
                 lambda: "tap" not in harness.sh("ip", "-n", "two", "-d", "link").stdout)
            vpclab("attach", two, "--netns", "/run/netns/two")
            check(pings(), "attached again, it does not answer")
            ec2.terminate_instances(InstanceIds=[one, two])
            check(not pings(), "a terminated instance answers")
        finally:
            for network in NETWORKS:
                subprocess.run(["ip", "netns", "delete", network], check=False)


def nothing_outlives_its_init(_cloud):
    """There is no namespace that would end with it."""
    with harness.temporary() as directory, serving(directory):
        lab = f"/tmp/vpclab-{UID}/{harness.PREFIX}records"

        def processes(name):
            return [int(words[0]) for words in map(str.split, harness.processes())
                    if name in words and lab in words]

        (init,), daemon = processes("pid1"), processes("daemon")
        check(daemon, "no daemon")
        os.kill(init, signal.SIGKILL)
        wait("the daemon has ended", lambda: not processes("daemon"))


CHECKS = [nothing_outlives_its_init, instances_are_what_is_attached]

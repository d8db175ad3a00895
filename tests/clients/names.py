"""The VPC's resolver follows the VPC's attributes."""

from cloud import check

# dig's exit code when no server answers.
NO_ANSWER = 9


def the_resolver_is_there_when_the_vpc_says_so(cloud):
    vpc = cloud.vpc("10.4.0.0/16")
    subnet = cloud.subnet(vpc, "10.4.1.0/24")
    host = cloud.run(subnet, cloud.group(vpc, allow=False))
    found = cloud.ec2.describe_instances(InstanceIds=[host.name])["Reservations"]
    name = found[0]["Instances"][0]["PrivateDnsName"]

    def ask(server):
        return cloud.lab.exec(host.name, "dig", "+short", "+tries=1", "+time=1", f"@{server}", name)

    # No group allows it, and none is asked.
    for server in ("10.4.0.2", "169.254.169.253"):
        done = ask(server)
        check(done.stdout.strip() == host.ip, f"{server}: {done.stdout} {done.stderr}")
    cloud.ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsSupport={"Value": False})
    done = ask("10.4.0.2")
    check(done.returncode == NO_ANSWER, f"exit {done.returncode}: {done.stdout}")
    cloud.ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsSupport={"Value": True})
    check(ask("10.4.0.2").stdout.strip() == host.ip, "the resolver did not come back")


CHECKS = [the_resolver_is_there_when_the_vpc_says_so]

"""A VPC with an office behind a VPN and a peer: what each reaches, and trace says why."""

import json

from harness import EXAMPLES, check, lab, vpclab

FILE = EXAMPLES / "hybrid.yaml"
SERVICE = "http://10.1.1.100/"
SITE = "http://198.51.100.80/"


def code(it, source, destination):
    done = vpclab("trace", "--lab", it.name, "--json", source, destination)
    check(done.returncode in (0, 1), done.stderr)
    return json.loads(done.stdout)["code"]


def hybrid(report):
    with lab("hybrid", FILE, "--wait") as it:
        with report.part("hybrid b086 an office reaches the endpoint by the VPN"):
            it.eventually_reaches("laptop", SERVICE)
            it.eventually_reaches("laptop", "http://10.1.1.10/")
            check("192.168.1.10 - -" in it.log("app"), it.log("app"))
        with report.part("hybrid a peer reaches host and endpoint"):
            it.reaches("peer", "http://10.1.1.10/")
            it.reaches("peer", SERVICE)
        with report.part("hybrid the VPC's gateway is not the office's way out"):
            it.eventually_reaches("app", SITE)
            with it.drops("vgw.not_for_vpc"):
                it.no_way("laptop", SITE)
            found = code(it, "laptop", "198.51.100.80:80")
            check(found == "VGW_PRIVATE_IP_ASSOCIATION_FOR_INGRESS", found)
        with report.part("hybrid b056 nor the peer's"):
            with it.drops("peering.not_in_vpc"):
                it.no_way("peer", SITE)
            with it.drops("peering.not_in_vpc"):
                it.no_way("peer", "http://192.168.1.10/")
            found = code(it, "peer", "198.51.100.80:80")
            check(found == "PCX_REQUIRES_ADDRESS_IN_VPC_CIDR", found)
        with report.part("hybrid what the file expects holds"):
            done = vpclab("test", FILE)
            check(done.returncode == 0, done.stdout + done.stderr)


SCENARIOS = [hybrid]

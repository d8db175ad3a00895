"""A VPC with an office behind a VPN and a peer: what each reaches, and trace says why."""

import json
import re

from harness import EXAMPLES, ROOT, check, lab, vpclab

FILE = EXAMPLES / "hybrid.yaml"
SERVICE = "http://10.1.1.100/"
APP = "http://10.1.1.10/"
SITE = "http://198.51.100.80/"
S3 = "http://52.216.1.1/"
NOT_FOR_VPC = "VGW_PRIVATE_IP_ASSOCIATION_FOR_INGRESS"


def says(it, source, destination, code):
    """`trace` of the running lab gives this reason."""
    done = vpclab("trace", "--lab", it.name, "--json", source, destination)
    check(done.returncode == 1, done.stdout + done.stderr)
    found = json.loads(done.stdout)["code"]
    check(found == code, found)


def hybrid(report):
    with lab("hybrid", FILE, "--wait") as it:
        with report.part("hybrid b086 an office reaches the endpoint by the VPN"):
            it.eventually_reaches("laptop", SERVICE)
            it.eventually_reaches("laptop", APP)
            it.logs("app", "192.168.1.10 - -")
        with report.part("hybrid a peer reaches host and endpoint"):
            it.reaches("peer", APP)
            it.reaches("peer", SERVICE)
        with report.part("hybrid the VPC's own hosts have its ways out"):
            it.eventually_reaches("app", SITE)
            it.logs("site", "203.0.113.5 - -")
            it.eventually_reaches("app", S3)
            it.logs("s3-server", "10.1.1.10 - -")
        with report.part("hybrid b064 neither its NAT nor internet gateway nor its gateway endpoint is the office's"):
            for url, address in [(SITE, "198.51.100.80:80"), (S3, "52.216.1.1:80"),
                                 ("http://203.0.113.5/", "203.0.113.5:80")]:
                with it.drops("vgw.not_for_vpc"):
                    it.no_way("laptop", url)
                says(it, "laptop", address, NOT_FOR_VPC)
            with it.drops("nat.unsolicited"):
                it.no_way("laptop", "http://10.1.0.5/")
            says(it, "laptop", "10.1.0.5:80", "NGW_DEST_ADDRESS_PRESERVATION")
        with report.part("hybrid b056 b064 nor the peer's"):
            for url in (SITE, S3, "http://192.168.1.10/"):
                with it.drops("peering.not_in_vpc"):
                    it.no_way("peer", url)
            says(it, "peer", "52.216.1.1:80", "PCX_REQUIRES_ADDRESS_IN_VPC_CIDR")
        with report.part("hybrid what the file expects holds"):
            done = vpclab("test", FILE)
            check(done.returncode == 0, done.stdout + done.stderr)
        with report.part("hybrid the traces are those of docs/hybrid.md"):
            document = (ROOT / "docs/hybrid.md").read_text()
            traces = re.findall(r"```\n\$ vpclab (trace .*?)\n(.*?)```", document, re.DOTALL)
            check(len(traces) == 3, f"{len(traces)} traces")
            for command, shown in traces:
                done = vpclab(*command.replace("examples/hybrid.yaml", str(FILE)).split())
                check(done.stdout == shown, done.stdout)


SCENARIOS = [hybrid]

"""The three tiers: groups that name groups, and a network ACL."""

from harness import EXAMPLES, lab, check, replaced, topology, vpclab

FILE = EXAMPLES / "three-tier.yaml"
SG = ("security_group.ingress", "security_group.egress", "security_group")
ACL = ("network_acl.ingress", "network_acl.egress", "network_acl")


def three_tier(report):
    with lab("tiers", FILE, "--wait") as it:
        with report.part("three_tier every tier answers the one before it"):
            it.eventually_reaches("visitor", "http://198.51.100.20/")
            it.eventually_reaches("web", "http://10.3.11.10:8080/")
            it.eventually_reaches("app", "http://10.3.21.10:5432/")
        with report.part("three_tier groups keep others out"):
            with it.drops(*SG, *ACL):
                it.no_way("web", "http://10.3.21.10:5432/")
            with it.drops(*SG):
                it.no_way("db", "http://10.3.11.10:8080/")
            with it.drops(*SG):
                it.no_way("visitor", "http://198.51.100.20:8080/")
        with report.part("three_tier trace agrees, and says what to change"):
            open_way = vpclab("trace", "--lab", it.name, "app", "db:5432")
            check(open_way.returncode == 0, f"exit {open_way.returncode}: {open_way.stdout}")
            check("reachable: Reaches" in open_way.stdout, open_way.stdout)
            closed = vpclab("trace", "--lab", it.name, "web", "db:5432")
            check(closed.returncode == 1, f"exit {closed.returncode}: {closed.stdout}")
            check("(SUBNET_ACL_RESTRICTION)" in closed.stdout, closed.stdout)
            check("to change that: add an inbound rule" in closed.stdout, closed.stdout)
        with report.part("three_tier nothing private gets out"):
            before = it.counters()
            done = it.curl("app", "http://203.0.113.7/", seconds=1)
            check(done.returncode == 28, f"curl exit {done.returncode}")
            check(it.counters() != before, "no counter moved")
    denied = replaced(
        FILE.read_text(),
        ("          - {rule: 100, action: allow, proto: tcp, ports: 5432, cidr: 10.3.11.0/24}",
         "          - {rule: 90, action: deny, proto: tcp, ports: 5432, cidr: 10.3.11.10/32}\n"
         "          - {rule: 100, action: allow, proto: tcp, ports: 5432, cidr: 10.3.11.0/24}"),
    )
    with topology(denied) as file, lab("tiers-deny", file) as it:
        with report.part("three_tier b042 the lowest rule of the ACL decides"):
            it.eventually_reaches("web", "http://10.3.11.10:8080/")
            it.eventually_reaches("db", "http://127.0.0.1:5432/")
            with it.drops(*ACL):
                it.no_way("app", "http://10.3.21.10:5432/")


SCENARIOS = [three_tier]

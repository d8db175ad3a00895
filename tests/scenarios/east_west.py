"""examples/east-west.yaml: what subnets say to each other crosses an appliance."""

import contextlib

from gwlb import APPLIANCES, directions, stats
from harness import EXAMPLES, check, lab, replaced, topology, traced, wait

FILE = EXAMPLES / "east-west.yaml"
DB = "http://10.6.2.10:5432/"
INWARD = "          - {to: 10.6.1.0/24, via: inspect}\n"


def east_west(report):
    with lab("east-west", FILE, "--wait") as it:
        it.eventually_reaches("web", DB)
        it.eventually_reaches("db", "http://127.0.0.1:8080/")
        with report.part("east_west b024 b090 both directions cross one appliance"):
            with appliances(it) as packets:
                it.reaches("web", DB, "--local-port", 41000)
                met = wait("both directions", lambda: directions(packets, 41000))
                check(len(met) == 1, f"crossed {met}")
            it.logs("db", "10.6.1.10 - -")
        with report.part("east_west what groups let through ends at an appliance"):
            it.no_way("web", "http://10.6.2.10:8080/")
            dropped = [stats(it, name) for name in APPLIANCES]
            check(any(seen["stats"]["dropped"] for seen in dropped), dropped)
        with report.part("east_west b028 neighbours cross none"):
            with appliances(it) as packets:
                done = it.exec("web2", "ping", "-c", 1, "-W", 2, "10.6.1.10")
                check(done.returncode == 0, done.stdout)
                # Then one that does: the captures have all that came before it.
                done = it.exec("web2", "ping", "-c", 1, "-W", 2, "10.6.2.10")
                check(done.returncode == 0, done.stdout)
                crossed = "geneve && icmp && ip.addr == {}"
                wait("the second ping crosses", lambda: any(
                    seen.read(crossed.format("10.6.2.10"), "ip.src") for seen in packets.values()))
                for seen in packets.values():
                    check(not seen.read(crossed.format("10.6.1.10"), "ip.src"), "it crossed")
        with report.part("east_west b100 8500 bytes pass, 8501 vanish without a word"):
            largest(it)
        with report.part("east_west iperf3 both ways"):
            for back in ([], ["-R"]):
                server = it.start(*it.argv("db", "iperf3", "-s", "-1"), stdout=-3, stderr=-3)
                wait("iperf3 listens", lambda: ":5201" in it.exec("db", "ss", "-lnt").stdout)
                done = it.exec("web", "iperf3", "-c", "10.6.2.10", "-n", "5M", *back)
                check(done.returncode == 0, done.stdout + done.stderr)
                server.wait(20)
        with report.part("east_west the trace is that of docs/east-west.md"):
            traced("docs/east-west.md", FILE, "web", "db:5432")
    variants(report)


@contextlib.contextmanager
def appliances(it):
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(it.capture(name)) for name in APPLIANCES}


def largest(it):
    mtu = "ip link set eth0 mtu {}".format
    check(it.exec("web", *mtu(9001).split()).returncode == 0, "mtu")
    try:
        ping = ["ping", "-c", 1, "-W", 1, "-M", "do"]
        done = it.exec("web", *ping, "-s", 8472, "10.6.2.10")
        check(done.returncode == 0, done.stdout)
        with it.drops("gwlb.mtu"):
            done = it.exec("web", *ping, "-s", 8473, "10.6.2.10")
        check(done.returncode == 1 and "100% packet loss" in done.stdout, done.stdout)
        check("errors" not in done.stdout and "too long" not in done.stdout, done.stdout)
    finally:
        it.exec("web", *mtu(8500).split())


def variants(report):
    """What else the tables and groups may say."""
    text = FILE.read_text()
    half = replaced(text, (INWARD, "          - {to: 10.99.0.0/16, via: inspect}\n"))
    with topology(half) as file, lab("east-half", file, "--wait") as it:
        with report.part("east_west without the route back the appliances see one direction"):
            it.eventually_reaches("web", DB)
            with appliances(it) as packets:
                it.reaches("web", DB, "--local-port", 41000)
                wait("the way there is inspected", lambda: any(
                    seen.read("geneve && tcp.srcport == 41000 && tcp.flags.fin == 1", "ip.src")
                    for seen in packets.values()))
                back = [seen.read("geneve && tcp.dstport == 41000", "ip.src")
                        for seen in packets.values()]
                check(not any(back), f"answers crossed: {back}")
    two = replaced(
        text,
        ("subnets: appliances\n    listeners", "subnets: [appliances, second]\n    listeners"),
        ("      appliances: {cidr: 10.7.1.0/24, az: a}\n",
         "      appliances: {cidr: 10.7.1.0/24, az: a}\n"
         "      second: {cidr: 10.7.2.0/24, az: b}\n"),
        ("          - {proto: udp, ports: 6081, from: 10.7.1.0/24}\n",
         "          - {proto: udp, ports: 6081, from: 10.7.0.0/16}\n"),
        ("      inspection: {cidr: 10.6.3.0/24, az: a}\n",
         "      inspection: {cidr: 10.6.3.0/24, az: a}\n"
         "      other: {cidr: 10.6.4.0/24, az: b}\n"),
        (INWARD, "          - {to: 10.6.1.0/24, via: inspect-b}\n"),
        ("    address: 10.6.3.10\n",
         "    address: 10.6.3.10\n"
         "  inspect-b:\n"
         "    type: gateway_load_balancer\n"
         "    service: firewalls\n"
         "    subnets: other\n"))
    with topology(two) as file, lab("east-two", file) as it:
        with report.part("east_west with an endpoint a zone the answer belongs to no flow"):
            it.eventually_reaches("db", "http://127.0.0.1:5432/")
            with it.drops("gwlb.no_flow"):
                it.no_way("web", DB)
        with report.part("east_west b099 without cross-zone a zone without targets drops"):
            with it.drops("gwlb.no_target"):
                done = it.exec("db", "ping", "-c", 1, "-W", 1, "10.6.1.10")
                check(done.returncode == 1, done.stdout)
    named = replaced(text, ("ports: 5432, from: 10.6.1.0/24", "ports: 5432, from: web"))
    with topology(named) as file, lab("east-named", file) as it:
        with report.part("east_west a group does not reach across an appliance"):
            it.eventually_reaches("db", "http://127.0.0.1:5432/")
            wait("an appliance is there", lambda: it.exec(
                "web", "ping", "-c", 1, "-W", 1, "10.6.2.10").returncode == 0)
            with it.drops("security_group.ingress", "security_group"):
                it.no_way("web", DB)


SCENARIOS = [east_west]

"""NAT gateways with real programs: inspection before one, and what nobody starts."""

import contextlib
import re

from gwlb import APPLIANCES, directions
from harness import EXAMPLES, check, lab, replaced, sh, topology, traced, vpclab, wait

FILE = EXAMPLES / "inspection-nat.yaml"
OUT = "http://203.0.113.80/"
NAT = "198.51.100.5"


def inspection_nat(report):
    with lab("inspection-nat", FILE, "--wait") as it:
        it.eventually_reaches("app", OUT)
        with report.part("inspection_nat b050 the internet sees one address, the appliances two"):
            inspected(it)
        with report.part("inspection_nat a ping comes back"):
            done = it.exec("app2", "ping", "-c", 1, "-W", 2, "203.0.113.80")
            check(done.returncode == 0, done.stdout)
        with report.part("inspection_nat nobody outside starts anything"):
            with it.drops("nat.unsolicited"):
                it.no_way("web", f"http://{NAT}/")
        with report.part("inspection_nat it counts by CloudWatch's names, and ps shows it"):
            shown = vpclab("ps", "--lab", it.name).stdout
            check(re.search(r"nat +public +10\.4\.0\.5 \(198\.51\.100\.5\)", shown), shown)
            port = it.json("ps")["http"]
            served = sh("curl", "-s", f"{port}/metrics").stdout
            for name in ("connection_attempts_total", "port_allocation_errors_total",
                         "active_connections", "out_bytes_total"):
                check(f'vpclab_nat_{name}{{nat_gateway="nat"}}' in served, served[-3000:])
        with report.part("inspection_nat the trace is that of docs/inspection-nat.md"):
            done = vpclab("trace", "--lab", it.name, "app", "203.0.113.80:80")
            check(done.returncode == 0, done.stdout)
            traced("docs/inspection-nat.md", FILE, "app", "203.0.113.80:80")
    # Without the route back into the endpoint, answers are not inspected, and the
    # appliances see one side only.
    half = replaced(FILE.read_text(),
                    ("          - {to: 10.4.1.0/24, via: inspect}\n", ""))
    with topology(half) as file, lab("inspection-half", file, "--wait") as it:
        with report.part("inspection_nat the public subnet's route brings answers back through it"):
            it.eventually_reaches("app", OUT)
            with contextlib.ExitStack() as stack:
                packets = [stack.enter_context(it.capture(name)) for name in APPLIANCES]
                it.reaches("app", OUT, "--local-port", 41000)
                wait("the way out is inspected", lambda: any(
                    capture.read("geneve && tcp.srcport == 41000", "ip.src")
                    for capture in packets))
                back = [capture.read("geneve && tcp.dstport == 41000", "ip.src")
                        for capture in packets]
                check(not any(back), f"answers crossed an appliance: {back}")


def inspected(it):
    with contextlib.ExitStack() as stack:
        packets = {name: stack.enter_context(it.capture(name)) for name in APPLIANCES}
        for host in ("app", "app2"):
            it.reaches(host, OUT, "--local-port", 42000)
        met = wait("both directions", lambda: directions(packets, 42000))
        inner = {row[0].split(",")[-1] for capture in packets.values()
                 for row in capture.read("geneve && tcp.srcport == 42000", "ip.src")}
        check(inner == {"10.4.1.10", "10.4.1.11"}, f"inspected sources {inner}, at {met}")
    it.logs("web", f"{NAT} - -")
    log = it.log("web")
    seen = set(re.findall(r"^(\S+) - -", log, re.MULTILINE))
    check(seen == {NAT}, log)


SCENARIOS = [inspection_nat]

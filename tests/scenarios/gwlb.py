"""Inspection by a gateway load balancer's appliances, vpclab's own and scapy's."""

import contextlib
import json
import signal
import subprocess

from harness import EXAMPLES, HERE, check, lab, replaced, sh, topology, traced, wait

FILE = EXAMPLES / "gwlb-inspection.yaml"
OUT = "http://203.0.113.80/"
IN = "http://198.51.100.10/"
APPLIANCES = ("fw-a", "fw-b")


def inspection(report):
    with lab("gwlb", FILE, "--wait") as it:
        it.eventually_reaches("app", OUT)
        it.eventually_reaches("web", IN)
        with report.part("inspection b090 both directions cross one appliance"):
            same_appliance(it)
        with report.part("inspection b088 the appliance gets the untouched packet in valid GENEVE"):
            valid_geneve(it)
        with report.part("inspection b047 the internet sees the Elastic IP"):
            it.logs("web", "198.51.100.10 - -")
        with report.part("inspection appliances count what they return"):
            before = [stats(it, name) for name in APPLIANCES]
            it.reaches("app", OUT)
            after = [stats(it, name) for name in APPLIANCES]
            check(before != after, f"{before} {after}")
        with report.part("inspection it counts by CloudWatch's names"):
            counts(it)
        with report.part("inspection the trace is that of docs/gwlb-inspection.md"):
            traced("docs/gwlb-inspection.md", FILE, "app", "203.0.113.80:80")
        with report.part("inspection new flows leave an appliance that stopped"):
            fail_over(it)


def stats(it, host):
    """The counters that an appliance prints when asked."""
    program = it.host(host)["commands"][0]["pid"]
    seen = len(it.log(host).splitlines())
    # The command is a shell; the appliance is its child.
    find = f"for p in $(cat /proc/{program}/task/{program}/children); do kill -USR1 $p; done"
    done = it.exec(host, "sh", "-c", find)
    check(done.returncode == 0, done.stderr)
    lines = wait(f"{host} prints counters", lambda: it.log(host).splitlines()[seen:])
    return json.loads(lines[-1])


def counts(it):
    """In `ps --json` and at /metrics; what one connection more adds."""
    def now():
        seen = it.json("ps")
        return seen, seen["load_balancers"][0]["metrics"], seen["endpoints"][0]["metrics"]

    _, before, at_endpoint = now()
    it.reaches("app", OUT)
    seen, after, endpoint = now()
    check(after["NewFlowCount"] == before["NewFlowCount"] + 1, f"{before} {after}")
    check(endpoint["NewConnections"] == at_endpoint["NewConnections"] + 1, f"{endpoint}")
    grown = endpoint["BytesProcessed"] - at_endpoint["BytesProcessed"]
    # Ten packets, a page; there and back.
    check(grown == after["ProcessedBytes"] - before["ProcessedBytes"] > 1000, f"{grown}: {after}")
    check(after["RejectedFlowCount"] == before["RejectedFlowCount"], f"{before} {after}")
    health = seen["target_groups"][0]["metrics"]
    check(health == {"HealthyHostCount": 2, "UnHealthyHostCount": 0}, f"{health}")
    served = sh("curl", "-sS", f"{seen['http']}/metrics").stdout
    label = '{load_balancer="firewalls",type="gateway",zone="us-east-1a"}'
    check(f"vpclab_lb_flows_total{label} {after['NewFlowCount']}\n" in served, served[-3000:])


def same_appliance(it):
    ports = {"app": range(41000, 41006), "web": range(42000, 42006)}
    with contextlib.ExitStack() as stack:
        packets = {name: stack.enter_context(it.capture(name)) for name in APPLIANCES}
        for host, url in (("app", OUT), ("web", IN)):
            for port in ports[host]:
                it.reaches(host, url, "--local-port", port)
        for host, ours in ports.items():
            for port in ours:
                met = wait(f"both directions of port {port}", lambda: directions(packets, port))
                check(len(met) == 1, f"{host} port {port} crossed {met}")


def directions(packets, port):
    """Which appliances saw the connection of `port`; nothing until one saw both
    directions of it, with each packet in and out."""
    met = {}
    for name, capture in packets.items():
        there = capture.read(f"geneve && tcp.srcport == {port}", "ip.src")
        back = capture.read(f"geneve && tcp.dstport == {port}", "ip.src")
        if there or back:
            met[name] = (len(there), len(back))
    complete = met and all(a >= 2 and b >= 2 for a, b in met.values())
    return met if complete else None


def valid_geneve(it):
    with it.capture("app") as plain, contextlib.ExitStack() as stack:
        packets = {name: stack.enter_context(it.capture(name)) for name in APPLIANCES}
        it.reaches("app", OUT, "--local-port", 43000)
        wait("the capture is complete", lambda: directions(packets, 43000))
        sent = wait("the app's SYN", lambda: plain.read(
            "tcp.srcport == 43000 && tcp.flags.syn == 1",
            "ip.src", "ip.dst", "ip.id", "ip.ttl", "tcp.seq_raw"))[0]
        name = next(iter(directions(packets, 43000)))
        capture = packets[name]
        inner = capture.read("geneve && tcp.srcport == 43000 && tcp.flags.syn == 1",
                             "ip.src", "ip.dst", "ip.id", "ip.ttl", "tcp.seq_raw")
        for value, seen in zip(sent, inner[0], strict=True):
            check(seen.split(",")[-1] == value, f"sent {sent}, inspected {inner[0]}")
        options = capture.read("geneve", "geneve.option.class", "geneve.option.type")
        for classes, types in options:
            check(set(classes.split(",")) == {"0x0108"}, f"class {classes}")
            check({int(t, 0) & 0x7F for t in types.split(",")} == {1, 2, 3}, f"types {types}")
        # Each packet is there twice, in and out: followed as a stream, that looks like segments
        # sent again, and out of order when two of them are under way. Packet by packet.
        wrong = capture.read("_ws.malformed || (udp.port == 6081 && _ws.expert.severity >= 0x600000)",
                             "frame.number", "_ws.expert.message",
                             preferences=("tcp.analyze_sequence_numbers:FALSE",
                                          "tcp.desegment_tcp_streams:FALSE"))
        check(not wrong, f"tshark says {wrong}")


def fail_over(it):
    """With fw-a's program gone, fw-b gets every new flow once that is noticed."""
    before = stats(it, "fw-b")
    program = it.host("fw-a")["commands"][0]["pid"]
    find = f"for p in $(cat /proc/{program}/task/{program}/children); do kill $p; done"
    check(it.exec("fw-a", "sh", "-c", find).returncode == 0, "kill")
    wait("fw-a's program ends", lambda: it.host("fw-a")["commands"][0]["ended"] is not None)

    def noticed():
        targets = it.json("ps")["target_groups"][0]["targets"]
        return any(t["address"] == "10.2.1.11" and t["health"] == "unhealthy" for t in targets)

    # Two probes, five seconds apart, of two seconds each.
    wait("fw-a is unhealthy", noticed, seconds=16)
    for port in range(44000, 44010):
        it.reaches("app", OUT, "--local-port", port)
        it.reaches("web", IN, "--local-port", port)
    check(stats(it, "fw-b") != before, "fw-b counted nothing")


def scapy_appliance(report):
    """An appliance by somebody else: scapy, started by `vpclab exec`."""
    text = replaced(
        FILE.read_text(),
        ("    run: vpclab appliance\n  fw-b:", "  fw-b:"),
        ("targets: [fw-a, fw-b]", "targets: fw-a"),
    )
    with topology(text) as file, lab("scapy", file) as it:
        it.no_way("app", OUT)
        it.no_way("web", IN)
        mirror = it.start(*it.argv("fw-a", "/usr/bin/python3", HERE / "geneve_mirror.py"),
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        with report.part("scapy_appliance traffic passes"):
            it.eventually_reaches("app", OUT)
            it.eventually_reaches("web", IN)
        it.stop(mirror, signal.SIGTERM)
        lines = mirror.stdout.read().splitlines()
        with report.part("scapy_appliance every packet crossed scapy"):
            # Two connections of at least eight packets.
            check(len(lines) >= 16, f"{len(lines)} packets")
        with report.part("scapy_appliance without it nothing passes"):
            it.no_way("app", OUT)


SCENARIOS = [inspection, scapy_appliance]

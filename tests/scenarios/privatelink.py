"""An interface endpoint with real TCP, one way only, and a daemon that dies."""

import json
import os
import signal
import subprocess

import harness
from harness import EXAMPLES, check, lab, replaced, topology, wait

FILE = EXAMPLES / "privatelink.yaml"
ENDPOINT = "http://10.0.1.100/"
ONE_WAY = ("privatelink.one_way", "route.address_unassigned", "security_group.ingress",
           "security_group", "security_group.egress")


def privatelink(report):
    with lab("pl", FILE, "--wait") as it:
        with report.part("privatelink b074 the server sees the node, the client the endpoint"):
            peer = it.exec("client", "curl", "-sS", "-m", 5, "-o", "/dev/null",
                           "-w", "%{remote_ip}", ENDPOINT)
            check(peer.stdout == "10.0.1.100", f"{peer.stdout} {peer.stderr}")
            it.logs("server", "10.0.2.50 - -")
            check("10.0.1.10 " not in it.log("server"), it.log("server"))
        with report.part("privatelink b075 consumer and provider have the same block"):
            text = FILE.read_text()
            check(text.count("cidr: 10.0.0.0/16") == 2, "the example has two blocks")
            it.reaches("client", ENDPOINT)
        with report.part("privatelink b076 nothing of the provider starts toward the consumer"):
            one_way(it)
        with report.part("privatelink b077 the endpoint's groups judge clients"):
            with it.drops("security_group.ingress", "security_group.egress", "security_group"):
                it.no_way("client", "http://10.0.1.100:443/")
        with report.part("privatelink b078 an endpoint answers no ping"):
            done = it.exec("client", "ping", "-c", 2, "-i", "0.2", "-W", 1, "10.0.1.100")
            check(done.returncode == 1 and " 0 received" in done.stdout, done.stdout)
        with report.part("privatelink up again says up already"):
            check("up already" in it.up(), "a second up")
            it.reaches("client", ENDPOINT)
        with report.part("privatelink down leaves nothing"):
            ends(it)


def one_way(it):
    """SYNs of the server to every address it could think of."""
    # A connection that stays: its translated port is the way back in.
    it.start(*it.argv("client", "nc", "10.0.1.100", "80"), stdin=subprocess.PIPE)

    def node_port():
        for flow in it.json("flows")["flows"]:
            ends_of = [flow["opener"], flow["answerer"]]
            if any(end["at"].startswith("client ") for end in ends_of):
                for end in ends_of:
                    if end["sends"].startswith("tcp 10.0.3.10:80 > 10.0.2.50:"):
                        return end["sends"].rsplit(":", 1)[1]
        return None

    port = wait("the node's port of a client's connection", node_port)
    targets = [("10.0.1.100", "80"), ("10.0.1.10", "80"), ("10.0.1.10", "33000"),
               ("10.0.2.50", port), ("10.0.2.50", str(int(port) + 1))]
    with it.capture("client") as packets:
        it.reaches("client", ENDPOINT)
        for address, number in targets:
            with it.drops(*ONE_WAY):
                done = it.exec("server", "nc", "-z", "-w", 1, address, number)
                check(done.returncode != 0, f"the server reached {address}:{number}")
        # A last packet of our own: what came before it has been recorded.
        it.reaches("client", ENDPOINT)
        finished = lambda: len(packets.read("http.response", "ip.src")) >= 2
        wait("the capture holds both answers", finished)
        foreign = packets.read("ip && !(ip.addr == 10.0.1.100)", "ip.src", "ip.dst")
        check(not foreign, f"the client met {foreign}")
        started = packets.read("tcp.flags.syn == 1 && tcp.flags.ack == 0 && ip.dst == 10.0.1.10",
                               "ip.src", "tcp.dstport")
        check(not started, f"a connection toward the client: {started}")


def ends(it):
    done = it.down()
    check(done.returncode == 0, f"down: {done.stderr}")
    after = harness.machine()
    check(not after["labs"] and not after["processes"], f"{after['labs']} {after['processes']}")


def bulk(report):
    """iperf3 through the endpoint, with the kernel's large segments."""
    text = replaced(
        FILE.read_text(),
        ("ports: 80,", "ports: 80-5201,"),
        ("    run: python3 -m http.server 80",
         "    run: [python3 -m http.server 80, iperf3 -s -p 5201]"),
        ("      - {proto: tcp, port: 80, target_group: servers}",
         "      - {proto: tcp, port: 80, target_group: servers}\n"
         "      - {proto: tcp, port: 5201, target_group: bulk}"),
        ("target_groups:",
         "target_groups:\n"
         "  bulk:\n"
         "    protocol: tcp\n"
         "    port: 5201\n"
         "    targets: server\n"
         "    health_check: {protocol: tcp, port: 80, interval: 5, timeout: 2, "
         "healthy: 2, unhealthy: 2}"),
    )
    with topology(text) as file, lab("bulk", file, "--wait") as it:
        for name, options in (("up", []), ("down", ["-R"])):
            with report.part(f"privatelink iperf3 {name}"):
                before = it.port("client")
                done = it.exec("client", "iperf3", "-c", "10.0.1.100", "-p", 5201, "-t", 1,
                               "-J", *options, timeout=30)
                check(done.returncode == 0, done.stdout[-300:] + done.stderr)
                moved = json.loads(done.stdout)["end"]["sum_received"]["bytes"]
                check(moved > 10_000_000, f"only {moved} bytes")
                after = it.port("client")
                way = "tx" if options else "rx"
                frames = after[way] - before[way]
                size = (after[f"{way}_bytes"] - before[f"{way}_bytes"]) / frames
                check(size > 9001, f"frames of {size:.0f} bytes: no large segments")


def killed_then_down(report):
    with lab("kill-down", FILE, "--wait") as it:
        it.reaches("client", ENDPOINT)
        kill_daemon(it)
        ends(it)


def killed_then_up(report):
    with lab("kill-up", FILE, "--wait") as it:
        it.reaches("client", ENDPOINT)
        server = it.host("server")["commands"][0]["pid"]
        kill_daemon(it)
        check(it.curl("client", ENDPOINT, seconds=1).returncode != 0, "who carried that?")
        check("up again" in it.up("--wait"), "up adopts what runs")
        it.eventually_reaches("client", ENDPOINT)
        check(it.host("server")["commands"][0]["pid"] == server, "the server runs on")
        ends(it)


def kill_daemon(it):
    pid = it.daemon()
    os.kill(pid, signal.SIGKILL)
    wait("the daemon is gone", lambda: pid not in harness.own_processes())


SCENARIOS = [privatelink, bulk, killed_then_down, killed_then_up]

"""Numbered behaviours of endpoints, NAT, peering and gateway load balancers, with
real programs where no other scenario has them. Long timeouts pass on a fast clock."""

import contextlib
import subprocess
import time

from gwlb import APPLIANCES, stats
from harness import EXAMPLES, HERE, check, lab, replaced, sh, topology, vpclab, wait

ECHO = f"exec python3 {HERE / 'echo.py'}"
FAST = ("--time-scale", 100)


@contextlib.contextmanager
def late(it, host, address, port, count=1):
    """Clients whose connections stay; what a further word on each comes to."""
    child = it.start(*it.argv(host, "python3", HERE / "late.py", address, port, count),
                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                     text=True)
    first = child.stdout.readline().split()
    check(first == ["echo"] * count, f"{host} to {address}:{port}: {first}")

    def again():
        child.stdin.write("\n")
        child.stdin.flush()
        return child.stdout.readline().split()

    try:
        yield again
    finally:
        child.stdin.close()
        child.wait(20)
        child.stdout.close()


def passed(it, seconds):
    """So many seconds of the lab pass."""
    end = time.monotonic() + seconds / it.json("ps")["time_scale"]
    wait(f"{seconds} s of the lab", lambda: time.monotonic() > end)


def udp(it, host, address, port, size=4, source=0):
    """Whether a datagram is echoed."""
    ask = ("import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
           f"s.settimeout(1); s.bind(('', {source})); s.sendto(bytes({size}), ('{address}', {port})); "
           "s.recv(65535)")
    return it.exec(host, "python3", "-c", ask).returncode == 0


# A VPC with an S3 endpoint and a NAT gateway, between two others that are peers.
WAYS = f"""
name: ways
vpcs:
  main:
    cidr: 10.0.0.0/16
    igw: true
    subnets:
      with: {{cidr: 10.0.1.0/24, route_table: with}}
      without: {{cidr: 10.0.2.0/24, route_table: without}}
      hidden: {{cidr: 10.0.3.0/24, route_table: hidden}}
    route_tables:
      with:
        routes: [{{to: 0.0.0.0/0, via: igw}}]
      without:
        routes: [{{to: 0.0.0.0/0, via: igw}}, {{to: 10.1.0.0/16, via: one}}, {{to: 10.2.0.0/16, via: two}}]
      hidden:
        routes: [{{to: 0.0.0.0/0, via: nat}}]
    security_groups: &open
      open: {{ingress: [{{proto: all, from: 0.0.0.0/0}}]}}
  left:
    cidr: 10.1.0.0/16
    subnets: {{left: {{cidr: 10.1.1.0/24, route_table: left}}}}
    route_tables:
      left:
        routes: [{{to: 10.0.0.0/16, via: one}}, {{to: 10.2.0.0/16, via: one}}, {{to: 0.0.0.0/0, via: one}}]
    security_groups: *open
  right:
    cidr: 10.2.0.0/16
    subnets: {{right: {{cidr: 10.2.1.0/24, route_table: right}}}}
    route_tables:
      right:
        routes: [{{to: 10.0.0.0/16, via: two}}, {{to: 10.1.0.0/16, via: two}}]
    security_groups: *open
peerings:
  one: {{vpcs: [main, left]}}
  two: {{vpcs: [main, right]}}
nat_gateways:
  nat: {{subnet: without, address: 10.0.2.5, eip: 203.0.113.5}}
endpoints:
  s3: {{type: gateway, service: s3, route_tables: with}}
hosts:
  with: {{subnet: with, address: 10.0.1.10, eip: 203.0.113.10, groups: open}}
  without:
    subnet: without
    address: 10.0.2.10
    eip: 203.0.113.11
    groups: open
    run: python3 -m http.server 80
  hidden: {{subnet: hidden, address: 10.0.3.10, groups: open}}
  left: {{subnet: left, address: 10.1.1.10, groups: open}}
  right: {{subnet: right, address: 10.2.1.10, groups: open, run: python3 -m http.server 80}}
internet:
  hosts:
    s3-host: {{addresses: 52.216.1.1, run: python3 -m http.server 80}}
    west: {{addresses: 52.218.128.1, run: python3 -m http.server 80}}
    web:
      addresses: 198.51.100.7
      run: {ECHO} 7
"""


def numbered_ways(report):
    with topology(WAYS) as file, lab("ways", file, *FAST) as it:
        s3, west = "http://52.216.1.1/", "http://52.218.128.1/"
        with report.part("numbered b062 a subnet without the route takes the internet gateway"):
            it.eventually_reaches("without", s3)
            it.logs("s3-host", "203.0.113.11 - -")
            it.reaches("with", s3)
            it.logs("s3-host", "10.0.1.10 - -")
        with report.part("numbered b063 another region's S3 is reached by the default route"):
            it.eventually_reaches("with", west)
            it.logs("west", "203.0.113.10 - -")
        with report.part("numbered b064 a peered VPC cannot use the endpoint"):
            with it.drops("peering.not_in_vpc"):
                it.no_way("left", s3)
        with report.part("numbered b066 UDP does not pass a gateway endpoint"):
            with it.drops("endpoint.gateway_protocol"):
                check(not udp(it, "with", "52.216.1.1", 53), "it was answered")
        with report.part("numbered b055 peering is not transitive"):
            it.eventually_reaches("left", "http://10.0.2.10/")
            it.eventually_reaches("without", "http://10.2.1.10/")
            with it.drops("peering.not_in_vpc"):
                it.no_way("left", "http://10.2.1.10/")
        with report.part("numbered b056 a peer's internet gateway cannot be used"):
            with it.drops("peering.not_in_vpc"):
                it.no_way("left", "http://198.51.100.7:7/")
        with report.part("numbered b053 fragments of UDP pass a NAT gateway, those of pings do not"):
            wait("UDP is echoed", lambda: udp(it, "hidden", "198.51.100.7", 7))
            check(it.exec("hidden", "ip", "link", "set", "eth0", "mtu", "600").returncode == 0, "mtu")
            check(udp(it, "hidden", "198.51.100.7", 7, size=1400), "no fragments")
            with it.drops("nat.fragment"):
                done = it.exec("hidden", "ping", "-c", 1, "-W", 1, "-s", 1400, "198.51.100.7")
                check(done.returncode == 1, done.stdout)
        with report.part("numbered b054 ESP and GRE do not pass"):
            for protocol in (47, 50):
                send = ("import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, "
                        f"{protocol}).sendto(bytes(40), ('198.51.100.7', 0))")
                with it.drops("nat.protocol"):
                    done = it.exec("hidden", "python3", "-c", send)
                    check(done.returncode == 0, done.stderr)
                    # In the same order: the counter has moved when this is answered.
                    it.exec("hidden", "ping", "-c", 1, "-W", 1, "198.51.100.7")
        with report.part("numbered b052 after 351 s of silence the inside is reset"):
            with late(it, "hidden", "198.51.100.7", 7) as again, it.drops("nat.no_connection"):
                passed(it, 351)
                check(again() == ["reset"], "no reset")


def balanced(text):
    """The PrivateLink example with an echo server, by UDP as well."""
    return replaced(
        text,
        ("run: python3 -m http.server 80", f"run: {ECHO} 80"),
        ("          - {proto: tcp, ports: 80, to: endpoint}\n",
         "          - {proto: tcp, ports: 80, to: endpoint}\n"
         "          - {proto: udp, ports: 53, to: endpoint}\n"),
        ("          - {proto: tcp, ports: 80, from: client}\n",
         "          - {proto: tcp, ports: 80, from: client}\n"
         "          - {proto: udp, ports: 53, from: client}\n"),
        ("          - {proto: tcp, ports: 80, from: 10.0.1.0/24}\n",
         "          - {proto: tcp, ports: 80, from: 10.0.1.0/24}\n"
         "          - {proto: udp, ports: 53, from: 10.0.1.0/24}\n"),
        ("          - {proto: tcp, ports: 80, to: server}\n",
         "          - {proto: all, to: server}\n"),
        ("          - {proto: tcp, ports: 80, from: balancer}\n",
         "          - {proto: all, from: balancer}\n"),
        ("      - {proto: tcp, port: 80, target_group: servers}\n",
         "      - {proto: tcp, port: 80, target_group: servers}\n"
         "      - {proto: udp, port: 53, target_group: datagrams}\n"),
        # Nothing listens there: every target is unhealthy.
        ("    health_check: {protocol: tcp, interval: 5, timeout: 2, healthy: 2, unhealthy: 2}\n",
         "    health_check: {protocol: tcp, port: 81, interval: 5, timeout: 2, healthy: 2, unhealthy: 2}\n"
         "  datagrams:\n    protocol: udp\n    port: 80\n    targets: server\n"
         "    health_check: {protocol: tcp, port: 81, interval: 5, timeout: 2, healthy: 2, unhealthy: 2}\n"))


def numbered_endpoints(report):
    example = (EXAMPLES / "privatelink.yaml").read_text()
    with topology(balanced(example)) as file, lab("balanced", file, *FAST) as it:
        with report.part("numbered b083 with all targets unhealthy connections still go on"):
            wait("the target is unhealthy", lambda: all(
                target["health"] == "unhealthy" for group in it.json("ps")["target_groups"]
                for target in group["targets"]))
            with late(it, "client", "10.0.1.100", 80):
                pass
        with report.part("numbered b079 8500 bytes pass an endpoint, 8501 vanish"):
            check(udp(it, "client", "10.0.1.100", 53, size=8472), "8500 bytes")
            with it.drops("endpoint.mtu"):
                check(not udp(it, "client", "10.0.1.100", 53, size=8473), "8501 bytes")
        with report.part("numbered b081 a connection idle for 351 s is reset when data comes"):
            with late(it, "client", "10.0.1.100", 80) as again, it.drops("lb.no_connection"):
                passed(it, 351)
                check(again() == ["reset"], "no reset")
    accepted(report, example)
    zones = replaced((EXAMPLES / "privatelink-ha.yaml").read_text(),
                     ("targets: [web-a, web-b, web-c]", "targets: [web-a, web-c]"))
    with topology(zones) as file, lab("zones", file) as it:
        with report.part("numbered b082 without cross-zone a node uses targets of its zone"):
            it.eventually_reaches("client-a", "http://10.0.1.100/")
            with it.drops("lb.no_target"):
                it.no_way("client-a", "http://10.0.2.100/")


def accepted(report, example):
    """What the provider says of an endpoint, and what its load balancer's groups do."""
    url = "http://10.0.1.100/"
    pending = replaced(example, ("accept: auto ", "accept: false"),
                       ("ports: 80, from: 10.0.1.0/24}", "ports: 80, from: 192.0.2.0/24}"))
    with topology(pending) as file, lab("accepted", file) as it:
        with report.part("numbered b072 an endpoint carries nothing until it is accepted"):
            with it.drops("endpoint.unavailable"):
                it.no_way("client", url)
        file.write_text(replaced(pending, ("accept: false", "accept: auto ")))
        it.up()
        with report.part("numbered b087 the load balancer's groups judge clients if enforced"):
            with it.drops("security_group"):
                it.no_way("client", url)
            file.write_text(replaced(
                file.read_text(),
                ("    groups: balancer\n", "    groups: balancer\n    enforce_privatelink_groups: false\n")))
            it.up()
            it.eventually_reaches("client", url)
        with report.part("numbered b072 a rejected endpoint takes no new connections"):
            at = it.json("ps")
            services = called(at["http"], "DescribeVpcEndpointServiceConfigurations")
            service = services.split("<serviceId>")[1].split("<")[0]
            called(at["http"], "RejectVpcEndpointConnections", ServiceId=service,
                   **{"VpcEndpointId.1": at["endpoints"][0]["id"]})
            with it.drops("endpoint.unavailable"):
                it.no_way("client", url)


def called(url, action, **parameters):
    """What AWS's API says, to curl."""
    words = {"Action": action, "Version": "2016-11-15", **parameters}
    data = [word for pair in words.items() for word in ("-d", "=".join(pair))]
    done = sh("curl", "-sS", "-f", "-m", 10, "--aws-sigv4", "aws:amz:us-east-1:ec2", "-u",
              "AKIAIOSFODNN7EXAMPLE:secret", *data, f"{url}/")
    check(done.returncode == 0, f"{action}: {done.stdout}{done.stderr}")
    return done.stdout


INSPECTION = EXAMPLES / "gwlb-inspection.yaml"
PEER = "203.0.113.80"


def inspected(*pairs):
    """The inspection example with an echo server on port 443 of the internet host."""
    return replaced(INSPECTION.read_text(), ("- python3 -m http.server 443", f"- {ECHO} 443"), *pairs)


def numbered_gwlb(report):
    with topology(inspected()) as file, lab("idle", file, "--wait", *FAST) as it:
        it.eventually_reaches("app", f"http://{PEER}/")
        with report.part("numbered b091 many connections use all appliances"):
            with late(it, "app", PEER, 443, 16):
                check(all(len(at_443(it, name)) >= 2 for name in APPLIANCES), "one has none")
        with report.part("numbered b095 after 351 s late data is dropped, a SYN opens a new flow"):
            with late(it, "app", PEER, 443) as again, it.drops("gwlb.no_flow"):
                passed(it, 351)
                check(again() == ["nothing"], "it was answered")
            with late(it, "app", PEER, 443):
                pass
        with report.part("numbered b096 after 121 s UDP opens a new flow"):
            created = lambda: it.counters()["gwlb.flow_created"]
            check(udp(it, "app", PEER, 443, source=5000), "no echo")
            before = created()
            passed(it, 121)
            check(udp(it, "app", PEER, 443, source=5000), "no echo")
            check(created() == before + 1, f"{created()} after {before}")
        with report.part("numbered b093 b094 what an appliance makes up is dropped"):
            forged(it)
        with report.part("numbered b102 late data is reset where the attribute says so"):
            file.write_text(inspected(
                ("    stickiness: five_tuple", "    reset_on_idle: true\n    stickiness: five_tuple")))
            it.up()
            with late(it, "app", PEER, 443) as again, it.drops("gwlb.no_flow"):
                passed(it, 351)
                check(again() == ["reset"], "no reset")
    text = inspected(("failover: no_rebalance", "failover: rebalance"))
    # Slow enough for no connection to be idle for too long.
    with topology(text) as file, lab("failing", file, "--wait", "--time-scale", 10) as it:
        it.eventually_reaches("app", f"http://{PEER}/")
        with report.part("numbered b097 with rebalance connections of a failed appliance move"):
            fails(it, "echo")
        with report.part("numbered b097 without, they stay and are lost"):
            file.write_text(inspected())
            it.up()
            done = vpclab("restart", "fw-a", "--lab", it.name)
            check(done.returncode == 0, done.stderr)
            wait("all are healthy", lambda: health(it) == {"healthy"})
            fails(it, "nothing")
    others(report)


def at_443(it, name):
    """Connections to port 443 that crossed an appliance."""
    return [flow for flow in stats(it, name)["flows"] if flow["to"].endswith(":443")]


def health(it):
    return {target["health"] for target in it.json("ps")["target_groups"][0]["targets"]}


def fails(it, becomes):
    """Appliance fw-a fails; what becomes of its connections, while others go on."""
    before = len(at_443(it, "fw-a"))
    with late(it, "app", PEER, 443, 12) as again:
        there = len(at_443(it, "fw-a")) - before
        check(0 < there < 12, f"{there} connections at fw-a")
        program = it.host("fw-a")["commands"][0]["pid"]
        find = f"for p in $(cat /proc/{program}/task/{program}/children); do kill $p; done"
        check(it.exec("fw-a", "sh", "-c", find).returncode == 0, "kill")
        wait("it is unhealthy", lambda: "unhealthy" in health(it))
        said = again()
        wanted = [becomes] * there + ["echo"] * (12 - there)
        check(sorted(said) == sorted(wanted), f"{said}, {there} were at fw-a")
        with late(it, "app", PEER, 443, 4):
            pass


def forged(it):
    """GENEVE that no load balancer has sent."""
    node = it.json("ps")["load_balancers"][0]["addresses"][0]
    number = it.json("ps")["endpoints"][0]["id"].removeprefix("vpce-0")
    option, cookie = "01080102" + number, "01080301deadbeef"
    inner = "4500001c000040004011f375" + "0a01010a" + "cb007150" + "1388" + "0009" + "0008" + "0000"
    other = "0108020200000000" + "00000000"
    for options, port, reason in ((option + other + cookie, 6081, "gwlb.invalid_flow_cookie"),
                                  (other + cookie, 6081, "gwlb.invalid_endpoint_id"),
                                  (option + other + cookie, 6082, "gwlb.invalid_tunnel")):
        head = f"{len(options) // 8:02x}00080000000000"
        send = ("import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
                f"s.bind(('', 50000)); s.sendto(bytes.fromhex('{head + options + inner}'), "
                f"('{node}', {port}))")
        with it.drops(reason):
            done = it.exec("fw-a", "python3", "-c", send)
            check(done.returncode == 0, done.stderr)
            wait("it is judged", lambda: it.counters().get(f"drop.{reason}", 0))


def others(report):
    """Appliances that answer no health check, one for all ports of two hosts; IPv6."""
    text = inspected(
        ("stickiness: five_tuple", "stickiness: source_ip_dest_ip"),
        ("    cidr: 10.1.0.0/16\n", "    cidr: 10.1.0.0/16\n    ipv6: 2001:db8:1::/56\n"),
        ("app: {cidr: 10.1.1.0/24,", "app: {cidr: 10.1.1.0/24, ipv6: '2001:db8:1:1::/64',"),
        ("inspection: {cidr: 10.1.2.0/24,", "inspection: {cidr: 10.1.2.0/24, ipv6: '2001:db8:1:2::/64',"),
        ("          - {to: 10.1.1.0/24, via: inspect}\n",
         "          - {to: 10.1.1.0/24, via: inspect}\n          - {to: '2001:db8:1:1::/64', via: inspect}\n"),
        ("          - {to: 0.0.0.0/0, via: inspect}\n",
         "          - {to: 0.0.0.0/0, via: inspect}\n          - {to: '::/0', via: inspect}\n"),
        ("          - {to: 0.0.0.0/0, via: igw}\n",
         "          - {to: 0.0.0.0/0, via: igw}\n          - {to: '::/0', via: igw}\n"),
        ("    address: 10.1.1.10\n", "    address: 10.1.1.10\n    ipv6: '2001:db8:1:1::10'\n"),
        ("      app:\n        ingress:\n",
         "      app:\n        egress: [{proto: all, to: [0.0.0.0/0, '::/0']}]\n        ingress:\n"),
        ("      addresses: 203.0.113.80\n", "      addresses: [203.0.113.80, '2001:db8:ffff::7']\n"),
        ("    address: 10.1.2.10\n", "    address: 10.1.2.10\n    dualstack: true\n"),
    ).replace("run: vpclab appliance", "run: vpclab appliance --health-port 0")
    with topology(text) as file, lab("other", file, *FAST) as it:
        with report.part("numbered b098 with all appliances unhealthy new flows still go to one"):
            wait("all are unhealthy", lambda: health(it) == {"unhealthy"})
            it.eventually_reaches("app", f"http://{PEER}/")
        with report.part("numbered b092 all ports of two hosts have one appliance"):
            with late(it, "app", PEER, 443, 12):
                met = [len(at_443(it, name)) for name in APPLIANCES]
                check(sorted(met) == [0, 12], met)
        with report.part("numbered b089 IPv6 travels in an IPv4 tunnel"):
            with contextlib.ExitStack() as stack:
                packets = [stack.enter_context(it.capture(name)) for name in APPLIANCES]
                done = it.exec("app", "ping", "-6", "-c", 1, "-W", 3, "2001:db8:ffff::7")
                check(done.returncode == 0, done.stdout + done.stderr)
                seen = wait("it crosses", lambda: [row for each in packets for row in each.read(
                    "geneve.proto_type == 0x86dd && ip.version == 4", "ip.dst", "ipv6.dst")])
                check(any("2001:db8:ffff::7" in row[1] for row in seen), seen)


SCENARIOS = [numbered_ways, numbered_endpoints, numbered_gwlb]

"""Published ports and the uplink. The machine is the scenarios' own network namespace,
and the world beyond it another one, joined by a veth pair: nothing leaves the two."""

import contextlib
import hashlib
import os
import pathlib
import signal
import socket
import subprocess

import harness
from attach import container
from harness import check, lab, replaced, sh, topology, vpclab, wait

UPPER = """exec python3 -c "
        import socket
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(('', 5353))
        while True:
            data, peer = s.recvfrom(2000)
            s.sendto(data.upper(), peer)\""""
LAB = f"""name: real
vpcs:
  main:
    cidr: 10.6.0.0/16
    ipv6: true
    igw: true
    subnets:
      public: {{cidr: 10.6.1.0/24, az: a, route_table: public, ipv6: true}}
    route_tables:
      public:
        routes:
          - {{to: 0.0.0.0/0, via: igw}}
          - {{to: "::/0", via: igw}}
    security_groups:
      web:
        ingress:
          - {{proto: tcp, ports: 80, from: 0.0.0.0/0}}
          - {{proto: tcp, ports: 82, from: 0.0.0.0/0}}
          - {{proto: udp, ports: 5353, from: 192.0.2.1/32}}
        egress:
          - {{proto: tcp, ports: 80-90, to: 0.0.0.0/0}}
          - {{proto: tcp, ports: 80-90, to: "::/0"}}
          - {{proto: udp, to: 0.0.0.0/0}}
          - {{proto: icmp, to: 0.0.0.0/0}}
hosts:
  web:
    subnet: public
    address: 10.6.1.10
    groups: web
    eip: 198.51.100.60
    run:
      - python3 -m http.server 80
      - python3 -m http.server 81
      - |
        {UPPER}
  inner:
    subnet: public
    address: 10.6.1.20
    groups: web
internet: {{uplink: true}}
publish: ["127.0.0.1:18080:web:80", "127.0.0.1:18081:web:81", "18082:web:82", "15353:web:5353/udp"]
"""
MACHINE, WORLD = "203.0.113.1", "203.0.113.99"
MACHINE_V6, WORLD_V6 = "2001:db8:99::1", "2001:db8:99::99"
ECHO = ("import socket\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        f"s.bind(('{WORLD}', 7))\n"
        "while True:\n"
        "    data, peer = s.recvfrom(2000)\n"
        "    s.sendto(data + b' from ' + peer[0].encode(), peer)\n")
ASK = ("import socket\n"
       "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
       "s.settimeout(3)\n"
       "s.connect(('{}', {}))\n"
       "s.send(b'question')\n"
       "print(s.recv(2000).decode())\n")
# Curl's exit codes.
REFUSED, TIMEOUT, RESET = 7, 28, 56
LARGE = 20_000_000


@contextlib.contextmanager
def world():
    """The network beyond this machine: a web server on port 80, an echo on UDP port 7."""
    with container(user=None) as it, harness.temporary() as directory:
        content = os.urandom(LARGE)
        (directory / "large").write_bytes(content)
        it.digest = hashlib.sha256(content).hexdigest()
        sh("ip", "link", "add", "wan0", "type", "veth", "peer", "name", "wan1", "netns",
           str(it.pid))
        sh("ip", "addr", "add", f"{MACHINE}/24", "dev", "wan0")
        sh("ip", "addr", "add", f"{MACHINE_V6}/64", "dev", "wan0", "nodad")
        sh("ip", "link", "set", "wan0", "up")
        for argv in (["addr", "add", f"{WORLD}/24", "dev", "wan1"],
                     ["addr", "add", f"{WORLD_V6}/64", "dev", "wan1", "nodad"],
                     ["link", "set", "wan1", "up"], ["link", "set", "lo", "up"]):
            done = it.run("ip", *argv)
            check(done.returncode == 0, done.stderr)
        log = directory / "log"
        with log.open("w") as file:
            server = ["python3", "-m", "http.server", "80", "--bind"]
            children = [
                subprocess.Popen(it.argv(*server, WORLD), cwd=directory,
                                 stdout=subprocess.DEVNULL, stderr=file),
                subprocess.Popen(it.argv(*server, WORLD_V6), cwd=directory,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL),
                subprocess.Popen(it.argv("python3", "-c", ECHO), cwd="/")]
        it.clients = lambda: {line.split()[0] for line in log.read_text().splitlines()}
        try:
            wait("the world's server answers", lambda: sh(
                "curl", "-sS", "-m", 1, "-o", "/dev/null", f"http://{WORLD}/").returncode == 0)
            yield it
        finally:
            for child in children:
                child.kill()
                child.wait()
            sh("ip", "link", "del", "wan0")
            wait("the link is gone", lambda: "wan0" not in sh("ip", "link").stdout)


def here(port, seconds=5):
    """A client on this machine."""
    return sh("curl", "-sS", "-m", seconds, "-o", "/dev/null", f"http://127.0.0.1:{port}/")


def gateway(it):
    return it.json("ps")["gateway"]


def publishes(report, it):
    with report.part("publish: a port leads to the host, entered from the gateway's address"):
        wait("the port answers", lambda: here(18080).returncode == 0)
        it.logs("web", "192.0.2.1 - -")
    with report.part("publish: a UDP port"):
        wait("the host's socket is there", lambda: ":5353" in it.exec("web", "ss", "-lnu").stdout)
        done = sh("python3", "-c", ASK.format("127.0.0.1", 15353))
        check(done.stdout.strip() == "QUESTION", done.stdout + done.stderr)
    with report.part("publish: groups judge as for any client on the internet"):
        with it.drops("security_group.ingress", "security_group"):
            done = here(18081, 2)
            check(done.returncode == TIMEOUT, f"curl exit {done.returncode}")
    with report.part("publish: a port that the host refuses is reset"):
        done = here(18082)
        check(done.returncode in (REFUSED, RESET), f"curl exit {done.returncode}: {done.stderr}")
    with report.part("publish: ps and inspect show it"):
        seen = gateway(it)
        check(seen["uplink"] and len(seen["published"]) == 4, seen)
        check(seen["published"][0]["target"] == "198.51.100.60:80", seen)
        text = vpclab("ps", "--lab", it.name).stdout
        check("127.0.0.1:18080" in text and "web:80" in text, text)
        check("this.machine" not in text, "the gateway is no host of the user's")
        own = it.json("inspect", "web")["gateway"]["published"]
        check(len(own) == 4, own)
        check(it.json("inspect", "inner")["gateway"] is None, "inner publishes nothing")
        metrics = sh("curl", "-sS", it.json("ps")["http"] + "/metrics").stdout
        check('vpclab_gateway_conversations{protocol="tcp"}' in metrics, metrics[-500:])
        listens = sh("ss", "-lntu").stdout
        check("127.0.0.1:18082" in listens and "0.0.0.0:18082" not in listens, listens)


def reaches_the_world(report, it, outside):
    with report.part("uplink: TCP, from this machine's address"):
        it.reaches("web", f"http://{WORLD}/")
        check(outside.clients() == {MACHINE}, f"clients: {outside.clients()}")
    with report.part("uplink: IPv6"):
        wait("the world answers", lambda: it.curl(
            "web", f"http://[{WORLD_V6}]/", seconds=2).returncode == 0)
        done = it.curl("web", f"http://[{MACHINE_V6}]/")
        check(done.returncode == REFUSED, f"to the machine itself: curl exit {done.returncode}")
    with report.part("uplink: much data arrives whole"):
        done = it.exec("web", "sh", "-c",
                       f"curl -sS -m 30 http://{WORLD}/large | sha256sum", timeout=60)
        check(done.stdout.split()[0] == outside.digest, done.stdout + done.stderr)
    with report.part("uplink: a refused connection is refused at once"):
        done = it.curl("web", f"http://{WORLD}:81/")
        check(done.returncode == REFUSED, f"curl exit {done.returncode}")
    with report.part("uplink: UDP, and nobody listening is said"):
        done = it.exec("web", "python3", "-c", ASK.format(WORLD, 7))
        check(done.stdout.strip() == f"question from {MACHINE}", done.stdout + done.stderr)
        done = it.exec("web", "python3", "-c", ASK.format(WORLD, 8))
        check("ConnectionRefusedError" in done.stderr, done.stdout + done.stderr)
    with report.part("uplink: pings where the system lets them"):
        setting = pathlib.Path("/proc/sys/net/ipv4/ping_group_range")
        for groups, code in (("1 0", 1), ("0 2147483647", 0)):
            setting.write_text(groups)
            done = it.exec("web", "ping", "-c", 1, "-W", 1, WORLD)
            check(done.returncode == code, f"groups {groups}: {done.stdout}")


def keeps_away(report, it):
    """What the uplink does not lead to, though something answers there."""
    with report.part("uplink: not to this machine itself"), \
            socket.create_server(("0.0.0.0", 80)):
        check(sh("curl", "-sS", "-m", 1, f"http://{MACHINE}/").returncode == TIMEOUT,
              "the trap is not set")
        before = gateway(it)["not_carried"]
        done = it.curl("web", f"http://{MACHINE}/")
        check(done.returncode == REFUSED, f"curl exit {done.returncode}: {done.stderr}")
        check(gateway(it)["not_carried"] > before, "not counted")
        # Assigned to nobody, but routed to this machine.
        routed = "203.0.113.200"
        sh("ip", "route", "add", "local", routed, "dev", "lo")
        check(sh("curl", "-sS", "-m", 1, f"http://{routed}/").returncode == TIMEOUT, "no trap")
        done = it.curl("web", f"http://{routed}/")
        sh("ip", "route", "del", "local", routed, "dev", "lo")
        check(done.returncode == REFUSED, f"curl exit {done.returncode}: {done.stderr}")
    with report.part("uplink: not to loopback, link-local or private addresses"):
        done = it.curl("web", "http://127.0.0.1:18080/")
        check(done.returncode == REFUSED, "a host's loopback is its own")
        with it.drops("local.not_answered"):
            it.no_way("web", "http://169.254.7.7/")
        with it.drops("igw.rfc1918"):
            it.no_way("web", "http://192.168.0.1/")
        with it.drops("internet.unreachable"):
            it.no_way("web", "http://240.0.0.1/")
    with report.part("uplink: a host without a public address has no way out"):
        with it.drops("igw.no_public_address"):
            it.no_way("inner", f"http://{WORLD}/")
    with report.part("uplink: groups judge what goes out"):
        with it.drops("security_group.egress", "security_group"):
            it.no_way("web", f"http://{WORLD}:443/")


def published_and_uplink(report):
    with topology(LAB) as file, world() as outside, lab("real", file) as it:
        publishes(report, it)
        reaches_the_world(report, it, outside)
        keeps_away(report, it)
        with report.part("uplink: a trace says so"):
            seen = it.json("trace", "web", f"{WORLD}:80")
            check(seen["reachable"], seen)
        changes(report, it, file, outside)


def changes(report, it, file, outside):
    """A second `up`."""
    with report.part("publish: a second up adds, moves and ends ports, flows stay"):
        # Those that a group dropped are still being tried.
        before = gateway(it)["tcp"]
        held = socket.create_connection(("127.0.0.1", 18080))
        wait("it is under way", lambda: gateway(it)["tcp"] == before + 1)
        file.write_text(replaced(LAB, (
            '"127.0.0.1:18081:web:81", "18082:web:82"', '"127.0.0.1:18081:web:80", "18083:web:80"')))
        done = vpclab("up", file, "--lab", it.name, "--dry-run")
        for line in ("+ published port 127.0.0.1:18083/tcp", "- published port 127.0.0.1:18082/tcp",
                     "~ published port 127.0.0.1:18081/tcp: to web:81 → web:80"):
            check(line in done.stdout, f"no {line!r} in {done.stdout}{done.stderr}")
        check(here(18083).returncode == REFUSED, "a dry run did something")
        it.up()
        check(here(18081).returncode == 0 and here(18083).returncode == 0, "not there")
        check(here(18082).returncode == REFUSED, "still there")
        held.sendall(b"GET / HTTP/1.0\r\n\r\n")
        held.settimeout(harness.DEADLINE)
        check(held.recv(100).startswith(b"HTTP/1.0 200"), "the connection did not stay")
        held.close()
    with report.part("publish: a second up with a port in use changes nothing"), \
            socket.create_server(("127.0.0.1", 18084)):
        before = gateway(it)["published"]
        file.write_text(replaced(LAB, ("18082:web:82", "18084:web:80")))
        for options in (["--dry-run"], []):
            done = vpclab("up", file, "--lab", it.name, *options)
            check(done.returncode == 2 and "127.0.0.1:18084/tcp" in done.stderr, done.stderr)
        check(gateway(it)["published"] == before, "it changed something")
    with report.part("publish: a daemon that comes after a killed one listens again"):
        file.write_text(LAB)
        it.up()
        os.kill(it.daemon(), signal.SIGKILL)
        it.up()
        check(here(18080).returncode == 0, "nobody listens")
    with report.part("uplink: an ACL acts on the next packet"):
        denied = ("route_table: public, ipv6: true}\n",
                  "route_table: public, ipv6: true, network_acl: shut}\n"
                  "    network_acls:\n"
                  "      shut:\n"
                  "        egress:\n"
                  "          - {rule: 90, action: deny, proto: udp, cidr: 0.0.0.0/0}\n"
                  "          - {rule: 100, action: allow, proto: all, cidr: 0.0.0.0/0}\n"
                  "        ingress:\n"
                  "          - {rule: 100, action: allow, proto: all, cidr: 0.0.0.0/0}\n")
        file.write_text(replaced(LAB, denied))
        it.up()
        with it.drops("network_acl.egress", "network_acl"):
            done = it.exec("web", "python3", "-c", ASK.format(WORLD, 7))
            check("TimeoutError" in done.stderr, done.stdout + done.stderr)
        it.reaches("web", f"http://{WORLD}/")
    with report.part("uplink: without a route there is no way, without uplink nobody"):
        file.write_text(replaced(LAB, ("- {to: 0.0.0.0/0, via: igw}", "- {to: 192.0.2.0/24, via: igw}")))
        it.up()
        with it.drops("route.none"):
            it.no_way("web", f"http://{WORLD}/")
        file.write_text(replaced(LAB, ("internet: {uplink: true}", "internet: {uplink: false}")))
        done = it.up()
        check("gateway to the real network" in done, done)
        with it.drops("internet.unreachable"):
            it.no_way("web", f"http://{WORLD}/")
        check(here(18080).returncode == 0, "published ports stay")
    with report.part("gateway: gone when nothing asks for it"):
        file.write_text(replaced(LAB, ("internet: {uplink: true}", ""), (LAB[LAB.index("publish:"):], "")))
        it.up()
        check(gateway(it) is None, gateway(it))
        check(here(18080).returncode == REFUSED, "still there")


def gateway_with_workers(report):
    """Whichever worker has a flow."""
    with topology(LAB) as file, world(), lab("workers", file, "--workers", 2) as it:
        with report.part("gateway: every worker reaches it"):
            wait("the port answers", lambda: here(18080).returncode == 0)
            for _ in range(12):
                check(here(18080).returncode == 0, "published port")
                it.reaches("web", f"http://{WORLD}/")
            full = it.counters().get("drop.port.full", 0)
            check(full == 0, f"{full} frames found no port")


def publish_errors(report):
    with socket.create_server(("127.0.0.1", 18080)), topology(LAB) as file:
        with report.part("publish: a port in use"):
            done = vpclab("up", file, "--lab", harness.PREFIX + "taken")
            check(done.returncode == 2, f"exit {done.returncode}: {done.stderr}")
            check("127.0.0.1:18080/tcp" in done.stderr and "\n  fix: " in done.stderr, done.stderr)
    # An IPv6 address would be a public one.
    private = replaced(LAB, ("    eip: 198.51.100.60\n", ""), (", ipv6: true}", "}"))
    with topology(private) as file, report.part("publish: a host without a public address"):
        done = vpclab("up", file, "--lab", harness.PREFIX + "private")
        check(done.returncode == 2 and "add `eip: true`" in done.stderr, done.stderr)


SCENARIOS = [published_and_uplink, gateway_with_workers, publish_errors]

"""ENIs for what the lab did not make: containers, named networks, virtual machines."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess

import harness
from harness import VPCLAB, check, lab, needs_no_root, own_processes, sh, topology, vpclab, wait

LAB = """name: attach
vpcs:
  main:
    cidr: 10.5.0.0/16
    subnets:
      one: {cidr: 10.5.1.0/24, az: a}
      two: {cidr: 10.5.2.0/24, az: a}
    security_groups:
      open:
        ingress:
          - {proto: all, from: 0.0.0.0/0}
hosts:
  web:
    subnet: two
    address: 10.5.2.10
    groups: open
    run: python3 -m http.server 80
  box:
    subnet: one
    address: 10.5.1.20
    groups: open
    attach: true
"""
BOX, WEB = "10.5.1.20", "10.5.2.10"
ANSWERS = f"http://{WEB}/"


@contextlib.contextmanager
def container(user=harness.ACCOUNT):
    """Something like a container: user, network, mount and process namespaces of its own."""
    ready, told = os.pipe()
    who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    child = subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork",
         "--kill-child", "sh", "-c", f"echo ready >&{told}; exec sleep infinity"],
        pass_fds=[told], stdout=subprocess.DEVNULL, cwd="/", **who)
    os.close(told)
    check(os.read(ready, 5) == b"ready", "the container does not start")
    os.close(ready)
    try:
        yield Container(child)
    finally:
        child.kill()
        child.wait()


class Container:
    def __init__(self, child):
        self.child = child
        # `unshare` itself is in the new network.
        self.pid = child.pid

    def argv(self, *argv):
        return ["nsenter", "--target", str(self.pid), "--user", "--net",
                *map(str, argv)]

    def run(self, *argv, **options):
        return sh(*self.argv(*argv), **options)

    def links(self):
        return {link["ifname"]: link for link in json.loads(self.run("ip", "-j", "link").stdout)}

    def reaches(self, url):
        return self.run("curl", "-sS", "-m", 2, "-o", "/dev/null", url).returncode == 0


def state(it, host):
    ports = it.host(host)["interfaces"]
    return [port["attached_to"] for port in ports]


def attach_container(report):
    with topology(LAB) as file, lab("attach", file) as it:
        it.eventually_reaches("web", ANSWERS)
        attach = lambda *argv: vpclab("attach", "--lab", it.name, *argv)
        with report.part("attach an ENI that waits drops with its reason"):
            check(state(it, "box") == [None], state(it, "box"))
            with it.drops("port.detached"):
                it.exec("web", "ping", "-c", 1, "-W", 1, BOX)
        with container() as box:
            with report.part("attach a container is the host, both ways"):
                done = attach("box", "--pid", box.pid)
                check(done.returncode == 0, done.stderr)
                check("eth0 in process" in state(it, "box")[0], state(it, "box"))
                eth0 = box.links()["eth0"]
                check(eth0["mtu"] == 9001, eth0)
                check(box.reaches(ANSWERS), "the container reaches nobody")
                ping = it.exec("web", "ping", "-c", 1, "-W", 2, BOX)
                check(ping.returncode == 0, ping.stdout)
            with report.part("attach twice is refused, and changes nothing"):
                done = attach("box", "--pid", box.pid, "--name", "eth1")
                check(done.returncode == 1 and "vpclab detach box" in done.stderr, done.stderr)
                check(set(box.links()) == {"lo", "eth0"}, box.links().keys())
            with report.part("attach survives a daemon that is killed"):
                os.kill(it.daemon(), signal.SIGKILL)
                wait("the daemon is gone", lambda: not daemons(it))
                check("eth0" in box.links(), "the interface went with the daemon")
                check("up again" in it.up(), "up adopts")
                wait("the container reaches the web again", lambda: box.reaches(ANSWERS))
                check("eth0 in process" in state(it, "box")[0], state(it, "box"))
            with report.part("detach takes the interface away"):
                done = vpclab("detach", "box", "--lab", it.name)
                check(done.returncode == 0, done.stderr)
                wait("eth0 is gone", lambda: "eth0" not in box.links())
                check(state(it, "box") == [None], state(it, "box"))
                done = vpclab("detach", "box", "--lab", it.name)
                check(done.returncode == 1, done.stderr)
            with report.part("attach a container that ends detaches it"):
                done = attach("box", "--pid", box.pid, "--json")
                check(done.returncode == 0, done.stderr)
                made = harness.valid("attach", done.stdout)["interfaces"][0]
                check(made["addresses"] == [f"{BOX}/24"] and not made["tap"], made)
                box.child.kill()
                box.child.wait()
                wait("the state says detached", lambda: state(it, "box") == [None])


def daemons(it):
    own = it.directory()
    return [p for p, a in own_processes().items() if "daemon" in a[1:2] and str(own) in a]


def attach_errors(report):
    with topology(LAB) as file, lab("attach-errors", file) as it, container() as box:
        cases = {
            "a host of the lab's own": (["web", "--pid", box.pid], 2, "`attach: true`"),
            "an unknown name": (["bix", "--pid", box.pid], 2, "wait to be attached: box"),
            "no such process": (["box", "--pid", 2 ** 22], 2, "docker inspect"),
            "no such path": (["box", "--netns", "/run/netns/of-nobody"], 2, "of-nobody"),
            "no namespace": (["box", "--netns", "/etc/passwd"], 2, "/run/netns/NAME"),
            "no place": (["box"], 2, "--pid"),
            "a long name": (["box", "--pid", box.pid, "--name", "x" * 16], 2, "1 to 15"),
            "a route that is none": (["box", "--pid", box.pid, "--route", "ten"], 2, "10.0.0.0/16"),
        }
        for name, (argv, code, words) in cases.items():
            with report.part(f"attach error {name}"):
                done = vpclab("attach", "--lab", it.name, *argv)
                check(done.returncode == code, f"exit {done.returncode}: {done.stderr}")
                check(words in done.stderr, done.stderr)
        with report.part("attach error a default route that is there already"):
            box.run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1")
            box.run("ip", "link", "set", "up1", "up")
            box.run("ip", "addr", "add", "192.0.2.1/24", "dev", "up0")
            box.run("ip", "link", "set", "up0", "up")
            made = box.run("ip", "route", "add", "default", "via", "192.0.2.2")
            check(made.returncode == 0, made.stderr)
            done = vpclab("attach", "box", "--pid", box.pid, "--lab", it.name)
            check(done.returncode == 2 and "--no-default-route" in done.stderr, done.stderr)
            check("eth0" not in box.links(), "half an interface stays")
        with report.part("attach beside another default route"):
            done = vpclab("attach", "box", "--pid", box.pid, "--lab", it.name,
                          "--no-default-route", "--route", "10.5.0.0/16")
            check(done.returncode == 0, done.stderr)
            it.eventually_reaches("web", ANSWERS)
            check(box.reaches(ANSWERS), "the route does not lead there")


def attach_machine(report):
    """A TAP for a virtual machine, with this test in the monitor's place: what QEMU
    does with the TAP, it does by the same calls."""
    with topology(LAB) as file, lab("attach-vm", file) as it, container() as box:
        it.eventually_reaches("web", ANSWERS)
        tap = "vm0"
        with report.part("attach a machine's TAP waits for the machine"):
            done = vpclab("attach", "box", "--pid", box.pid, "--tap", tap, "--lab", it.name,
                          "--json")
            check(done.returncode == 0, done.stderr)
            about = harness.valid("attach", done.stdout)["interfaces"][0]
            check(about["tap"] and about["addresses"] == [f"{BOX}/24"], done.stdout)
            wait("it has no carrier", lambda: "NO-CARRIER" in box.links()[tap]["flags"])
        with report.part("attach a machine exchanges frames by the TAP's own header"):
            script = pathlib.Path(__file__).with_name("machine.py")
            done = box.run("/usr/bin/python3", script, tap, about["mac"], BOX, "10.5.1.1", WEB)
            check(done.returncode == 0, done.stdout + done.stderr)
            check(done.stdout.split() == ["arp", "echo", "unreachable"], done.stdout)
        with report.part("detach deletes the machine's TAP"):
            done = vpclab("detach", "box", "--lab", it.name)
            check(done.returncode == 0, done.stderr)
            check(tap not in box.links(), box.links().keys())
        with report.part("down deletes a machine's TAP, wherever it is"):
            # From within that network, where it can be: `down` comes from another.
            attach = ["attach", "box", "--tap", tap, "--lab", it.name]
            if harness.USER:
                done = vpclab(*attach, "--pid", box.pid)
            else:
                done = box.run(VPCLAB, *attach)
            check(done.returncode == 0, done.stderr)
            check(tap in box.links(), box.links().keys())
            check(it.down().returncode == 0, "down")
            check(tap not in box.links(), box.links().keys())


def attach_others(report):
    """Who may attach what."""
    needs_no_root("root may attach everything")
    with topology(LAB) as file, lab("attach-others", file) as it:
        it.eventually_reaches("web", ANSWERS)
        with container(user=None) as roots:
            attach = ["attach", "box", "--pid", roots.pid, "--lab", it.name]
            with report.part("attach a container of root's needs root"):
                done = vpclab(*attach)
                check(done.returncode == 3, f"exit {done.returncode}: {done.stderr}")
                check("as root" in done.stderr, done.stderr)
            with report.part("attach by sudo finds the user's lab"):
                sudo = ["env", f"SUDO_UID={harness.ACCOUNT.pw_uid}", VPCLAB]
                done = sh(*sudo, *attach)
                check(done.returncode == 0, f"exit {done.returncode}: {done.stderr}")
                wait("the container reaches the web", lambda: roots.reaches(ANSWERS))
                done = sh(*sudo, "detach", "box", "--lab", it.name)
                check(done.returncode == 0, f"exit {done.returncode}: {done.stderr}")


OFFICE = """name: office
vpcs:
  main:
    cidr: 10.5.0.0/16
    vgw: true
    subnets: {one: {cidr: 10.5.1.0/24}}
    route_tables: {one: {main: true, propagate: true}}
    security_groups: {open: {ingress: [{proto: all, from: 0.0.0.0/0}]}}
hosts:
  web: {subnet: one, address: 10.5.1.10, groups: open, run: python3 -m http.server 80}
on_prem:
  office:
    cidrs: 192.168.0.0/16
    vpn: main
    hosts:
      router: {addresses: 192.168.0.1, prefixes: 192.168.0.0/16, attach: true}
"""


def attach_office(report):
    """A network of one's own as the office behind a VPN."""
    behind, url = "192.168.77.5", "http://10.5.1.10/"
    with topology(OFFICE) as file, lab("attach-office", file) as it, container() as box:
        done = vpclab("attach", "router", "--pid", box.pid, "--lab", it.name)
        check(done.returncode == 0, done.stderr)
        # A machine behind the router, as far as the lab can see.
        box.run("ip", "link", "set", "lo", "up")
        box.run("ip", "addr", "add", f"{behind}/32", "dev", "lo")
        with report.part("attach an office's router, and machines behind it are reached"):
            ping = it.exec("web", "ping", "-c", 1, "-W", 2, behind)
            check(ping.returncode == 0, ping.stdout)
        with report.part("attach machines behind an office's router reach the VPC"):
            curl = ["curl", "-sS", "-m", 2, "--interface", behind, "-o", "/dev/null", url]
            wait("the web answers", lambda: box.run(*curl).returncode == 0)
            it.logs("web", f"{behind} - -")
        with report.part("attach an office's router keeps the tunnel's size"):
            with it.drops("mtu"):
                big = box.run("ping", "-c", 1, "-W", 1, "-M", "do", "-s", 1446 - 28 + 1,
                              "-I", behind, "10.5.1.10")
                check(big.returncode == 1, big.stdout)
            fits = box.run("ping", "-c", 1, "-W", 2, "-M", "do", "-s", 1446 - 28,
                           "-I", behind, "10.5.1.10")
            check(fits.returncode == 0, fits.stdout)


SCENARIOS = [attach_container, attach_office, attach_errors, attach_machine, attach_others]

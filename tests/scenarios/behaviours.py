"""Numbered behaviours of AWS with ping, arping, curl and ip. (Those of
PrivateLink and of gateway load balancers are in the scenarios of these.)"""

import re

from harness import HERE, check, lab, wait
from tiers import ACL, SG

FILE = HERE / "behaviours.yaml"
OUTSIDE = "http://203.0.113.9/"


def behaviours(report):
    with lab("behaviours", FILE) as it:
        for host, url in (("b", "http://10.4.1.10/"), ("a", OUTSIDE),
                          ("a", "http://10.4.2.10/"), ("closed-b", "http://10.4.4.10/"),
                          ("forgetful", "http://127.0.0.1:443/"), ("ordered", "http://127.0.0.1/"),
                          ("a", "http://10.4.5.10:81/")):
            it.eventually_reaches(host, url)
        for fact in FACTS:
            with report.part(f"behaviours {fact.__name__}: {fact.__doc__}"):
                fact(it)


def mac_of(it, host):
    return it.exec(host, "cat", "/sys/class/net/eth0/address").stdout.strip()


def arping(it, host, address):
    done = it.exec(host, "arping", "-c", 1, "-w", 2, "-I", "eth0", address)
    found = re.search(r"\[([0-9A-Fa-f:]+)\]", done.stdout)
    return found.group(1).lower() if found else None


def b004(it):
    """ARP is answered by the mapping, not by the peer"""
    check(it.exec("b", "ip", "link", "set", "eth0", "arp", "off").returncode == 0, "arp off")
    try:
        answer = arping(it, "a", "10.4.1.11")
        check(answer == mac_of(it, "b"), f"{answer} answers for b")
    finally:
        it.exec("b", "ip", "link", "set", "eth0", "arp", "on")


def b005(it):
    """ARP for the subnet's first address finds the router"""
    router = arping(it, "a", "10.4.1.1")
    check(router and router not in (mac_of(it, "a"), mac_of(it, "b")), f"{router} answers")
    check(arping(it, "silent", "10.4.2.1"), "no router in the other subnet")


def b006(it):
    """broadcasts reach nobody"""
    # Linux answers these if told to; then silence is the network's.
    told = it.exec("b", "sh", "-c", "echo 0 > /proc/sys/net/ipv4/icmp_echo_ignore_broadcasts")
    check(told.returncode == 0, told.stderr)
    before = it.port("b")["tx"]
    done = it.exec("a", "ping", "-b", "-c", 2, "-i", "0.2", "-W", 1, "10.4.1.255")
    check(done.returncode == 1, done.stdout + done.stderr)
    check(it.port("b")["tx"] == before, "b met a broadcast")


def b007(it):
    """a foreign source address is dropped at the source check"""
    it.exec("a", "ip", "address", "add", "10.4.1.99/32", "dev", "lo")
    try:
        before = it.port("b")["tx"]
        done = it.exec("a", "ping", "-c", 1, "-W", 1, "-I", "10.4.1.99", "10.4.1.11")
        check(done.returncode == 1, done.stdout + done.stderr)
        check(it.port("b")["tx"] == before, "b got it")
    finally:
        it.exec("a", "ip", "address", "del", "10.4.1.99/32", "dev", "lo")
    ping(it, "a", "10.4.1.11")


def ping(it, host, address):
    done = it.exec(host, "ping", "-c", 1, "-W", 2, address)
    check(done.returncode == 0, f"{host} pings {address}: {done.stdout}")
    return done.stdout


def b017(it):
    """the VPC router leaves the TTL alone"""
    with it.capture("forgetful") as packets:
        it.curl("a", "http://10.4.3.10:443/", seconds=1)
        seen = wait("the SYN", lambda: packets.read("tcp.dstport == 443", "ip.ttl"))
        check(seen[0] == ["64"], f"TTL {seen[0]}")


def b019(it):
    """local beats the default route"""
    before = it.port("outside")["tx"]
    it.reaches("a", "http://10.4.2.10/")
    check(it.port("outside")["tx"] == before, "it went out")


def b035(it):
    """replies need no outbound rule"""
    it.reaches("a", "http://10.4.2.10/")
    with it.drops(*SG):
        it.no_way("silent", "http://10.4.1.10/")


def b042(it):
    """the lowest rule of a network ACL that matches decides"""
    it.reaches("a", "http://10.4.5.10:81/")
    with it.drops(*ACL):
        it.no_way("a", "http://10.4.5.10:80/")


def b043(it):
    """a network ACL remembers no connection: the SYN arrives, the answer is dropped"""
    before = it.port("forgetful")
    with it.drops(*ACL):
        it.no_way("a", "http://10.4.3.10:443/", "--local-port", "50000")
    after = it.port("forgetful")
    check(after["tx"] > before["tx"], "no SYN arrived")
    check(after["rx"] > before["rx"], "no answer was sent")


def b044(it):
    """no network ACL between hosts of one subnet"""
    it.reaches("closed-b", "http://10.4.4.10/")
    with it.drops(*ACL):
        it.no_way("a", "http://10.4.4.10/")


def b047(it):
    """an Elastic IP is mapped one to one, ports stay"""
    with it.capture("outside") as packets:
        it.reaches("a", OUTSIDE, "--local-port", "45000")
        seen = wait("the SYN", lambda: packets.read("tcp.srcport == 45000", "ip.src"))
        check(seen[0] == ["198.51.100.40"], f"from {seen[0]}")
    it.reaches("outside", "http://198.51.100.40/")


def b048(it):
    """without a public address nothing leaves by the gateway"""
    with it.drops("igw.no_public_address"):
        it.no_way("b", OUTSIDE)


FACTS = [b004, b005, b006, b007, b017, b019, b035, b042, b043, b044, b047, b048]
SCENARIOS = [behaviours]

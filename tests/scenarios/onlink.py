"""What answers on a host's own link: resolver, metadata, time and DHCP, asked by
dig, curl, busybox's udhcpc and an SNTP client."""

import json
import subprocess
import time

from harness import Failed, HERE, check, lab, temporary, wait

FILE = HERE / "onlink.yaml"
METADATA = "http://169.254.169.254/latest"

SNTP = """
import json, socket, struct, sys, time
server = sys.argv[1]
family = socket.AF_INET6 if ":" in server else socket.AF_INET
client = socket.socket(family, socket.SOCK_DGRAM)
client.settimeout(5)
client.sendto(bytes([0x23]) + bytes(39) + b"whatever", (server, 123))
answer = client.recv(64)
seconds, fraction = struct.unpack("!II", answer[40:48])
print(json.dumps({"mode": answer[0] & 7, "stratum": answer[1], "echo": answer[24:32].decode(),
                  "off": seconds - 2208988800 + fraction / 2**32 - time.time()}))
"""

# udhcpc runs this with what it was told; nothing is changed by it.
LEASE = """#!/bin/sh
[ "$1" = bound ] || exit 0
for name in ip subnet router dns domain hostname mtu lease serverid; do
    eval "echo $name=\\$$name"
done > "$LEASE_FILE"
"""


def onlink(report):
    with lab("onlink", FILE) as it:
        for fact in FACTS:
            with report.part(f"onlink {fact.__name__}: {fact.__doc__}"):
                fact(it)


def dig(it, host, *words, seconds=5):
    return it.exec(host, "dig", "+tries=1", f"+time={seconds}", *words)


def short(it, host, *words):
    done = dig(it, host, "+short", *words)
    check(done.returncode == 0, f"dig {words}: {done.stdout}{done.stderr}")
    return done.stdout.split()


def b011(it):
    """dig is answered past a group and an ACL that allow nothing"""
    own = "ip-10-6-1-11.ec2.internal"
    # With no server named: resolv.conf says it.
    for server in ([], ["@10.6.0.2"], ["@169.254.169.253"], ["@fd00:ec2::253"], ["+tcp"],
                   ["+tcp", "@fd00:ec2::253"], ["+noedns"], ["+bufsize=512"]):
        found = short(it, "a", *server, own)
        check(found == ["10.6.1.11"], f"{server}: {found}")
    check(short(it, "a", "-x", "10.6.1.11") == [own + "."], "no name for the address")
    nobody = dig(it, "a", "ip-10-6-1-99.ec2.internal")
    check("status: NXDOMAIN" in nobody.stdout, nobody.stdout)
    # Programs that know nothing of DNS find it by the C library.
    found = it.exec("a", "getent", "ahostsv4", own)
    check("10.6.1.11" in found.stdout, found.stdout + found.stderr)
    with it.drops("security_group"):
        done = it.exec("a", "ping", "-c", 1, "-W", 1, "10.6.1.11")
        check(done.returncode == 1, "the groups let a ping out")


def b012(it):
    """1500 questions at once: 1024 are served"""
    # A little apart, or the host's own queue drops some.
    ask = ("import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
           "[(s.sendto(bytes(12), ('10.6.0.2', 53)), time.sleep(2e-4)) for _ in range(1500)]")
    # A busy machine may need more than a second for them, and then serves them all.
    for again in range(5):
        before = it.counters()
        begun = time.monotonic()
        check(it.exec("b", "python3", "-c", ask).returncode == 0, "the questions")
        after = wait("all are judged", lambda: moved(it, before, 1500))
        spent = time.monotonic() - begun
        # Later ones may begin in a second that has served some already.
        check(again or after["local"] >= 1024, f"{after}")
        check(after["local"] <= 1024 * (int(spent) + 1), f"{after} in {spent:.1f} s")
        if after["drop.local.rate"]:
            return
    raise Failed("none was ever refused")


def moved(it, before, count):
    now = it.counters()
    grown = {k: now.get(k, 0) - before.get(k, 0) for k in ("local", "drop.local.rate")}
    return grown if sum(grown.values()) >= count else None


def b013(it):
    """without enableDnsSupport nobody answers"""
    with it.drops("local.resolver_off"):
        done = dig(it, "mute", "ip-10-7-1-10.ec2.internal", seconds=1)
        check(done.returncode == 9, f"dig: exit {done.returncode}: {done.stdout}")


def b014(it):
    """curl reads metadata by session, past everything"""
    put = ("-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60")
    token = it.exec("a", "curl", "-sS", "-m", 5, "-f", *put, f"{METADATA}/api/token").stdout
    check(len(token) == 56, f"a token: {token!r}")
    header = ("-H", f"X-aws-ec2-metadata-token: {token}")
    read = lambda path, *more: it.exec("a", "curl", "-sS", "-m", 5, *more, f"{METADATA}/{path}")
    check(read("meta-data/local-ipv4", *header).stdout == "10.6.1.10", "local-ipv4")
    mac = it.exec("a", "cat", "/sys/class/net/eth0/address").stdout.strip()
    check(read("meta-data/mac", *header).stdout == mac, "mac")
    card = read(f"meta-data/network/interfaces/macs/{mac}/subnet-ipv4-cidr-block", *header)
    check(card.stdout == "10.6.1.0/24", card.stdout)
    document = json.loads(read("dynamic/instance-identity/document", *header).stdout)
    check(document["privateIp"] == "10.6.1.10", f"{document}")
    status = lambda *words: it.exec("a", "curl", "-sS", "-m", 5, "-o", "/dev/null", "-w",
                                    "%{http_code}", *words).stdout
    check(status(f"{METADATA}/meta-data/iam/info", *header) == "404", "iam is there")
    check(status(f"{METADATA}/meta-data/mac", "-H", "X-aws-ec2-metadata-token: no") == "401",
          "any token does")
    check(status("http://[fd00:ec2::254]/latest/meta-data/mac", *header) == "200", "by IPv6")


def hops(it):
    """the answer to PUT travels one hop, others as usual"""
    with it.capture("a") as packets:
        put = ("-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60")
        check(it.curl("a", f"{METADATA}/api/token", *put).returncode == 0, "PUT")
        check(it.curl("a", f"{METADATA}/meta-data/mac").returncode == 0, "GET")
        found = wait("both answers are captured", lambda: answers(packets))
    check(found == ["1", "64"], f"TTL {found}")


def answers(packets):
    rows = packets.read("http.response && ip.src == 169.254.169.254", "ip.ttl")
    ttls = [row[0] for row in rows]
    return ttls if len(ttls) >= 2 else None


def dhcp(it):
    """udhcpc is given the interface's own address"""
    with temporary() as directory:
        script, file = directory / "script", directory / "lease"
        script.write_text(LEASE)
        script.chmod(0o755)
        done = it.exec("a", "env", f"LEASE_FILE={file}", "busybox", "udhcpc", "-n", "-q", "-f",
                       "-t", 3, "-T", 2, "-i", "eth0", "-s", script, "-O", "mtu")
        check(done.returncode == 0, done.stdout + done.stderr)
        lease = dict(line.split("=", 1) for line in file.read_text().splitlines())
    wanted = {"ip": "10.6.1.10", "subnet": "255.255.255.0", "router": "10.6.1.1",
              "dns": "10.6.0.2", "domain": "ec2.internal", "hostname": "ip-10-6-1-10",
              "mtu": "9001", "lease": "3600", "serverid": "10.6.1.1"}
    check(lease == wanted, f"{lease}")


def ntp(it):
    """an SNTP client gets this machine's time"""
    for server in ("169.254.169.123", "fd00:ec2::123"):
        done = it.exec("a", "python3", "-c", SNTP, server)
        check(done.returncode == 0, done.stderr)
        answer = json.loads(done.stdout)
        check((answer["mode"], answer["stratum"], answer["echo"]) == (4, 3, "whatever"), f"{answer}")
        check(abs(answer["off"]) < 0.5, f"{answer}")


# A resolver that knows one address for every name.
# By UDP one address (of `many` none, but that there are more); by TCP a hundred.
OUTSIDE = """
import socket, struct, threading
def answer(query, count, flags):
    end = query.index(0, 12) + 5
    head = query[:2] + struct.pack("!HHHHH", 0x8180 | flags, 1, count, 0, 0) + query[12:end]
    record = bytes([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2])
    return head + b"".join(record + bytes([77 + n]) for n in range(count))
def streams():
    while True:
        client, _ = listener.accept()
        with client, client.makefile("rwb") as stream:
            query = stream.read(int.from_bytes(stream.read(2), "big"))
            said = answer(query, 100, 0)
            stream.write(len(said).to_bytes(2, "big") + said)
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 5399))
listener = socket.create_server(("127.0.0.1", 5399))
threading.Thread(target=streams, daemon=True).start()
print("ready", flush=True)
while True:
    query, client = server.recvfrom(4096)
    many = query[13:17] == b"many"
    server.sendto(answer(query, 0 if many else 1, 0x200 if many else 0), client)
"""


def zones(it):
    """names of the lab's own zones, public and private"""
    check(set(short(it, "a", "www.example.net")) == {"10.6.1.10", "10.6.1.11"}, "www")
    check(set(short(it, "a", "old.example.net")) >= {"www.example.net.", "10.6.1.10"}, "an alias")
    check(short(it, "a", "inside.example.net") == ["10.6.1.11"], "the zone itself")
    check(short(it, "a", "any.inside.example.net") == ["10.6.1.10"], "a wildcard")
    check(short(it, "a", "word.inside.example.net", "TXT") == ['"hello"'], "a text")
    nobody = dig(it, "a", "mail.example.net")
    check("status: NXDOMAIN" in nobody.stdout, nobody.stdout)


def outside(it):
    """what the lab does not know is asked outside; known domains are not"""
    child = it.start("/usr/bin/python3", "-c", OUTSIDE, stdout=subprocess.PIPE,
                     stderr=subprocess.DEVNULL, text=True)
    try:
        check(child.stdout.readline() == "ready\n", "the resolver outside")
        check(short(it, "a", "anything.example.org") == ["192.0.2.77"], "nobody was asked")
        # By TCP, told to or because the answer does not fit; two on one connection.
        all_of_them = {f"192.0.2.{77 + n}" for n in range(100)}
        for words in (["+tcp", "anything.example.org"], ["many.example.org"]):
            check(set(short(it, "a", *words)) == all_of_them, f"{words} by TCP")
        kept = short(it, "a", "+tcp", "+keepopen", "one.example.org", "two.example.org")
        check(len(kept) == 200, f"{len(kept)} addresses on one connection")
        for words in ([], ["+tcp"]):
            nobody = dig(it, "a", *words, "ip-10-6-1-99.ec2.internal")
            check("status: NXDOMAIN" in nobody.stdout, nobody.stdout)
    finally:
        it.stop(child)
        child.stdout.close()


def traces(it):
    """a trace says that the resolver answers, and why it does not"""
    trace = it.json("trace", "a", "10.6.0.2:53", "--proto", "udp")
    check(trace["reachable"] and "resolver answers" in trace["explanation"], f"{trace}")


FACTS = [b011, b013, b014, hops, dhcp, ntp, zones, outside, traces, b012]
SCENARIOS = [onlink]

"""Proxy protocol v2 with a real reader: haproxy tells whom it serves."""

import re

from harness import EXAMPLES, check, lab, replaced, temporary, wait

FILE = EXAMPLES / "privatelink.yaml"
ENDPOINT = "http://10.0.1.100/"
HAPROXY = """
defaults
    mode http
    timeout client 10s
    timeout server 10s
    timeout connect 10s
frontend web
    bind :80 accept-proxy
    log stdout format raw local0
    option dontlognull
    log-format "client=%ci:%cp called=%[dst]:%[dst_port]"
    http-request return status 200 content-type text/plain lf-string "%ci:%cp\\n"
"""


def proxy_protocol(report):
    with temporary() as directory:
        config = directory / "haproxy.cfg"
        config.write_text(HAPROXY)
        file = directory / "lab.yaml"
        file.write_text(replaced(
            FILE.read_text(),
            ("run: python3 -m http.server 80", f"run: /usr/sbin/haproxy -db -f {config}"),
            ("    targets: server\n", "    targets: server\n    proxy_protocol: true\n")))
        with lab("proxied", file, "--wait") as it:
            with report.part("proxy protocol b080 haproxy logs the client's address and port"):
                haproxy(it)
            with report.part("proxy protocol b080 a large answer comes whole"):
                many(it)


def haproxy(it):
    done = it.exec("client", "curl", "-sS", "-m", 5, "-w", "%{local_port}", ENDPOINT)
    check(done.returncode == 0, done.stderr)
    told, port = done.stdout.split("\n")
    check(told == f"10.0.1.10:{port}", done.stdout)
    line = f"client=10.0.1.10:{port} called=10.0.1.100:80"
    wait(f"haproxy's log: {line}", lambda: line in it.log("server"))
    # Health checks have a header about nobody: haproxy takes them for what they are.
    others = re.findall(r"client=(?!10\.0\.1\.10:).*", it.log("server"))
    check(not others, f"haproxy served {others}")
    check(it.counters()["lb.proxy_headers"] >= 1, "no header was counted")


def many(it):
    """A body of some megabytes in both directions' numbers, over one connection."""
    done = it.exec("client", "sh", "-c",
                   f"head -c 20000000 /dev/zero | curl -sS -m 20 --data-binary @- {ENDPOINT}")
    check(done.returncode == 0 and done.stdout.startswith("10.0.1.10:"), done.stdout + done.stderr)


SCENARIOS = [proxy_protocol]

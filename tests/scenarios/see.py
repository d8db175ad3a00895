"""Seeing a lab: metrics, drops, flows, captures of drops, pictures, top."""

import json
import os
import pty
import re
import select
import socket
import subprocess
import time
import urllib.error
import urllib.request

from harness import DEADLINE, EXAMPLES, Lab, VPCLAB, check, lab, temporary, vpclab, wait

FILE = EXAMPLES / "three-tier.yaml"
DEFAULT = "http://127.0.0.1:4566"


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def see(report):
    with lab("see", FILE, "--wait") as it:
        def run(*argv):
            done = vpclab(*argv, "--lab", it.name)
            check(done.returncode == 0, f"{argv}: exit {done.returncode}: {done.stderr}")
            return done.stdout

        with report.part("see metrics and health are served on the user's own 127.0.0.1"):
            url = it.json("ps")["http"]
            check(url == DEFAULT, f"served at {url}")
            it.eventually_reaches("visitor", "http://198.51.100.20/")
            metrics = get(url + "/metrics")
            sent = re.search(r'vpclab_eni_out_packets_total\{.*host="visitor".*\} (\d+)', metrics)
            check(sent and int(sent[1]) > 0, metrics)
            check(metrics.endswith("# EOF\n"), metrics[-50:])
            check(json.loads(get(url + "/health"))["lab"] == it.name, get(url + "/health"))
        with report.part("see drops names the rule and what to change"):
            it.no_way("web", "http://10.3.21.10:5432/")
            drops = it.json("drops", "web", "--filter", "tcp port 5432")["drops"]
            check(drops, "no drop is kept")
            last = drops[-1]
            check(last["reason"] == "network_acl", last)
            check("(database)" in last["component"] and last["rule"] == "entry *: deny", last)
            check(last["fix"].startswith("add an inbound rule from 10.3.1.10/32"), last)
            check(abs(last["time"] - time.time()) < 60, f"{last['time']} is not now")
            text = run("drops", "web")
            check("to change that: add an inbound rule" in text, text)
            check("\x1b" not in text, "colour without a terminal")
            check(it.json("drops", "db")["drops"] == [], "db dropped nothing")
        with report.part("see drops and flows are followed"):
            with temporary() as directory:
                lines = {}
                for command, more in (("drops", ["web"]), ("flows", ["--port", "8080"])):
                    file = directory / command
                    child = it.start(VPCLAB, command, *more, "--follow", "--json", "--lab", it.name,
                                     stdout=file.open("w"), stderr=subprocess.DEVNULL)
                    lines[command] = (file, child)

                def seen(command, wanted):
                    text = lines[command][0].read_text().splitlines()
                    return any(wanted(json.loads(line)) for line in text)

                wait("the following of drops begins",
                     lambda: seen("drops", lambda line: line["drops"]))
                it.reaches("web", "http://10.3.11.10:8080/")
                it.no_way("web", "http://10.3.21.10:5433/")
                for event in ("new", "ended"):
                    wait(f"a flow is told as {event}", lambda e=event: seen(
                        "flows", lambda line: line["event"] == e and line["flow"]["protocol"] == "tcp"))
                wait("a new drop is told", lambda: seen("drops", lambda line: any(
                    ":5433" in drop["packet"] for drop in line["drops"])))
                for _, child in lines.values():
                    it.stop(child)
        with report.part("see a capture of drops only says why in its comments"):
            with temporary() as directory:
                file = directory / "drops.pcapng"
                child = it.start(VPCLAB, "capture", "--drops", "--filter", "tcp port 5434",
                                 "-c", "1", "-w", file, "--lab", it.name)
                wait("the capture begins", lambda: file.exists() and file.stat().st_size > 0)
                it.reaches("web", "http://10.3.11.10:8080/")
                it.no_way("web", "http://10.3.21.10:5434/")
                check(child.wait(DEADLINE) == 0, f"exit {child.returncode}")
                done = subprocess.run(["tshark", "-r", file, "-T", "fields", "-e", "tcp.dstport",
                                       "-e", "frame.comment"], capture_output=True, text=True)
                check(done.stdout.startswith("5434\tdropped: network_acl"), done.stdout)
                check("entry *: deny" in done.stdout and "To change that" in done.stdout,
                      done.stdout)
        with report.part("see wrong filters and names are refused"):
            for argv, word in ((("drops", "--filter", "tcpp"), "is not a property"),
                               (("capture", "--filter", "port http"), "is no port"),
                               (("flows", "--filter", "host nobody"), "nobody"),
                               (("drops", "nobody"), "nobody")):
                done = vpclab(*argv, "--lab", it.name)
                check(done.returncode == 2 and word in done.stderr and "fix:" in done.stderr,
                      f"{argv}: exit {done.returncode}: {done.stderr}")
        with report.part("see the running lab is drawn"):
            svg = vpclab("graph", it.name)
            check(svg.returncode == 0, svg.stderr)
            check(svg.stdout.startswith("<svg") and ">visitor<" in svg.stdout, svg.stdout[:200])
            check(run("graph", "--format", "mermaid").startswith("flowchart"), "no Mermaid")
        with report.part("see top draws, obeys and leaves the terminal as it was"):
            screen = top(it, b"2\tsq")
            check("\x1b[?1049h" in screen, "no screen of its own")
            for word in (it.name, "ENIs", "network_acl", "q quit"):
                check(word in screen, f"{word} is not shown: {screen[-2000:]!r}")
            check(screen.rstrip().endswith("\x1b[?25h"), f"left as {screen[-80:]!r}")
            done = vpclab("top", "--lab", it.name)
            check(done.returncode == 2 and "needs a terminal" in done.stderr, done.stderr)
            check(it.json("top")["flow_count"] >= 0, "no look at the lab")
        with report.part("see top ends with its terminal"):
            top(it, b"2")
        ports(report, it)


def ports(report, first):
    """What other labs listen on while one has the default port."""
    with report.part("see a second lab takes the next port and says so"):
        second = Lab("see2", EXAMPLES / "privatelink.yaml")
        try:
            said = second.up()
            check("http://127.0.0.1:4567/metrics" in said and "4566 is taken" in said, said)
            check(f'lab="{second.name}"' in get("http://127.0.0.1:4567/metrics"), "another's")
            check(f'lab="{first.name}"' in get(DEFAULT + "/metrics"), "another's")
        finally:
            second.down()
    with report.part("see a port that is asked for and taken is refused"):
        third = Lab("see3", EXAMPLES / "privatelink.yaml")
        done = vpclab("up", third.file, "--lab", third.name, "--http", "4566")
        check(done.returncode == 2, f"exit {done.returncode}: {done.stderr}")
        check("port 4566 of 127.0.0.1 is in use" in done.stderr, done.stderr)
        check("fix: take another: --http PORT" in done.stderr, done.stderr)
        try:
            check("metrics" not in third.up("--no-http"), "nothing is to be served")
            check(third.json("ps")["http"] is None, "nothing is to be served")
        finally:
            third.down()
    with report.part("see a port goes with its lab"):
        with socket.create_server(("127.0.0.1", 4567)):
            pass


def top(it, keys):
    """What `top` writes to a terminal of 100 × 30 while `keys` are pressed, and
    until that is closed."""
    ours, its = pty.openpty()
    subprocess.run(["stty", "-F", os.ttyname(its), "cols", "100", "rows", "30"], check=True)
    os.fchmod(its, 0o666)
    child = it.start(VPCLAB, "top", "--lab", it.name, stdin=its, stdout=its, stderr=its,
                     env={**os.environ, "TERM": "xterm-256color"})
    os.close(its)
    screen = b""
    keys = [bytes([key]) for key in keys]
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        readable, _, _ = select.select([ours], [], [], 0.5)
        if readable:
            try:
                more = os.read(ours, 65536)
            except OSError:
                break
            screen += more
        elif keys and b"ENIs" in screen:
            # The screen is at rest: the next key.
            os.write(ours, keys.pop(0))
        elif b"ENIs" in screen:
            break
    os.close(ours)
    check(child.wait(DEADLINE) == 0, f"top: exit {child.returncode}")
    return screen.decode(errors="replace")


SCENARIOS = [see]

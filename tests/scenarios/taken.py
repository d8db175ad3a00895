"""What a lab wants and somebody else has: names, and ports of the machine."""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess

import harness
from harness import Lab, check, lab, own_processes, sh, topology, vpclab, wait

FILE = """name: taken
vpcs:
  main:
    cidr: 10.6.0.0/16
    subnets:
      one: {cidr: 10.6.1.0/24, az: a}
hosts:
  a: {subnet: one, address: 10.6.1.10}
  b: {subnet: one, address: 10.6.1.11}
"""
TWO_PORTS = FILE.replace("a: {subnet: one, address: 10.6.1.10}",
                         "a: {enis: [{subnet: one, address: 10.6.1.10}, {subnet: one}]}")


def refused(done, code, *words):
    check(done.returncode == code, f"exit {done.returncode}, not {code}: {done.stderr}")
    check(done.stderr.startswith("error: ") and "\n  fix: " in done.stderr, done.stderr)
    for word in words:
        check(word in done.stderr, f"no {word!r} in {done.stderr!r}")


def pings(it, source, target):
    done = it.exec(source, "ping", "-c", 1, "-W", 5, target)
    check(done.returncode == 0, f"{source} to {target}: {done.stdout}{done.stderr}")


def taken_names(report):
    with topology(FILE) as file, topology(FILE + "  c: {subnet: one}\n") as other:
        with report.part("taken_names what is no lab's directory stays"):
            name = harness.PREFIX + "place"
            harness.RUNTIME.mkdir(mode=0o700, exist_ok=True)
            if harness.USER:
                os.chown(harness.RUNTIME, harness.ACCOUNT.pw_uid, harness.ACCOUNT.pw_gid)
            place = harness.RUNTIME / name
            place.write_text("precious")
            try:
                for command in (["up", file], ["down"], ["ps"]):
                    refused(vpclab(*command, "--lab", name), 3, str(place), "is in the way",
                            "--lab NAME")
                check(place.read_text() == "precious", "it is gone")
            finally:
                place.unlink()
                with contextlib.suppress(OSError):  # other labs are there
                    harness.RUNTIME.rmdir()
        with report.part("taken_names networks of the machine with a host's name are others"):
            sh("ip", "netns", "add", "a")
            try:
                with lab("netns", file) as it:
                    pings(it, "a", "10.6.1.11")
                    links = sh("ip", "-n", "a", "-o", "link").stdout
                    check("eth0" not in links, links)
                check("a" in sh("ip", "netns").stdout, "it is gone")
            finally:
                sh("ip", "netns", "delete", "a")
        with lab("names", file) as it:
            with report.part("taken_names another file under a lab's name is said"):
                again = lambda *options: vpclab("up", other, "--lab", it.name, *options)
                said = again("--dry-run").stdout
                check(f"runs from {file}\n+ host c" in said, said)
                said = again().stdout
                check(f"has changed; until now it ran from {file}\n+ host c" in said, said)
            interfaces(report, it)
            with report.part("taken_names who comes second waits for the first"):
                waits(it)


def interfaces(report, it):
    """An interface that somebody in a host has made."""
    with topology(TWO_PORTS) as file:
        up = lambda: vpclab("up", file, "--lab", it.name)
        with report.part("taken_names an interface's name is refused, and nothing changes"):
            done = it.exec("a", "ip", "link", "add", "eth1", "type", "veth", "peer", "name", "peer1")
            check(done.returncode == 0, done.stderr)
            refused(up(), 2, "a has an interface `eth1` already", "-- ip link delete eth1")
            check(len(it.host("a")["interfaces"]) == 1, it.host("a"))
            pings(it, "a", "10.6.1.11")
        with report.part("taken_names the fix that is named works"):
            check(it.exec("a", "ip", "link", "delete", "eth1").returncode == 0, "delete")
            done = up()
            check(done.returncode == 0 and "+ ENI a/eth1" in done.stdout,
                  done.stdout + done.stderr)
            shown = it.exec("a", "ip", "-br", "address", "show", "eth1").stdout
            check("10.6.1." in shown, shown)
        with report.part("taken_names a daemon that ended leaves no interface behind"):
            # It obeys, and its interfaces stay for the next one.
            daemon = it.daemon()
            os.kill(daemon, signal.SIGTERM)
            wait("the daemon's end", lambda: daemon not in own_processes())
            with topology(FILE) as less:
                done = vpclab("up", less, "--lab", it.name, "--workers", 2)
                check(done.returncode == 0 and "up again" in done.stdout,
                      done.stdout + done.stderr)
            links = it.exec("a", "ip", "-o", "link").stdout
            check("eth0" in links and "eth1" not in links, links)
            check(len(it.json("inspect")["workers"]) == 2, "workers")
            pings(it, "a", "10.6.1.11")


def waits(it):
    held = harness.RUNTIME / f".{it.name}.lock"
    with held.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if harness.USER:
            os.chown(held, harness.ACCOUNT.pw_uid, harness.ACCOUNT.pw_gid)
        down = it.start(harness.VPCLAB, "down", "--lab", it.name,
                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        said = down.stderr.readline()
        check("another vpclab starts or ends lab" in said and it.name in said, said)
        check(down.poll() is None, "it did not wait")
        check(vpclab("ps", "--lab", it.name).returncode == 0, "ps needs no waiting")
        held.unlink()
    out, _ = down.communicate(timeout=harness.DEADLINE)
    check(down.returncode == 0 and "is down" in out, out)


def taken_ports(report):
    with topology(FILE) as file:
        it = Lab("ports", file)
        up = lambda *options: vpclab("up", file, "--lab", it.name, *options)
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with report.part("taken_ports a port in use is refused, and nothing is left"):
                refused(up("--http", port), 2, f"port {port} of 127.0.0.1 is in use",
                        "take another: --http PORT")
                check(not it.directory().exists(), "it left its directory")
        with report.part("taken_ports a port that users may not have"):
            if harness.USER:
                refused(up("--http", 79), 2, "port 79 of 127.0.0.1 may be taken by root only")
                check(not it.directory().exists(), "it left its directory")
        try:
            with report.part("taken_ports a lab whose port was taken meanwhile starts when it is free"):
                check(up("--http", port).returncode == 0, "up")
                daemon = it.daemon()
                os.kill(daemon, signal.SIGKILL)
                wait("the daemon's end", lambda: daemon not in own_processes())
                with wait("the port is free", lambda: listen(port)):
                    refused(up(), 2, f"port {port} of 127.0.0.1 is in use")
                done = wait("up again", lambda: next(
                    (d for d in [up()] if d.returncode == 0), None))
                check("up again" in done.stdout, done.stdout)
                check(it.json("ps")["http"].endswith(f":{port}"), it.json("ps")["http"])
                pings(it, "a", "10.6.1.11")
        finally:
            it.down()


def listen(port):
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return None


SCENARIOS = [taken_names, taken_ports]

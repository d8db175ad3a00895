"""The ways in which packets are moved: several workers, io_uring or not."""

import os
import signal

from harness import EXAMPLES, check, lab, own_processes, topology, vpclab, wait

PRIVATELINK = EXAMPLES / "privatelink.yaml"
ENDPOINT = "http://10.0.1.100/"
REQUESTS = 24


def balance(counters):
    drops = sum(n for name, n in counters.items() if name.startswith("drop."))
    into = counters["rx"] + counters["generated"] + counters["handed_in"]
    out = ["tx", "local", "consumed", "handed_out", "queued"]
    return into, sum(counters[name] for name in out) + drops


def several_workers(report):
    """Connections through PrivateLink, whichever worker the kernel gives a
    packet to."""
    with lab("workers", PRIVATELINK, "--wait", "--workers", 3) as it:
        with report.part("workers share the connections and account for every frame"):
            for _ in range(REQUESTS):
                it.reaches("client", ENDPOINT)
            seen = it.json("inspect")
            check(len(seen["workers"]) == 3, f"{len(seen['workers'])} workers")
            for counters in seen["workers"]:
                into, out = balance(counters)
                check(into == out, f"{into} frames in, {out} out: {counters}")
                check(counters["flow.created"] > 0, f"an idle worker: {counters}")
            check(seen["counters"]["handed_in"] > 0, "the kernel guessed every worker right")
            full = seen["counters"].get("drop.worker.ring_full", 0)
            check(full == 0, f"{full} frames found a full ring")
        with report.part("workers show all connections together"):
            flows = it.json("flows")["flows"]
            check(len(flows) >= REQUESTS, f"{len(flows)} of {REQUESTS} connections")


def fixed(report):
    """How the lab itself runs does not change while it runs."""
    with lab("fixed", PRIVATELINK, "--workers", 2, "--http", 0) as it:
        again = lambda *options: vpclab("up", it.file, "--lab", it.name, *options)
        http = it.json("ps")["http"]
        with report.part("fixed settings that are asked for again are fine"):
            port = http.rsplit(":", 1)[1]
            for same in ((), ("--workers", 2), ("--http", port), ("--time-scale", 1)):
                done = again(*same)
                check(done.returncode == 0 and "is up already" in done.stdout,
                      f"{same}: exit {done.returncode}: {done.stdout}{done.stderr}")
        with report.part("fixed settings that would change are refused, with the way out"):
            for options, what in (
                (("--workers", 3), "runs with 2 packet workers and cannot change to 3"),
                (("--workers", 3, "--dry-run"), "runs with 2 packet workers"),
                (("--time-scale", 9), "clock runs 1 times as fast as ours and cannot change to 9"),
                (("--http", 1), f"serves {http} and cannot change that"),
                (("--no-http",), f"serves {http} and cannot change that"),
            ):
                done = again(*options)
                check(done.returncode == 2, f"{options}: exit {done.returncode}: {done.stdout}")
                check(what in done.stderr, f"{what!r} is not in {done.stderr!r}")
                check("fix: end the lab first: vpclab down" in done.stderr, done.stderr)
            for settings in ("settings: {io_uring: false}", "time_scale: 7"):
                with topology(PRIVATELINK.read_text() + f"\n{settings}\n") as other:
                    done = vpclab("up", other, "--lab", it.name)
                    check(done.returncode == 2 and "vpclab down" in done.stderr,
                          f"{settings}: exit {done.returncode}: {done.stdout}{done.stderr}")
            check(len(it.json("inspect")["workers"]) == 2, "workers")
            check(it.json("ps")["http"] == http, "http")
        with report.part("fixed settings outlast the daemon, another file too"):
            text = PRIVATELINK.read_text() + "\n# the same in other words\n"
            with topology(text) as other:
                done = vpclab("up", other, "--lab", it.name)
                check(done.returncode == 0, done.stderr)
                daemon = it.daemon()
                os.kill(daemon, signal.SIGKILL)
                wait("the daemon's end", lambda: daemon not in own_processes())
                done = vpclab("up", other, "--lab", it.name)
                check(done.returncode == 0 and "up again" in done.stdout, done.stderr)
            check(len(it.json("inspect")["workers"]) == 2, it.json("inspect")["workers"])
            check(it.exec("client", "ping", "-c", 1, "-W", 2, "10.0.1.1").returncode == 0, "ping")


def without_io_uring(report):
    """The same lab where io_uring is switched off: said, and not felt."""
    text = PRIVATELINK.read_text()
    with topology(text) as file, lab("uring", file, "--wait") as it:
        with report.part("io_uring is used where it can be"):
            check(it.json("inspect")["io"] == "io_uring", it.json("inspect")["io"])
    text += "\nsettings: {io_uring: false, waiting: event}\n"
    with topology(text) as file, lab("plain", file, "--wait") as it:
        with report.part("io by read and write, and said so"):
            it.reaches("client", ENDPOINT)
            moved = it.json("inspect")["io"]
            check(moved == "read and write (as configured)", moved)


SCENARIOS = [several_workers, fixed, without_io_uring]

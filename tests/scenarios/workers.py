"""The ways in which packets are moved: several workers, io_uring or not."""

import os
import re
import signal
import time
from pathlib import Path

import attach
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
            begun = []
            for _ in range(REQUESTS):
                begun.append(time.monotonic())
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
            # What is closed is remembered for ten seconds.
            young = sum(1 for at in begun if time.monotonic() - at < 10)
            check(len(flows) >= young > 0, f"{len(flows)} of {young} connections")


def datagrams(box, address, ports):
    """One to each port: as many flows, and so something for each worker."""
    code = (f"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
            f"[s.sendto(b'x', ('{address}', port)) for port in range({ports.start}, {ports.stop})]")
    done = box.run("/usr/bin/python3", "-c", code)
    check(done.returncode == 0, done.stderr)


def features_of_two(report):
    """What is seen of a lab, and done to it, is of all its workers together."""
    with topology(attach.LAB) as file, lab("two", file, "--workers", 2) as it, \
            attach.container() as box:
        it.eventually_reaches("web", attach.ANSWERS)
        with report.part("features_of_two an ENI is attached, and both workers serve it"):
            done = vpclab("attach", "box", "--pid", box.pid, "--lab", it.name)
            check(done.returncode == 0, done.stderr)
            wait("the container reaches the web", lambda: box.reaches(attach.ANSWERS))
        with report.part("features_of_two a capture has every frame once"):
            with it.capture("box") as packets:
                for _ in range(REQUESTS):
                    check(box.reaches(attach.ANSWERS), "the container reaches nobody")
                opened = lambda: packets.read("tcp.flags.syn == 1", "tcp.srcport", "tcp.dstport")
                wait("all connections", lambda: len(opened()) >= 2 * REQUESTS)
                ways = [tuple(way) for way in opened()]
            check(len(set(ways)) == len(ways) == 2 * REQUESTS, f"{len(set(ways))} of {len(ways)}")
            check(all(len(set(way)) == 2 for way in ways), ways)
        with report.part("features_of_two flows are those of both"):
            # Ended ones are soon forgotten.
            for _ in range(REQUESTS):
                check(box.reaches(attach.ANSWERS), "the container reaches nobody")
            flows = it.json("flows", "box", "--port", "80")["flows"]
            check(len(flows) > REQUESTS // 2, f"{len(flows)} of {REQUESTS} connections")
            workers = it.json("inspect")["workers"]
            check(all(counters["flow.created"] > 0 for counters in workers), workers)
        with report.part("features_of_two drops are those of both, in their order"):
            datagrams(box, "10.5.9.9", range(7000, 7016))
            drops = wait("the drops", lambda: [
                drop for drop in it.json("drops", "box")["drops"] if "10.5.9.9:" in drop["packet"]])
            check(len({drop["packet"] for drop in drops}) == 16, f"{len(drops)} drops: {drops}")
            times = [drop["time"] for drop in drops]
            check(times == sorted(times), times)
        with report.part("features_of_two faults act on what either worker moves"):
            done = vpclab("fault", "link", "box", "--loss", "20%", "--lab", it.name)
            check(done.returncode == 0, done.stderr)
            done = box.run("ping", "-q", "-c", 200, "-i", 0.005, "-W", 1, attach.WEB)
            lost = 200 - int(re.search(r"(\d+) received", done.stdout)[1])
            datagrams(box, attach.WEB, range(8000, 8040))
            link = it.json("fault", "list")["links"][0]
            counted = sum(link[way]["counters"]["lost"] for way in ("up", "down"))
            # 72 of 200 round trips, standard deviation 7.
            check(40 <= lost <= 105 and counted >= lost, f"{lost} lost, {counted} counted: {link}")
            check(it.counters()["drop.fault.loss"] == counted, f"{link}")
            vpclab("fault", "link", "box", "--loss", "0", "--down", "--lab", it.name)
            check(not box.reaches(attach.ANSWERS), "it reaches the web by a link that is down")
            done = vpclab("fault", "host", "box", "--kill", "--lab", it.name)
            check(done.returncode == 2 and "fault link box --down" in done.stderr, done.stderr)
            vpclab("fault", "clear", "--lab", it.name)
            check(box.reaches(attach.ANSWERS), "the fault is over")
        with report.part("features_of_two an ENI is detached from both"):
            done = vpclab("detach", "box", "--lab", it.name)
            check(done.returncode == 0, done.stderr)
            wait("eth0 is gone", lambda: "eth0" not in box.links())
            with it.drops("port.detached"):
                it.exec("web", "ping", "-c", 1, "-W", 1, attach.BOX)
            for counters in it.json("inspect")["workers"]:
                into, out = balance(counters)
                check(into == out, f"{into} frames in, {out} out: {counters}")


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


def affinities(daemon):
    """The cores that each packet worker of a daemon may run on, by its name."""
    found = {}
    for status in Path(f"/proc/{daemon}/task").glob("*/status"):
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        name = fields["Name"].strip()
        if name.startswith("packets-"):
            found[name] = fields["Cpus_allowed_list"].strip()
    return found


def waiting_and_pinned(report):
    """Workers that never sleep, or only sleep, on the cores that were asked for."""
    text = PRIVATELINK.read_text()
    for waiting in ("busy", "event"):
        settings = f"\nsettings: {{waiting: {waiting}, first_core: 0}}\n"
        with topology(text + settings) as file, lab(waiting, file, "--wait") as it:
            with report.part(f"waiting {waiting}, on the core that was asked for, serves"):
                cores = affinities(it.daemon())
                check(cores == {"packets-0": "0"}, cores)
                it.reaches("client", ENDPOINT)
    with report.part("waiting on a core that is not there is refused, with what there is"):
        with topology(text + "\nsettings: {first_core: 5000}\n") as file:
            done = vpclab("up", file)
            check(done.returncode == 2, f"exit {done.returncode}: {done.stdout}{done.stderr}")
            for words in ("settings.first_core: 5000", "needs core 5000", "this machine has 0",
                          "fix: choose a first_core"):
                check(words in done.stderr, f"{words!r} is not in {done.stderr!r}")


SCENARIOS = [several_workers, features_of_two, fixed, without_io_uring, waiting_and_pinned]

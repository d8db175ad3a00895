"""The ways in which packets are moved: several workers, io_uring or not."""

from harness import EXAMPLES, check, lab, topology

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


SCENARIOS = [several_workers, without_io_uring]

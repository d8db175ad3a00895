"""Up (waiting for health, or with another file), exec, fault and down are killed or
interrupted at random moments; the machine is compared before and after each.

`python3 tests/scenarios/run crash_points`. CRASH_SEED repeats a run's choices,
CRASH_POINTS sets their number. Every choice is printed when it fails.
"""

import os
import random
import signal
import subprocess
import time

import harness
from harness import EXAMPLES, Lab, check, machine, replaced, sh, topology, vpclab, wait

FILE = EXAMPLES / "privatelink.yaml"
# The client stays, the server's program is another, a host comes.
CHANGED = replaced(
    FILE.read_text(),
    ("http.server 80", "http.server 8080"),
    ("\nhosts:\n", "\nhosts:\n  another: {subnet: consumer/app, address: 10.0.1.11}\n"),
)
POINTS = int(os.environ.get("CRASH_POINTS", 200))
# A command is hit up to this far beyond its usual end.
BEYOND = 1.2
# How long a command may take that was hit, or that cleans up.
PATIENCE = 15
COMMANDS = ("up", "up", "wait", "exec", "down", "again", "change", "fault")
# Those that begin a lab: interrupted, they take away what they began.
BEGIN = ("up", "wait")
# Health checks every 5 s would be long to wait for.
WAIT = ("--wait", "--time-scale", 20)
# Whom the blow hits: the command itself, or a process of the lab.
TARGETS = ("command", "launch", "pid1", "daemon")


def crash_points(report):
    """200 moments, spread over the measured time of each command."""
    with topology(CHANGED) as other:
        crash(report, other)


def crash(report, other):
    seed = int(os.environ.get("CRASH_SEED", time.time_ns() % 1_000_000_000))
    print(f"crash_points: CRASH_SEED={seed}", flush=True)
    choose = random.Random(seed)
    usual = measure(other)
    before = machine()
    hit = dict.fromkeys(TARGETS, 0)
    with report.part(f"crash_points {POINTS} of them, seed {seed}"):
        for number in range(POINTS):
            command, target = choose.choice(COMMANDS), choose.choice(TARGETS)
            blow = choose.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGINT))
            if command == "wait" and choose.random() < 0.6:
                # What people do who wait.
                target, blow = "command", signal.SIGINT
            delay = choose.uniform(0, usual[command] * BEYOND)
            what = (f"CRASH_SEED={seed} point {number}: {blow.name} to the {target} "
                    f"{delay * 1000:.1f} ms into {command}")
            try:
                hit[target] += point(f"crash-{number}", other, command, target, blow, delay, before)
            except (harness.Failed, subprocess.TimeoutExpired) as error:
                raise harness.Failed(f"{what}: {error}") from None
        # A spread that hits nothing shows nothing.
        check(all(hit[target] >= POINTS / 40 for target in TARGETS), f"hits: {hit}")


def measure(other):
    """Usual duration of each command, in seconds."""
    it = Lab("crash-measure", FILE)
    usual = {}

    def timed(name, done):
        start = time.monotonic()
        done()
        usual[name] = time.monotonic() - start

    try:
        timed("up", it.up)
        timed("again", it.up)
        timed("exec", lambda: it.exec("client", "true"))
        timed("fault", lambda: sh(*argv(it, other, "fault")))
        timed("change", lambda: sh(*argv(it, other, "change")))
    finally:
        timed("down", it.down)
    try:
        timed("wait", lambda: it.up(*WAIT))
    finally:
        it.down()
    return usual


def point(name, other, command, target, blow, delay, before):
    """One blow. Whether there was somebody to hit."""
    it = Lab(name, FILE)
    if command not in BEGIN:
        it.up()
    child = it.start(*argv(it, other, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                     text=True, start_new_session=True)
    # The moment is the experiment: this waits for no condition.
    time.sleep(delay)
    victim = child.pid if target == "command" else process(it, target)
    was_there = victim is not None and (target != "command" or child.poll() is None)
    if was_there:
        try:
            # Ctrl-C goes to the whole group, as from a terminal.
            group = target == "command" and blow == signal.SIGINT
            (os.killpg if group else os.kill)(victim, blow)
        except ProcessLookupError:
            was_there = False
    out, err = child.communicate(timeout=PATIENCE)
    code = child.returncode
    check("panicked" not in err, err)
    if command in BEGIN and (target, blow) == ("command", signal.SIGINT) and code != 0:
        # Interrupted: it undoes what it did, by itself.
        check(code in (130, -signal.SIGINT), f"exit {code}: {err}")
        same(before, "after the interruption")
        return was_there
    if target == "daemon" and command in ("again", "exec", "fault") and blow == signal.SIGKILL:
        adopted(it, FILE)
    if command == "change" and target in ("command", "daemon"):
        # Whatever came of it: the file is what the lab becomes.
        adopted(it, other)
        done = it.exec("another", "ip", "address", "show", "eth0")
        check("10.0.1.11/24" in done.stdout, f"the other file's host: {done.stdout}{done.stderr}")
    done = vpclab("down", "--lab", it.name, timeout=PATIENCE)
    # 2: there is nothing to end.
    check(done.returncode in (0, 2), f"down: exit {done.returncode}: {done.stderr}")
    same(before, f"after down (the command's exit {code}: {err.strip()}{out.strip()})")
    return was_there


def argv(it, other, command):
    if command == "exec":
        return it.argv("client", "sleep", "0.05")
    options = {
        "down": ["down"],
        "fault": ["fault", "host", "server", "--kill"],
        "change": ["up", other],
        "wait": ["up", FILE, *WAIT],
    }.get(command, ["up", FILE])
    return [harness.VPCLAB, *map(str, options), "--lab", it.name]


def process(it, which):
    """A process of the lab, as soon as there is one; `None` if there is none."""
    own = str(harness.RUNTIME / it.name)
    for pid, words in harness.own_processes().items():
        if words[1:2] == [which] and own in words:
            return pid
    return None


def adopted(it, file):
    """A lab whose daemon is gone runs again with `up`, its hosts as they were."""
    done = vpclab("up", file, "--lab", it.name, timeout=PATIENCE)
    check(done.returncode == 0, f"up after the daemon's end: {done.stderr}")
    done = it.exec("client", "ip", "address", "show", "eth0")
    check("10.0.1.10/24" in done.stdout, f"the client lost its address: {done.stdout}{done.stderr}")


def same(before, when):
    """What ends asynchronously has a moment for it; what stays is a leak."""
    left = {}

    def compare():
        after = machine()
        left.clear()
        left.update({k: f"{before[k]} became {after[k]}"
                     for k in before if before[k] != after[k]})
        return not left

    try:
        wait("the machine as before", compare, seconds=2)
    except harness.Failed:
        raise harness.Failed(f"left behind {when}: {left}") from None


SCENARIOS = [crash_points]

"""Up, exec and down are killed or interrupted at random moments; the machine is
compared before and after each.

`python3 tests/scenarios/run crash_points`. CRASH_SEED repeats a run's choices,
CRASH_POINTS sets their number. Every choice is printed when it fails.
"""

import os
import random
import signal
import subprocess
import time

import harness
from harness import EXAMPLES, Lab, check, machine, vpclab, wait

FILE = EXAMPLES / "privatelink.yaml"
POINTS = int(os.environ.get("CRASH_POINTS", 200))
# A command is hit up to this far beyond its usual end.
BEYOND = 1.2
# How long a command may take that was hit, or that cleans up.
PATIENCE = 15
COMMANDS = ("up", "up", "exec", "down", "again")
# Whom the blow hits: the command itself, or a process of the lab.
TARGETS = ("command", "launch", "pid1", "daemon")


def crash_points(report):
    """200 moments, spread over the measured time of each command."""
    seed = int(os.environ.get("CRASH_SEED", time.time_ns() % 1_000_000_000))
    print(f"crash_points: CRASH_SEED={seed}", flush=True)
    choose = random.Random(seed)
    usual = measure()
    before = machine()
    hit = dict.fromkeys(TARGETS, 0)
    with report.part(f"crash_points {POINTS} of them, seed {seed}"):
        for number in range(POINTS):
            command, target = choose.choice(COMMANDS), choose.choice(TARGETS)
            blow = choose.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGINT))
            delay = choose.uniform(0, usual[command] * BEYOND)
            what = (f"CRASH_SEED={seed} point {number}: {blow.name} to the {target} "
                    f"{delay * 1000:.1f} ms into {command}")
            try:
                hit[target] += point(f"crash-{number}", command, target, blow, delay, before)
            except (harness.Failed, subprocess.TimeoutExpired) as error:
                raise harness.Failed(f"{what}: {error}") from None
        # A spread that hits nothing shows nothing.
        check(all(hit[target] >= POINTS / 40 for target in TARGETS), f"hits: {hit}")


def measure():
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
    finally:
        timed("down", it.down)
    return usual


def point(name, command, target, blow, delay, before):
    """One blow. Whether there was somebody to hit."""
    it = Lab(name, FILE)
    if command != "up":
        it.up()
    child = it.start(*argv(it, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
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
    if (command, target, blow) == ("up", "command", signal.SIGINT) and code != 0:
        # Interrupted: it undoes what it did, by itself.
        check(code in (130, -signal.SIGINT), f"exit {code}: {err}")
        same(before, "after the interruption")
        return was_there
    if target == "daemon" and command in ("again", "exec") and blow == signal.SIGKILL:
        adopted(it)
    done = vpclab("down", "--lab", it.name, timeout=PATIENCE)
    # 2: there is nothing to end.
    check(done.returncode in (0, 2), f"down: exit {done.returncode}: {done.stderr}")
    same(before, f"after down (the command's exit {code}: {err.strip()}{out.strip()})")
    return was_there


def argv(it, command):
    if command == "exec":
        return it.argv("client", "sleep", "0.05")
    if command == "down":
        return [harness.VPCLAB, "down", "--lab", it.name]
    return [harness.VPCLAB, "up", FILE, "--lab", it.name]


def process(it, which):
    """A process of the lab, as soon as there is one; `None` if there is none."""
    own = str(harness.RUNTIME / it.name)
    for pid, words in harness.own_processes().items():
        if words[1:2] == [which] and own in words:
            return pid
    return None


def adopted(it):
    """A lab whose daemon is gone runs again with `up`, its hosts as they were."""
    done = vpclab("up", FILE, "--lab", it.name, timeout=PATIENCE)
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

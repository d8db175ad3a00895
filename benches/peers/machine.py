"""The machine: how busy it is, huge pages, children that end with us."""

import os
import platform
import shutil
import signal
import subprocess
import time
from pathlib import Path


class NotHere(Exception):
    """A peer that cannot run on this machine; the reason is what is printed."""


def run(*command, check=True, timeout=120, **more) -> str:
    """Runs a command to its end and returns what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout, **more,
    )
    if check and done.returncode != 0:
        words = " ".join(str(part) for part in command)
        said = (done.stderr or done.stdout).strip().splitlines()[-4:]
        raise NotHere(f"`{words}` ended with {done.returncode}: {' / '.join(said)}")
    return done.stdout


def need(*programs: str) -> None:
    """Fails if a program is not installed."""
    missing = [name for name in programs if not shutil.which(name)]
    if missing:
        raise NotHere(f"not installed: {', '.join(missing)}")


def cpu() -> int:
    """The CPU that measured threads run on: the last."""
    return os.cpu_count() - 1


def urgent(thread: int) -> None:
    """Puts a measured thread ahead of everything else on its CPU, peers and vpclab alike.
    Without the right to do so it stays as it is: busy() tells how fair that was."""
    try:
        os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(50))
    except OSError:
        pass


def ordinary() -> None:
    """Undoes what a caller may have set: only what is measured is urgent, and the rest needs
    the other CPUs."""
    os.sched_setaffinity(0, range(os.cpu_count()))
    try:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    except OSError:
        pass


def measured() -> None:
    """Makes this process one that is measured."""
    os.sched_setaffinity(0, {cpu()})
    urgent(0)


class Measured:
    """A process that is measured for a while: its first thread, which does it, is on the peers' CPU and as urgent
    as they. Otherwise it is one of many, on all CPUs."""

    def __init__(self, pid: int):
        self.pid = pid

    def __enter__(self):
        os.sched_setaffinity(self.pid, {cpu()})
        urgent(self.pid)

    def __exit__(self, *_):
        try:
            os.sched_setaffinity(self.pid, range(os.cpu_count()))
            os.sched_setscheduler(self.pid, os.SCHED_OTHER, os.sched_param(0))
        except OSError:
            pass  # It has ended, or was never urgent.


def preferred() -> None:
    """Puts this process, as a session of its own, before other sessions (the scheduler's
    autogroups), its threads as equals: real-time ones would keep each other, and the kernel's
    own that move packets, from their CPU."""
    os.setsid()
    try:
        Path("/proc/self/autogroup").write_text("-20")
    except OSError:
        pass


class Busy:
    """Share of the CPUs that ran other things than `own` processes."""

    def __init__(self, of: str = ""):
        self.before, self.of = self._now(), of

    def row(self) -> dict:
        """What a row of the report says of it; `of` is what was measured meanwhile, if that is more than the row."""
        return {"machine_busy_percent": round(self.percent()[0])} | ({"busy_of": self.of} if self.of else {})

    @staticmethod
    def _now():
        times = [int(t) for t in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(times), times[3] + times[4], times[7]

    def percent(self) -> tuple[float, float]:
        """(busy, stolen by the hypervisor) in percent of all CPUs since the start."""
        total, idle, steal = (b - a for a, b in zip(self.before, self._now()))
        if total == 0:
            return 0.0, 0.0
        return 100 * (total - idle) / total, 100 * steal / total


def load() -> str:
    return Path("/proc/loadavg").read_text().split()[0]


def describe(root: Path) -> dict:
    cpu = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), "?")
    commit = run("git", "-C", root, "rev-parse", "--short=12", "HEAD", check=False).strip()
    dirty = run("git", "-C", root, "status", "--porcelain", "--untracked-files=no", check=False)
    return {
        "cpu": cpu,
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "commit": commit + ("+changes" if dirty.strip() else ""),
        "date": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "load": load(),
    }


class HugePages:
    """2 MB pages for as long as peers need them; afterwards as many as before."""

    FILE = Path("/proc/sys/vm/nr_hugepages")

    def __init__(self, count: int):
        self.count = count

    def __enter__(self):
        self.before = self.FILE.read_text()
        if int(self.before) < self.count:
            self.FILE.write_text(str(self.count))
        have = int(self.FILE.read_text())
        if have < self.count:
            self.__exit__()
            raise NotHere(f"only {have} of {self.count} huge pages are to be had")
        return self

    def __exit__(self, *_):
        self.FILE.write_text(self.before)


class Paused:
    """A process that stands still while others are measured."""

    def __init__(self, pid: int):
        self.pid = pid

    def __enter__(self):
        os.kill(self.pid, signal.SIGSTOP)

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGCONT)

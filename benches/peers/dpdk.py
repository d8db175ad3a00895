"""DPDK: the floors. rte_hash is what a bare flow lookup costs, testpmd what moving
frames from memory to nowhere costs."""

import json
import os
import re
import shlex
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import machine
from machine import NotHere, run

HERE = Path(__file__).parent
MEMORY_MB = 600


def build(source: str, work: Path) -> Path:
    """Compiles a program against DPDK for this machine."""
    machine.need("gcc", "pkg-config")
    flags = run("pkg-config", "--cflags", "--libs", "libdpdk")
    program = work / Path(source).stem
    run("gcc", "-O3", "-march=native", "-o", program, HERE / source, *shlex.split(flags))
    return program


def eal(cpu: int, memory_mb: int = MEMORY_MB) -> list[str]:
    return ["-l", str(cpu), "--no-pci", "--in-memory", "--no-telemetry", "-m", str(memory_mb),
            "--log-level=error", "--file-prefix", f"vpclab-peer-{os.getpid()}"]


def version() -> str:
    """What programs are built against and testpmd is of."""
    return f"DPDK {run('pkg-config', '--modversion', 'libdpdk').strip()}"


class Asked:
    """A program that measures a round when it is asked to, and waits meanwhile."""

    def __init__(self, *command, start=machine.ordinary, timeout=600.0, first="ready"):
        self.name = Path(command[0]).name
        self.said = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, text=True,
                                        stdout=subprocess.PIPE, stderr=self.said, preexec_fn=start)
        self.late = False
        self.limit = threading.Timer(timeout, self._late)
        self.limit.start()
        try:
            self.until(first)
        except BaseException:
            self.__exit__()
            raise

    def _late(self):
        self.late = True
        self.process.kill()

    def until(self, start: str) -> str:
        """The next line that begins so; what others say before it is EAL's talk."""
        for line in self.process.stdout:
            if line.startswith(start):
                return line
        if self.late:
            raise NotHere(f"`{self.name}` was ended, for its time was up")
        self.said.seek(0)
        said = " / ".join(self.said.read().strip().splitlines()[-3:])
        raise NotHere(f"`{self.name}` ended with {self.process.wait()}: {said}")

    def ask(self, words: str, answer: str) -> str:
        """Has a round measured."""
        try:
            self.process.stdin.write(f"{words}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # It says why it ended.
        return self.until(answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.limit.cancel()
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.said):
            try:
                stream.close()
            except BrokenPipeError:
                pass


class Hashes(Asked):
    """rte_hash with tables of these numbers of flows."""

    def __init__(self, work: Path, flows: list[int], timeout: float):
        super().__init__(build("hash.c", work), *eal(machine.cpu()), "--", *flows, timeout=timeout)

    def measure(self, flows: int) -> dict[str, float]:
        """Nanoseconds a lookup in a `bulk` and of a `single` one, of one round."""
        return json.loads(self.ask(str(flows), "{"))


def floor(pcap: Path, seconds: float, rounds: int) -> list[float]:
    """testpmd: nanoseconds of one thread per frame from a looped pcap to nowhere, of each round."""
    machine.need("dpdk-testpmd")
    cpu = machine.cpu()
    # The main thread, which only talks, has the first CPU.
    command = [
        # Its answers go through a pipe: a line at a time, not when a block is full.
        "stdbuf", "-oL", "dpdk-testpmd", "-l", f"0,{cpu}", *eal(cpu)[2:],
        f"--vdev=net_pcap0,rx_pcap={pcap},infinite_rx=1", "--vdev=net_null1,no-rx=1",
        "--", "-i", "--nb-cores=1", "--forward-mode=io", "--no-flush-rx", "--total-num-mbufs=150000",
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    def received() -> tuple[int, float]:
        process.stdin.write("show port stats 0\n")
        process.stdin.flush()
        for text in process.stdout:
            found = re.search(r"RX-packets: (\d+)", text)
            if found:
                return int(found.group(1)), time.monotonic()
        raise NotHere("testpmd ended by itself")

    limit = threading.Timer(60, process.kill)
    limit.start()
    try:
        process.stdin.write("set portlist 0,1\nstart\n")
        received()
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            if "worker" in (task / "comm").read_text():
                machine.urgent(int(task.name))
        time.sleep(0.2)
        counts = [received()]
        for _ in range(rounds):
            time.sleep(seconds)
            counts.append(received())
        process.communicate("stop\nquit\n", timeout=20)
    finally:
        limit.cancel()
        process.kill()
        process.wait()
    spans = list(zip(counts, counts[1:]))
    if any(after[0] == before[0] for before, after in spans):
        raise NotHere("testpmd forwards nothing")
    return [(end - start) / (after - before) * 1e9 for (before, start), (after, end) in spans]

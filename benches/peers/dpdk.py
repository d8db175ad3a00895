"""DPDK: the floors. rte_hash is what a bare flow lookup costs, testpmd what moving
frames from memory to nowhere costs."""

import json
import os
import re
import shlex
import subprocess
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


def lookups(work: Path, flows: list[int]) -> dict[tuple[str, int], dict]:
    """rte_hash, by (how, flows): nanoseconds a lookup."""
    program = build("hash.c", work)
    cpu = machine.cpu()
    text = run(program, *eal(cpu), "--", *flows)
    rows = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return {(row["how"], row["flows"]): row for row in rows}


def floor(pcap: Path, seconds: float) -> float:
    """testpmd: nanoseconds of one thread per frame from a looped pcap to nowhere."""
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
        before, start = received()
        time.sleep(seconds)
        after, end = received()
        process.communicate("stop\nquit\n", timeout=20)
    finally:
        limit.cancel()
        process.kill()
        process.wait()
    if after == before:
        raise NotHere("testpmd forwards nothing")
    return (end - start) / (after - before) * 1e9

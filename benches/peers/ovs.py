"""Open vSwitch's userspace datapath (OVS-DPDK): one polling thread on the last CPU,
frames from memory (a looped pcap), sent to nowhere. It has a network namespace of its own."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import frames
import machine
from machine import NotHere, run

VSWITCHD = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
NAMESPACE = f"vpclab-peer-ovs-{os.getpid()}"
MEMORY_MB = 1200
PAGES = 700

CONNTRACK = [
    "table=0,priority=10,in_port=1,ip,ct_state=-trk,actions=ct(table=1)",
    "table=1,in_port=1,ip,ct_state=+trk+new,actions=ct(commit),output:2",
    "table=1,in_port=1,ip,ct_state=+trk+est,actions=output:2",
]


def snat(established: str) -> list[str]:
    return [
        "table=0,priority=10,in_port=1,ip,ct_state=-trk,actions=ct(nat,table=1)",
        f"table=1,in_port=1,ip,nw_src={frames.CLIENT},ct_state=+trk+new,"
        f"actions=ct(commit,nat(src={frames.NAT})),output:2",
        f"table=1,in_port=1,ip,ct_state=+trk+est,actions={established}output:2",
    ]


SNAT_TTL_MACS = snat("dec_ttl,mod_dl_src:02:00:00:00:02:01,mod_dl_dst:02:00:00:00:02:02,")


# Its caches of flows, of which each traffic likes another: what it is called, the inverse
# probability that a flow enters the exact match cache (0: never), and whether the signature
# match cache is on. The first is how it comes.
CACHES = (("EMC", 100, False), ("EMC + SMC", 100, True), ("SMC", 0, True), ("neither EMC nor SMC", 0, False))
# Parts written for AVX-512, where it was built with them.
AVX512 = (("dpif-netdev/dpif-impl", "dpif_avx512", ()), ("dpif-netdev/subtable-lookup-prio", "avx512_gather", (5,)))


class Ovs:
    """A running switch; `with Ovs(work) as ovs:`."""

    def __init__(self, work: Path):
        self.work = work / "ovs"
        self.vswitchd = None

    def __enter__(self):
        machine.need("ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-ofctl", "ovs-appctl", "ip")
        if not Path(VSWITCHD).exists():
            raise NotHere(f"not installed: {VSWITCHD} (Debian: openvswitch-switch-dpdk)")
        self.work.mkdir(parents=True)
        cpu = machine.cpu()
        self.environment = dict(
            os.environ, OVS_RUNDIR=str(self.work), OVS_LOGDIR=str(self.work),
            OVS_DBDIR=str(self.work), OVS_SYSCONFDIR=str(self.work),
        )
        run("ip", "netns", "add", NAMESPACE)
        try:
            self._start(cpu)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self, cpu: int):
        work = self.work
        run("ip", "-n", NAMESPACE, "link", "set", "lo", "up")
        run("ovsdb-tool", "create", work / "conf.db", SCHEMA, env=self.environment)
        inside = ["ip", "netns", "exec", NAMESPACE]
        run(*inside, "ovsdb-server", work / "conf.db", f"--remote=punix:{work}/db.sock",
            f"--pidfile={work}/ovsdb.pid", f"--log-file={work}/ovsdb.log", "--detach",
            env=self.environment)
        self.vsctl("--no-wait", "init")
        mask = f"{1 << cpu:#x}"
        self.vsctl(
            "--no-wait", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
            f"other_config:pmd-cpu-mask={mask}", "other_config:dpdk-lcore-mask=0x1",
            f"other_config:dpdk-extra=--no-pci --in-memory --no-telemetry -m {MEMORY_MB}")
        run(*inside, VSWITCHD, f"unix:{work}/db.sock", f"--pidfile={work}/vs.pid",
            f"--unixctl={work}/vs.ctl", f"--log-file={work}/vs.log", "--detach",
            env=self.environment)
        self.vswitchd = int((work / "vs.pid").read_text())
        self.avx512 = self._fast()

    def _fast(self) -> list[str]:
        """Switches on what is written for AVX-512; says what of it there is."""
        chosen = []
        for command, name, more in AVX512:
            if name in self.appctl(f"{command}-get"):
                self.appctl(f"{command}-set", name, *more)
                chosen.append(name)
        # Only the AVX-512 datapath asks for it: the fastest extraction for what it sees.
        if "dpif_avx512" in chosen:
            self.appctl("dpif-netdev/miniflow-parser-set", "study")
            chosen.append("miniflow extraction by study")
        return chosen

    def settings(self) -> str:
        """What it runs with, for the report."""
        versions = " with ".join(run(VSWITCHD, "--version").splitlines()[:2])
        fast = ", ".join(self.avx512) or "none in this build, scalar ones"
        return (f"{versions}; one polling thread on CPU {machine.cpu()}, {MEMORY_MB} MB in huge pages, "
                f"net_pcap infinite_rx in, net_null out; parts for AVX-512: {fast}; EMC and SMC: the fastest "
                f"of {', '.join(name for name, *_ in CACHES)} for each row, which its row names")

    def caches(self, probability: int, signatures: bool):
        self.vsctl("set", "Open_vSwitch", ".", f"other_config:emc-insert-inv-prob={probability}",
                   f"other_config:smc-enable={str(signatures).lower()}")

    def tune(self, settle: float, seconds: float) -> dict[str, float]:
        """Chooses the caches that make it fastest with the traffic of now; nanoseconds a packet of each."""
        found = {}
        for name, *choice in CACHES:
            self.caches(*choice)
            time.sleep(settle)
            found[name] = self.measure(seconds)
        best = min(found, key=found.get)
        self.caches(*next(choice for name, *choice in CACHES if name == best))
        return found

    def __exit__(self, *_):
        for name in ("vs.pid", "ovsdb.pid"):
            try:
                pid = int((self.work / name).read_text())
            except (OSError, ValueError):
                continue
            end(pid)
        run("ip", "netns", "del", NAMESPACE, check=False)
        shutil.rmtree(self.work, ignore_errors=True)

    def paused(self):
        """While something else is measured."""
        return machine.Paused(self.vswitchd)

    def vsctl(self, *words):
        return run("ovs-vsctl", f"--db=unix:{self.work}/db.sock", "--timeout=20", *words,
                   env=self.environment)

    def appctl(self, *words):
        return run("ovs-appctl", "-t", self.work / "vs.ctl", *words, env=self.environment)

    def bridge(self, pcap: Path):
        """A bridge whose port 1 receives the frames of `pcap` for ever."""
        for name in ("br0", "brp"):
            self.vsctl("--if-exists", "del-br", name)
        self._add_bridge("br0")
        self.vsctl("add-port", "br0", "p0", "--", "set", "Interface", "p0", "type=dpdk",
                   f"options:dpdk-devargs=net_pcap0,rx_pcap={pcap},infinite_rx=1",
                   "ofport_request=1")
        self._out("br0")
        error = self.vsctl("get", "Interface", "p0", "error").strip()
        if error not in ("[]", '""'):
            raise NotHere(f"OVS cannot open its input: {error}")

    def _add_bridge(self, name: str):
        self.vsctl("add-br", name, "--", "set", "bridge", name, "datapath_type=netdev",
                   "protocols=OpenFlow10,OpenFlow14")

    def _out(self, bridge: str):
        self.vsctl("add-port", bridge, "p1", "--", "set", "Interface", "p1", "type=dpdk",
                   "options:dpdk-devargs=net_null1,no-rx=1", "ofport_request=2")

    def geneve(self):
        """Port 3 of the bridge puts frames into a GENEVE tunnel that leaves by port 2."""
        self.vsctl("del-port", "br0", "p1")
        self._add_bridge("brp")
        self._out("brp")
        run("ip", "-n", NAMESPACE, "addr", "add", "172.16.0.1/24", "dev", "brp")
        run("ip", "-n", NAMESPACE, "link", "set", "brp", "up")
        self.vsctl("add-port", "br0", "g0", "--", "set", "Interface", "g0", "type=geneve",
                   "options:remote_ip=172.16.0.2", "options:key=100", "ofport_request=3")
        time.sleep(1)  # The tunnel's route becomes known by netlink.
        self.appctl("tnl/neigh/set", "brp", "172.16.0.2", "02:00:00:00:77:77")
        self.flows(["in_port=LOCAL,actions=output:2"], bridge="brp")

    def flows(self, flows: list[str], bridge: str = "br0"):
        target = f"unix:{self.work}/{bridge}.mgmt"
        run("ovs-ofctl", "-O", "OpenFlow14", "del-flows", target, env=self.environment)
        for flow in flows:
            run("ovs-ofctl", "-O", "OpenFlow14", "add-flow", target, flow, env=self.environment)

    def forget_connections(self):
        self.appctl("dpctl/flush-conntrack")

    def connections(self) -> int:
        return len(self.appctl("dpctl/dump-conntrack").splitlines())

    def measure(self, seconds: float) -> float:
        """Nanoseconds of its polling thread per packet, input included."""
        machine.urgent(self._polling())
        ticks, sent = self._ticks(), self._sent()
        self.appctl("dpif-netdev/pmd-stats-clear")
        start = time.monotonic()
        time.sleep(seconds)
        stats = self.appctl("dpif-netdev/pmd-stats-show")
        elapsed = time.monotonic() - start
        cpu = (self._ticks() - ticks) / os.sysconf("SC_CLK_TCK")
        found = re.search(r"pmd thread.*?packets received: (\d+)", stats, re.S)
        received = int(found.group(1)) if found else 0
        if received == 0:
            raise NotHere("OVS receives nothing; its log: " + self._log())
        if self._sent() == sent:
            raise NotHere("OVS sends nothing: the packets do not match its flows")
        # A thread that had to share its CPU worked for a part of the time only.
        return min(elapsed, max(cpu, 0.5 * elapsed)) / received * 1e9

    def _sent(self) -> int:
        # Asked of the datapath: the database hears of it every five seconds only.
        found = re.search(r": p1 .*?TX packets:(\d+)", self.appctl("dpctl/show", "-s"), re.S)
        return int(found.group(1)) if found else 0

    def _polling(self) -> int:
        """Its polling thread."""
        for task in Path(f"/proc/{self.vswitchd}/task").iterdir():
            if (task / "comm").read_text().startswith("pmd"):
                return int(task.name)
        raise NotHere("OVS has no polling thread; its log: " + self._log())

    def _ticks(self) -> int:
        stat = Path(f"/proc/{self.vswitchd}/task/{self._polling()}/stat").read_text()
        fields = stat.rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def _log(self) -> str:
        lines = (self.work / "vs.log").read_text().splitlines()
        return " / ".join(line for line in lines[-40:] if "ERR" in line or "WARN" in line)


def end(pid: int):
    """Ends a process that we started, and waits until it is gone."""
    for sign in (signal.SIGCONT, signal.SIGTERM):
        try:
            os.kill(pid, sign)
        except ProcessLookupError:
            return
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.05)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass

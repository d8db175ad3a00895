"""Route lookups: vpclab and the crates in one program (`benches/lookups`), DPDK's
rte_fib and rte_lpm on the table, keys and answers that it writes, in turn."""

import json
import statistics
import subprocess
from pathlib import Path

import dpdk
import machine
from machine import NotHere

ROOT = Path(__file__).resolve().parents[2]
MEMORY_MB = 1200
# What the marks ask for: table, traffic, ratio to rte_fib, share of its memory.
MARKS = [
    ("v4", 50, {"uniform": 1.4, "from-prefixes": 1.4, "zipf": 1.4}, None),
    ("v4", 1_000, {"uniform": 2, "from-prefixes": 0.85, "zipf": 0.85}, 1 / 1000),
    ("v4", 10_000, {"uniform": 2, "from-prefixes": 0.85, "zipf": 0.85}, 1 / 250),
    ("v4", "whole", {"uniform": 2, "from-prefixes": 1.8, "zipf": 1.4}, 1 / 5),
    ("v6", "whole", {"uniform": 1, "from-prefixes": 1.8, "zipf": 1}, None),
]
WHOLE = {"v4": 901_899, "v6": 160_147}


def program() -> Path:
    """Builds the program with vpclab's tables and the crates."""
    done = subprocess.run(
        ["cargo", "build", "--release", "--locked", "--quiet", "-p", "vpclab-lookups",
         "--message-format=json"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise NotHere("the lookup program does not build")
    for line in done.stdout.splitlines():
        built = json.loads(line)
        if built.get("executable") and built["target"]["name"] == "vpclab-lookups":
            return Path(built["executable"])
    raise NotHere("cargo names no lookup program")


def real_tables(work: Path, files: list[Path]) -> Path | None:
    """Real prefixes in one file; None where there are none: tables are made then."""
    if not files:
        return None
    text = work / "prefixes.txt"
    with text.open("wb") as out:
        for path in files:
            if path.suffix == ".zst":
                machine.need("zstd")
                subprocess.run(["zstd", "-dcq", path], stdout=out, check=True)
            else:
                out.write(path.read_bytes())
            out.write(b"\n")
    # A file of one family would leave the other's table empty.
    lines = text.read_text().split()
    for family, is_it in (("IPv4", lambda line: line[0].isdigit() and ":" not in line), ("IPv6", lambda line: ":" in line)):
        if not any(map(is_it, lines)):
            raise NotHere(f"--prefixes: no {family} prefix in {', '.join(path.name for path in files)}")
    return text


class Lookups:
    """Both programs."""

    def __init__(self, work: Path, rounds: int, is_quick: bool, prefixes: list[Path]):
        self.is_quick = is_quick
        self.work = work / "lpm"
        self.work.mkdir()
        self.own = program()
        self.fib = dpdk.build("fib.c", self.work)
        self.rounds = rounds
        self.prefixes = real_tables(self.work, prefixes)

    def _run(self, *command) -> list[dict]:
        # The first is pinned and urgent from its start, DPDK's makes itself so.
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                              timeout=280, preexec_fn=machine.measured
                              if command[0] == self.own else machine.ordinary)
        rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode or not rows:
            said = (done.stderr or done.stdout).strip().splitlines()[-3:]
            raise NotHere(f"`{Path(command[0]).name}` ended with {done.returncode}: {' / '.join(said)}")
        wrong = [row["who"] for row in rows if row["wrong"]]
        if wrong:
            raise NotHere(f"wrong answers of {', '.join(wrong)}")
        return rows

    def measure(self, family: str, routes, traffic: str) -> dict[str, dict]:
        """Nanoseconds a lookup of each structure, by name, one of each round."""
        table = routes
        more = []
        if routes == "whole":
            table = "file" if self.prefixes else WHOLE[family]
            more = ["--prefixes", self.prefixes] if self.prefixes else []
        all_rows: dict[str, dict] = {}
        # Whole tables take half a minute to build: all their rounds are of one.
        is_whole = routes == "whole"
        # A round is of four million keys: few of them say what they have to.
        inner = self.rounds + 2 if is_whole else 2
        for _ in range(1 if is_whole else self.rounds):
            rows = self._run(self.own, family, table, traffic, inner, *more, "--dump", self.work)
            rows += self._run(self.fib, *dpdk.eal(machine.cpu(), MEMORY_MB),
                              "--force-max-simd-bitwidth=512", "--", family, self.work, inner,
                              *([] if self.is_quick else ["all"]))
            for row in rows:
                held = all_rows.setdefault(row["who"], dict(row, ns=[]))
                held["ns"] += row["ns"] if is_whole else [statistics.median(row["ns"])]
        return all_rows

    def many(self, tables: int, routes: int, traffic: str) -> dict[str, dict]:
        """The same of thousands of tables, without DPDK: 32 MB each."""
        rows = self._run(self.own, "many", tables, routes, traffic, self.rounds)
        return {row["who"]: row for row in rows}


def rows(run):
    """The rows of the marks."""
    lookups = Lookups(run.work, run.rounds, run.is_quick, run.prefixes)
    run.notes.append(
        "lookup tables: made with the prefix lengths of real ones"
        + (f"; the largest of IPv4 and IPv6 are the real ones in {', '.join(path.name for path in run.prefixes)}"
           if run.prefixes else ""))
    with machine.HugePages(MEMORY_MB // 2 + 20):
        for family, routes, marks, share in MARKS:
            for traffic, mark in marks.items():
                busy = machine.Busy()
                found = lookups.measure(family, routes, traffic)
                run.raw.append({"table": f"{family} {routes}", "traffic": traffic, "found": found})
                ours = found["vpclab"]
                peer = found.get("rte_fib AVX-512") or found["rte_fib scalar"]
                crates = {who: row for who, row in found.items()
                          if who != "vpclab" and not who.startswith("rte_")}
                best = min(crates, key=lambda who: statistics.median(crates[who]["ns"]))
                count = ours["routes"]
                others = ""
                if "rte_lpm" in found:
                    others = f"rte_lpm {run.spread(found['rte_lpm']['ns']):.1f}, "
                run.ratio(f"LPM, {count} routes, IP{family}, {traffic}", mark,
                          [theirs / own for theirs, own in zip(peer["ns"], ours["ns"])], None,
                          f"{peer['who']} {run.spread(peer['ns']):.1f} ns, vpclab {run.spread(ours['ns']):.1f} ns; "
                          f"{others}"
                          f"{best} {run.spread(crates[best]['ns']):.1f}", busy)
            if share:
                ratio = ours["bytes"] / peer["bytes"]
                run.value(f"LPM, {count} routes, memory beside rte_fib", f"≤ 1/{round(1 / share)}",
                          f"1/{1 / ratio:.0f}", ratio <= share,
                          f"{ours['bytes'] / 1e3:.1f} kB beside {peer['bytes'] / 1e6:.0f} MB")
    busy = machine.Busy()
    found = lookups.many(4_096, 50, "from-prefixes")
    run.raw.append({"table": "4096 tables of 50", "traffic": "from-prefixes", "found": found})
    ours = found.pop("vpclab")
    for what, mark, among in (("fastest crate", 7, found),
                              ("fastest updatable crate", 20,
                               {who: row for who, row in found.items() if row["updatable"]})):
        best = min(among, key=lambda who: statistics.median(among[who]["ns"]))
        run.ratio(f"LPM, 4096 tables × 50 routes, {what}", mark,
                  [theirs / own for theirs, own in zip(among[best]["ns"], ours["ns"])], None,
                  f"{best} {run.spread(among[best]['ns']):.1f} ns, vpclab {run.spread(ours['ns']):.1f} ns", busy)
    each = ours["bytes"] / ours["routes"]
    run.value("LPM, 4096 tables × 50 routes, memory", "≤ 13 bytes a route", f"{each:.1f} bytes",
              each <= 13, "counts of sharing included")

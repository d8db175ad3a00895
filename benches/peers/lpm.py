"""Route lookups: vpclab and the crates in one program (`benches/lookups`), DPDK's
rte_fib and rte_lpm in another, on the table, keys and answers that the first writes. Both build
a table once, for all kinds of traffic, and take turns then: a round of ours, of some milliseconds,
a round of DPDK's, many times; the crates, ten to a hundred times slower, now and then between."""

import json
import statistics
import subprocess
from pathlib import Path

import dpdk
import machine
from allotted import LEAST
from machine import NotHere
from marks import Judged

ROOT = Path(__file__).resolve().parents[2]
MEMORY_MB = 1200
# What the marks ask for: table, traffic, ratio to rte_fib, share of its memory. Behind a comma: a goal beyond.
MARKS = [
    ("v4", 50, {"uniform": (1.4,), "from-prefixes": (1.4,), "zipf": (1.4,)}, None),
    ("v4", 1_000, {"uniform": (2,), "from-prefixes": (0.85, 1), "zipf": (0.85, 1)}, 1 / 1000),
    ("v4", 10_000, {"uniform": (2,), "from-prefixes": (0.85, 1), "zipf": (0.85, 1)}, 1 / 250),
    ("v4", "whole", {"uniform": (2,), "from-prefixes": (1.8,), "zipf": (1.4,)}, 1 / 5),
    ("v6", "whole", {"uniform": (1, 1.2), "from-prefixes": (1.8,), "zipf": (1, 1.2)}, None),
]
# Rows of the part that are measured in rounds.
ROWS = sum(len(marks) for _, _, marks, _ in MARKS) + 1
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
    """Both programs. `own` is the one that is built from this repository."""

    def __init__(self, run, own: Path):
        self.work = run.work / "lpm"
        self.work.mkdir()
        self.own, self.time, self.is_quick = own, run.time, run.is_quick
        self.fib = dpdk.build("fib.c", self.work)
        # A round of ours and DPDK's is some milliseconds. Crates have one in the first rounds, and in one of so many.
        self.rounds, self.many_rounds, self.crates_every = (21, 9, 21) if run.is_quick else (63, 27, 4)
        self.prefixes = real_tables(self.work, run.prefixes)

    def _own(self, *words, first="ready"):
        return dpdk.Asked(self.own, *words, timeout=min(900, self.time.left()), first=first)

    def _fib(self, family: str):
        # Pins itself, and is urgent only while it measures.
        return dpdk.Asked(self.fib, *dpdk.eal(machine.cpu(), MEMORY_MB), "--force-max-simd-bitwidth=512", "--", family,
                          self.work, *([] if self.is_quick else ["all"]), timeout=min(900, self.time.left()))

    def _rounds(self, row: str, most: int, crates_every: int, own, fib=None) -> dict[str, dict]:
        """Rounds in turn: of each structure the nanoseconds a lookup, one of each of its rounds."""
        found: dict[str, dict] = {}

        def note(answer: str):
            for who, row in json.loads(answer).items():
                found.setdefault(who, dict(row, ns=[]))["ns"].append(row["ns"])

        with machine.Measured(own.process.pid):
            for number in self.time.rounds(row, most):
                note(own.ask("own", "{"))
                if fib:
                    note(fib.ask("round", "{"))
                if number < LEAST or number % crates_every == 0:
                    note(own.ask("crates", "{"))
        wrong = [who for who, row in found.items() if row["wrong"]]
        if wrong:
            raise NotHere(f"wrong answers of {', '.join(wrong)}")
        return found

    def measure(self, family: str, routes, traffics):
        """Of each kind of traffic: when it began to be measured, and what of each structure, by name, one of each
        round."""
        table = routes
        more = []
        if routes == "whole":
            table = "file" if self.prefixes else WHOLE[family]
            more = ["--prefixes", self.prefixes] if self.prefixes else []
        # DPDK's table is built from what the first has written, while that one builds its own.
        with (self._own(family, table, *more, "--dump", self.work, first="routes") as own, self._fib(family) as fib):
            own.until("built")
            for traffic in traffics:
                own.ask(f"keys {traffic}", "ready")
                fib.ask("keys", "ready")
                busy = machine.Busy()
                row = f"LPM, {table} routes, IP{family}, {traffic}"
                yield traffic, busy, self._rounds(row, self.rounds, self.crates_every, own, fib)

    def many(self, tables: int, routes: int, traffic: str) -> dict[str, dict]:
        """The same of thousands of tables, without DPDK: 32 MB each."""
        with self._own("many", tables, routes, traffic) as own:
            return self._rounds(f"LPM, {tables} tables × {routes} routes", self.many_rounds, 1, own)


def rows(run):
    """The rows of the marks."""
    lookups = Lookups(run, run.lookups or program())
    run.settings.append(
        f"route lookups of {dpdk.version()}, built for this machine (-O3 -march=native): rte_fib DIR24_8 with next hops "
        f"of 2 bytes, rte_fib6 TRIE (2 bytes, above 20 000 routes 4), both with their AVX-512 lookup where the machine "
        f"has it; rte_lpm and rte_lpm6{', not of the largest tables' if run.is_quick else ''}; tables in huge pages, "
        f"bulks of 32 keys for all")
    run.notes.append(
        "lookup tables: made with the prefix lengths of real ones"
        + (f"; the largest of IPv4 and IPv6 are the real ones in {', '.join(path.name for path in run.prefixes)}"
           if run.prefixes else ""))
    with machine.HugePages(MEMORY_MB // 2 + 20):
        for family, routes, marks, share in MARKS:
            table_busy = machine.Busy("all lookups in this table")
            for traffic, busy, found in lookups.measure(family, routes, marks):
                run.raw.append({"table": f"{family} {routes}", "traffic": traffic, "found": found})
                ours = found["vpclab"]
                name = next(name for name in ("rte_fib AVX-512", "rte_fib scalar") if name in found)
                peer = found[name]
                crates = {who: row for who, row in found.items()
                          if who != "vpclab" and not who.startswith("rte_")}
                best = min(crates, key=lambda who: statistics.median(crates[who]["ns"]))
                count = ours["routes"]
                others = ""
                if "rte_lpm" in found:
                    others = f"rte_lpm {run.spread(found['rte_lpm']['ns']):.1f} ns, "
                mark, *goal = marks[traffic]
                run.ratio(f"LPM, {count} routes, IP{family}, {traffic}", mark,
                          [theirs / own for theirs, own in zip(peer["ns"], ours["ns"])], None,
                          f"{name} {run.spread(peer['ns']):.1f} ns, vpclab {run.spread(ours['ns']):.1f} ns; "
                          f"{others}"
                          f"the fastest crate, {best}, {run.spread(crates[best]['ns']):.1f} ns", busy, *goal)
            if share:
                ratio = ours["bytes"] / peer["bytes"]
                run.value(f"LPM, {count} routes, memory beside rte_fib", f"≤ 1/{round(1 / share)}",
                          f"1/{1 / ratio:.0f}", Judged(ratio, share, False),
                          f"{ours['bytes'] / 1e3:.1f} kB beside {peer['bytes'] / 1e6:.0f} MB", table_busy)
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
              Judged(each, 13, False), "all that the tables take, the counts by which alike ones are shared too", busy)

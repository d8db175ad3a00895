"""Workers, and namespaces through PrivateLink beside a bare mover and the kernel's router.

All of it is one run of `vpclab bench io`: peers and vpclab take turns there, with the same
generators and sinks, and the ratios are of single rounds.
"""

from pathlib import Path

import machine
from marks import Judged

PING = {name: (("kernel", f"{name}/kernel-router", "p50_us"), ("vpclab", f"{name}/privatelink", "p50_us"),
               ("a bare mover beside the kernel", f"{name}/bare-mover", "times_kernel_router"))
        for name in ("ping", "ping-same-core")}
# Work, mark if there is one, whether more is better, case, ratio, and what is shown of whom: (words, case, figure).
ROWS = (
    ("Workers: two beside one, memory ports", 1.8, True, "memory/workers=2", "times_one_worker",
     (("one", "memory/workers=1", "mpps"), ("two", "memory/workers=2", "mpps"),
      ("two data planes with nothing in common", "memory/workers=2/apart", "times_one_worker"),
      ("what the machine gives two threads that only count", "memory/floor=2", "times_one_thread"))),
    ("A packet handed over to another worker, beside one that is not", 1.5, False,
     "memory/workers=2/handed-over", "cost_of_own",
     (("own", "memory/workers=2", "mpps"), ("handed over", "memory/workers=2/handed-over", "mpps"))),
    ("Namespaces, one TCP stream through PrivateLink, beside a bare io_uring TAP mover", 0.9, True,
     "tcp/privatelink", "times_bare_mover",
     (("mover", "tcp/bare-mover", "gbit_per_s"), ("vpclab", "tcp/privatelink", "gbit_per_s"))),
    ("Namespaces, one TCP stream through PrivateLink, beside the kernel's masquerade", 0.8, True,
     "tcp/privatelink", "times_kernel_masquerade",
     (("kernel", "tcp/kernel-masquerade", "gbit_per_s"), ("vpclab", "tcp/privatelink", "gbit_per_s"))),
    ("Namespaces, 64-byte UDP (1 000 flows) through PrivateLink, two cores, beside kernel conntrack + masquerade", 1.5,
     True, "udp-64B/privatelink", "times_kernel_masquerade",
     (("kernel", "udp-64B/kernel-masquerade", "mpps"), ("vpclab", "udp-64B/privatelink", "mpps"))),
    ("Namespaces, 64-byte UDP (1 000 flows) through PrivateLink, two cores, beside the bare io_uring TAP mover", 0.85,
     True, "udp-64B/privatelink", "times_bare_mover",
     (("mover", "udp-64B/bare-mover", "mpps"), ("vpclab", "udp-64B/privatelink", "mpps"))),
    ("Namespaces, 64-byte UDP of 50 000 flows through PrivateLink, two cores, beside kernel conntrack + masquerade",
     1.5, True, "udp-64B-50k-flows/privatelink", "times_kernel_masquerade",
     (("kernel", "udp-64B-50k-flows/kernel-masquerade", "mpps"), ("vpclab", "udp-64B-50k-flows/privatelink", "mpps"))),
    ("Namespaces, 64-byte UDP of 50 000 flows through PrivateLink, two cores, beside the bare io_uring TAP mover", 0.85,
     True, "udp-64B-50k-flows/privatelink", "times_bare_mover",
     (("mover", "udp-64B-50k-flows/bare-mover", "mpps"), ("vpclab", "udp-64B-50k-flows/privatelink", "mpps"))),
    ("Ping, p50 beside the kernel router's, asked from another core than packets are handled on", 2, False,
     "ping/privatelink", "times_kernel_router", PING["ping"]),
    ("Ping, p50 beside the kernel router's, asked from the core that packets are handled on (nobody is woken there)",
     2, False, "ping-same-core/privatelink", "times_kernel_router", PING["ping-same-core"]),
    ("Namespaces, one TCP stream (CUBIC) through PrivateLink, beside a bare io_uring TAP mover", None, True,
     "tcp-cubic/privatelink", "times_bare_mover",
     (("mover", "tcp-cubic/bare-mover", "gbit_per_s"), ("vpclab", "tcp-cubic/privatelink", "gbit_per_s"))),
    ("Namespaces, one TCP stream (CUBIC) through PrivateLink, beside the kernel's masquerade", None, True,
     "tcp-cubic/privatelink", "times_kernel_masquerade",
     (("kernel", "tcp-cubic/kernel-masquerade", "gbit_per_s"), ("mover", "tcp-cubic/bare-mover", "gbit_per_s"),
      ("vpclab", "tcp-cubic/privatelink", "gbit_per_s"))),
    ("Namespaces, super-packets of 44 datagrams (USO) through PrivateLink, beside the kernel's masquerade", None, True,
     "udp-uso/privatelink", "times_kernel_masquerade",
     (("kernel", "udp-uso/kernel-masquerade", "gbit_per_s"), ("mover", "udp-uso/bare-mover", "gbit_per_s"),
      ("vpclab", "udp-uso/privatelink", "gbit_per_s"),
      ("a frame at the server", "udp-uso/privatelink", "bytes_a_frame"))),
    ("Namespaces, one TCP stream (TSO) in GENEVE trains through a GWLB's appliance, beside the same without one", None,
     True, "tcp-gwlb/trains", "times_direct",
     (("direct", "tcp-gwlb/direct", "gbit_per_s"), ("packet by packet", "tcp-gwlb/one-by-one", "gbit_per_s"),
      ("trains", "tcp-gwlb/trains", "gbit_per_s"),
      ("the appliance reads at once", "tcp-gwlb/trains", "packets_a_read"))),
    ("Namespaces, one TCP stream through PrivateLink, two workers and queues, beside two movers", None, True,
     "tcp/privatelink/queues=2", "times_bare_mover",
     (("movers", "tcp/bare-mover/queues=2", "gbit_per_s"), ("vpclab", "tcp/privatelink/queues=2", "gbit_per_s"),
      ("vpclab beside one queue", "tcp/privatelink/queues=2", "times_one_queue"))),
    ("Namespaces, 64-byte UDP through PrivateLink, two workers and queues, beside two movers (one core is the "
     "generator's, too)", None, True,
     "udp-64B/privatelink/queues=2", "times_bare_mover",
     (("movers", "udp-64B/bare-mover/queues=2", "mpps"), ("vpclab", "udp-64B/privatelink/queues=2", "mpps"),
      ("vpclab beside one queue", "udp-64B/privatelink/queues=2", "times_one_queue"))),
)
UNITS = {"mpps": "Mpps", "gbit_per_s": "Gbit/s", "p50_us": "µs", "bytes_a_frame": "bytes", "packets_a_read": "packets",
         "times_one_worker": "×", "times_one_thread": "×", "times_one_queue": "×", "times_kernel_router": "×"}


# What vpclab loads.
RULES = Path(__file__).resolve().parents[2] / "control/src/bench/io/masquerade.nft"


def settings(found) -> str:
    """How the kernel's router is set up, and whether its packets could be given to another CPU."""
    steered = {name: result["metrics"].get("rps_interfaces") for name, result in found.items()
               if "/kernel-" in name}
    told = {count for count in steered.values() if count is not None}
    if not told:
        rps = "whether RPS took effect is not told by this vpclab"
    elif told == {2.0}:
        rps = f"RPS to CPU {machine.cpu()} on both interfaces, the sender's on CPU 0"
    else:
        bad = ", ".join(name for name, count in steered.items() if count is not None and count < 2)
        rps = f"RPS REFUSED for {bad}: the sender's CPU does the router's work, too"
    congestion = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    version = machine.run("nft", "--version", check=False).split("(")[0].strip()
    return (f"the kernel's router: two veth pairs, offloads on, ip_forward, {rps}; with masquerade ({version}): "
            f"{' '.join(RULES.read_text().split())}; the bare mover: io_uring between two TAPs, its thread on the last "
            f"CPU, as vpclab's one worker; TCP by {congestion}, this machine's default, where its row does not say another")


def rows(run):
    """Measures all of them and adds their rows."""
    busy = machine.Busy("the whole suite io")
    found = run.vpclab("io", "--rounds", 3 if run.is_quick else 9, start=machine.preferred)
    share = busy.row()
    run.raw += found.values()
    run.settings.append(settings(found))
    for work, mark, more, case, ratio, shown in ROWS:
        wanted = f"{'≥' if more else '≤'} {mark} ×" if mark else "–"
        missing = [name for _, name, _ in shown if f"io/{name}" not in found]
        if missing:
            run.missing(work, wanted, f"no {missing[0]} here: `vpclab bench io` says why")
            continue
        metrics = found[f"io/{case}"]["metrics"]
        spread = {"min": metrics[f"{ratio}_min"], "median": metrics[ratio], "max": metrics[f"{ratio}_max"]}

        def figure(name, unit):
            metrics = found[f"io/{name}"]["metrics"]
            if f"{unit}_min" not in metrics:
                return f"{metrics[unit]:.1f} {UNITS[unit]}"
            least, most = metrics[f"{unit}_min"], metrics[f"{unit}_max"]
            return f"{metrics[unit]:.2f} ({least:.2f}–{most:.2f}) {UNITS[unit]}"

        others = found[f"io/{case}"]["others_percent"]
        run.row({
            "work": work, "mark": wanted, "ratio": spread, "net_ratio": None,
            **({"met": None} if mark is None else Judged(spread["median"], mark, more).row()),
            "detail": ", ".join(f"{words} {figure(name, unit)}" for words, name, unit in shown)
                      + f"; other programs {others:.0f} % of the CPUs",
            **share,
        })

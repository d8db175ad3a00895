"""Workers, and namespaces through PrivateLink beside a bare mover and the kernel's router.

All of it is one run of `vpclab bench io`: peers and vpclab take turns there, with the same
generators and sinks, and the ratios are of single rounds.
"""

import machine

# Work, mark, whether more is better, case, ratio, and what is shown of whom: (words, case, figure).
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
    ("Namespaces, 64-byte UDP through PrivateLink, two cores, beside kernel conntrack + masquerade", 1.5,
     True, "udp-64B/privatelink", "times_kernel_masquerade",
     (("kernel", "udp-64B/kernel-masquerade", "mpps"), ("vpclab", "udp-64B/privatelink", "mpps"))),
    ("Namespaces, 64-byte UDP through PrivateLink, two cores, beside the bare io_uring TAP mover", 0.85,
     True, "udp-64B/privatelink", "times_bare_mover",
     (("mover", "udp-64B/bare-mover", "mpps"), ("vpclab", "udp-64B/privatelink", "mpps"))),
    ("Ping, p50 beside the kernel router's", 2, False, "ping/privatelink", "times_kernel_router",
     (("kernel", "ping/kernel-router", "p50_us"), ("vpclab", "ping/privatelink", "p50_us"))),
)
UNITS = {"mpps": "Mpps", "gbit_per_s": "Gbit/s", "p50_us": "µs", "times_one_worker": "×", "times_one_thread": "×"}


# control/src/bench/io/router.rs
RULES = ("chain forward { type filter hook forward priority 0; policy drop; ct state established,related accept; "
         "iifname r0 ct state new accept } chain post { type nat hook postrouting priority 100; oifname r1 masquerade }")


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
    version = machine.run("nft", "--version", check=False).split("(")[0].strip()
    return (f"the kernel's router: two veth pairs, offloads on, ip_forward, {rps}; with masquerade ({version}): "
            f"{RULES}; the bare mover: io_uring between two TAPs, its thread on the last CPU, as vpclab's one worker")


def rows(run, vpclab):
    """Measures all of them and adds their rows."""
    busy = machine.Busy()
    found = vpclab(run.binary, "io", "--rounds", 5 if run.is_quick else 9, start=machine.preferred)
    run.raw += found.values()
    run.settings.append(settings(found))
    for work, mark, more, case, ratio, shown in ROWS:
        sign = "≥" if more else "≤"
        missing = [name for _, name, _ in shown if f"io/{name}" not in found]
        if missing:
            run.missing(work, f"{sign} {mark} ×", f"no {missing[0]} here: `vpclab bench io` says why")
            continue
        metrics = found[f"io/{case}"]["metrics"]
        spread = {"min": metrics[f"{ratio}_min"], "median": metrics[ratio], "max": metrics[f"{ratio}_max"]}

        def figure(name, unit):
            metrics = found[f"io/{name}"]["metrics"]
            least, most = metrics[f"{unit}_min"], metrics[f"{unit}_max"]
            return f"{metrics[unit]:.2f} ({least:.2f}–{most:.2f}) {UNITS[unit]}"

        others = found[f"io/{case}"]["others_percent"]
        run.row({
            "work": work, "mark": f"{sign} {mark} ×", "ratio": spread, "net_ratio": None,
            "met": spread["median"] >= mark if more else spread["median"] <= mark,
            "detail": ", ".join(f"{words} {figure(name, unit)}" for words, name, unit in shown)
                      + f"; other programs {others:.0f} % of the CPUs",
            "machine_busy_percent": round(busy.percent()[0]),
        })

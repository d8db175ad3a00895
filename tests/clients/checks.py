"""Runs the checks, a line each."""

import subprocess
import time
import traceback

import acls
import addresses
import balancers
import cli
import cloud as clouds
import defaults
import dhcp
import endpoints
import exports
import gateway_endpoints
import groups
import harness
import hostile
import insights
import instances
import interfaces
import names
import nats
import peering
import playbook
import proxied
import quirks
import records
import refusals
import routes
import signed
import state
import terraform
import terraform_services
import vpn
import walk_gwlb
import walk_privatelink

MODULES = [quirks, proxied, groups, acls, routes, interfaces, addresses, nats, gateway_endpoints,
           instances, balancers, endpoints, walk_privatelink, walk_gwlb, cli, defaults, dhcp, names,
           exports, insights, peering, vpn, playbook, terraform, terraform_services, records, refusals,
           signed, state, hostile]


def main(words):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    named = [(f"{module.__name__}.{check.__name__}", check)
             for module in MODULES for check in module.CHECKS]
    chosen = [(name, check) for name, check in named
              if not words or any(word in name for word in words)]
    report = harness.Report()
    before = harness.machine()
    try:
        with clouds.cloud() as cloud:
            for name, check in chosen:
                run(report, cloud, name, check)
            if not words:
                report.line("every action has a success and an error", coverage(cloud))
            log = cloud.lab.path("lab.log").read_text()
            report.line("the daemon's log", "a panic: " + log[-2000:] if "panic" in log else None)
    except Exception as error:
        report.line("the lab", explain(error))
    after = harness.machine()
    left = [f"{k}: {before[k]} became {after[k]}" for k in before if before[k] != after[k]]
    report.line("nothing stays behind", ", ".join(left) or None)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed or not report.passed else 0


def run(report, cloud, name, check):
    start = time.monotonic()
    why = None
    cloud.recording = True
    try:
        check(cloud)
    except harness.CannotBe as error:
        report.cannot(name, error)
        cloud.recording = False
        return
    except Exception as error:  # a fault of a check must not end the others
        why = explain(error)
    cloud.recording = False
    try:
        cloud.wipe()
    except Exception as error:
        why = f"{why or ''} afterwards: {explain(error)}"
    report.line(f"{name} ({time.monotonic() - start:.1f} s)", why)


def explain(error):
    if isinstance(error, harness.Failed):
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if f.filename.startswith(str(clouds.HERE))]
        own = [f for f in own if f.name not in ("run", "main")]
        return f"{error} ({own[0].filename.rsplit('/', 1)[-1]}:{own[0].lineno})" if own else str(error)
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.filename.startswith(str(clouds.HERE))]
    return f"{error!r} at {own[-1] if own else frames[-1]}"


# It takes nothing that could be wrong.
CANNOT_BE_REFUSED = ["sts GetCallerIdentity"]


def coverage(cloud):
    """What was called only one way, or not at all."""
    codes = {action: cloud.calls.get(action, set()) for action in cloud.actions}
    never = [a for a in codes if "ok" not in codes[a]]
    unrefused = [a for a in codes if not codes[a] - {"ok"} and a not in CANNOT_BE_REFUSED]
    why = []
    if never:
        why.append("never went well: " + ", ".join(never))
    if unrefused:
        why.append("never refused: " + ", ".join(unrefused))
    return "; ".join(why) or None

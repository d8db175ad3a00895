"""What is wrong with a file or the machine is said once, and nothing changes."""

import os
import pathlib
import re
import shutil
import tempfile

import harness
from harness import check, sh, topology, vpclab

VPC = """name: wrong
vpcs:
  main:
    cidr: 10.0.0.0/16
    subnets:
      one: {cidr: 10.0.1.0/24, az: a}
"""

WRONG = {
    "cidr": (VPC.replace("10.0.0.0/16", "10.0.0.0/33"), 4),
    "outside": (VPC.replace("10.0.1.0/24", "10.9.1.0/24"), 6),
    "unknown_name": (VPC + "hosts:\n  a: {subnet: two}\n", 8),
    "duplicate": (VPC + "      one: {cidr: 10.0.2.0/24, az: a}\n", 7),
    "unknown_key": (VPC + "hots: {}\n", 7),
    "cycle": (VPC + "prefix_lists:\n  a: [b]\n  b: [a]\n", 8),
}


def topology_errors(report):
    for name, (text, line) in WRONG.items():
        with report.part(f"topology_errors {name}"), topology(text) as file:
            before = harness.machine()
            done = vpclab("up", file, "--lab", harness.PREFIX + "wrong")
            check(done.returncode == 2, f"exit {done.returncode}: {done.stderr}")
            place = f"{file}:{line}:"
            check(place in done.stderr, f"no {place} in {done.stderr!r}")
            messages = re.findall(re.escape(str(file)) + r":\d+", done.stderr)
            check(len(messages) == 1, f"{len(messages)} messages: {done.stderr}")
            check(harness.machine() == before, "something changed")


def without_tun(report):
    """A user who may not open /dev/net/tun is told so."""
    harness.needs_root("it makes its own user without rights")
    with tempfile.TemporaryDirectory(prefix="vpclab-scenario-") as directory, \
            topology(VPC + "hosts:\n  a: {subnet: one}\n") as file:
        os.chmod(directory, 0o755)
        # The build directory need not be open to other users.
        program = pathlib.Path(directory) / "vpclab"
        shutil.copy(harness.VPCLAB, program)
        hide = "mount -t tmpfs none /dev/net && exec \"$@\""
        done = sh("unshare", "-m", "sh", "-c", hide, "sh", "setpriv", "--reuid=65534",
                  "--regid=65534", "--clear-groups", "--inh-caps=-all",
                  "env", "-u", "XDG_RUNTIME_DIR", program, "up", file,
                  cwd="/", timeout=30)
        left = pathlib.Path("/tmp/vpclab-65534")
        check(done.returncode not in (0, 101), f"exit {done.returncode}: {done.stdout}")
        said = done.stderr
        check("/dev/net/tun" in said or "user namespace" in said, f"unclear: {said!r}")
        check("\n  fix: " in said, f"what to do about {said!r}?")
        check(not left.exists() or not list(left.iterdir()), f"left {left}")


SCENARIOS = [topology_errors, without_tun]

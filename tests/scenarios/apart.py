"""A place of their own for the scenarios: namespaces, and a user without rights."""

import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# What the scenarios read.
PARTS = ["examples", "docs", "packaging", "tests/scenarios", "benches"]
APART = "VPCLAB_SCENARIOS_APART"
USER = "VPCLAB_SCENARIOS_USER"
# The machine that `tests/scenarios/guest` makes.
GUEST = "VPCLAB_GUEST"
# Some ids of other users for ours, beyond those that the machine gives out.
SUBIDS = (4_000_000_000, 65_536)
# Named networks of our own: others run beside us, with names like ours.
OWN_NETNS = "mkdir -p /run/netns && mount -t tmpfs -o mode=755 none /run/netns && "
# A device that everybody may open, as on most machines; here only.
OPEN_TUN = ("mount -t tmpfs -o mode=755 none /dev/net && "
            "mknod -m 666 /dev/net/tun c 10 200 && ")


def is_apart():
    return APART in os.environ


def run(rootless, arguments):
    """Runs the scenarios again in namespaces of their own. Exit code."""
    # Our number on the machine: inside, many would have the same.
    mark = {APART: str(os.getpid()), GUEST: str(ROOT / "target/guest")}
    if not rootless:
        return enter(HERE / "run", arguments, os.environ | mark, "")
    program = os.environ.get("VPCLAB", str(ROOT / "target/debug/vpclab"))
    # So that the user goes whatever ends us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    user = f"vpclab-test-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="vpclab-rootless-") as directory:
        # The working directory need not be open to other users.
        place = pathlib.Path(directory)
        for part in PARTS:
            shutil.copytree(ROOT / part, place / part, dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns("made", "__pycache__"))
        shutil.copy(program, place / "vpclab")
        subprocess.run(["chmod", "-R", "a+rX", place], check=True)
        subprocess.run(["useradd", "--system", "--no-create-home", "--home-dir", place,
                        "--shell", "/bin/sh", user], check=True)
        try:
            give_subids(user)
            environment = os.environ | mark | {USER: user, "VPCLAB": str(place / "vpclab")}
            return enter(place / "tests/scenarios/run", arguments, environment, OPEN_TUN)
        finally:
            subprocess.run(["userdel", user], check=True)


def give_subids(user):
    first, count = SUBIDS
    if shutil.which("newuidmap"):
        both = ["--add-subuids", f"{first}-{first + count - 1}",
                "--add-subgids", f"{first}-{first + count - 1}"]
        subprocess.run(["usermod", *both, user], check=True)


def enter(program, arguments, environment, first):
    # A shell starts what runs beside it with the signal of Ctrl-C ignored, and
    # programs inherit that: those that are stopped by it would not end.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # The shell is process 1 there: it takes in what loses its parent.
    script = OWN_NETNS + first + '"$@"; exit $?'
    return subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
         "sh", "-c", script, "sh", sys.executable, str(program), *arguments],
        env=environment, check=False, cwd=program.parent).returncode


def user():
    """The user that vpclab runs as: name, number, group; `None` as root."""
    name = os.environ.get(USER)
    return pwd.getpwnam(name) if name else None

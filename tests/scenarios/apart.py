"""A place of their own for the scenarios: namespaces, and a user without rights."""

import fcntl
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
# The file that says how many scenarios are taken, where several run at a time.
TAKEN = "VPCLAB_SCENARIOS_TAKEN"
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


def turns(scenarios):
    """Those that it is ours to run, each when its turn comes: of several runs each takes
    the next that nobody has taken."""
    if not is_one_of_several():
        yield from scenarios
        return
    while True:
        with open(os.environ[TAKEN], "r+b", buffering=0) as taken:
            fcntl.flock(taken, fcntl.LOCK_EX)
            number = int(taken.read() or b"0")
            taken.seek(0)
            taken.write(str(number + 1).encode())
        if number >= len(scenarios):
            return
        yield scenarios[number]


def is_one_of_several():
    return TAKEN in os.environ


def run(rootless, together, words):
    """Runs the scenarios again in namespaces of their own, so many at a time. Exit code."""
    with tempfile.NamedTemporaryFile(prefix="vpclab-scenarios-") as taken:
        # Runs of a user without rights count in it, too.
        os.chmod(taken.name, 0o666)
        several = {TAKEN: taken.name} if together > 1 else {}
        return run_apart(rootless, together, words, several)


def run_apart(rootless, together, words, several):
    mark = {GUEST: str(ROOT / "target/guest")} | several
    if not rootless:
        return enter(HERE / "run", words, os.environ | mark, "", together)
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
            return enter(place / "tests/scenarios/run", words, environment, OPEN_TUN, together)
        finally:
            subprocess.run(["userdel", user], check=True)


def give_subids(user):
    first, count = SUBIDS
    if shutil.which("newuidmap"):
        both = ["--add-subuids", f"{first}-{first + count - 1}",
                "--add-subgids", f"{first}-{first + count - 1}"]
        subprocess.run(["usermod", *both, user], check=True)


def enter(program, words, environment, first, together):
    # The shell is process 1 there: it takes in what loses its parent.
    script = OWN_NETNS + first + '"$@"; exit $?'
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
               "sh", "-c", script, "sh", sys.executable, str(program), *words]
    # Our number on the machine: inside, many would have the same.
    names = [f"{os.getpid()}{chr(ord('a') + number)}" for number in range(together)]
    runs = [subprocess.Popen(command, env=environment | {APART: name}, cwd=program.parent)
            for name in names]
    return max(run.wait() for run in runs)


def user():
    """The user that vpclab runs as: name, number, group; `None` as root."""
    name = os.environ.get(USER)
    return pwd.getpwnam(name) if name else None

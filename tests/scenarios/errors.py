"""What is wrong with a file or the machine is said once, and nothing changes."""

import json
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


def says(done, code, *words):
    """The exit code, every word in the error, and what to do about it."""
    check(done.returncode == code, f"exit {done.returncode}, not {code}: {done.stderr}")
    for word in words:
        check(word in done.stderr, f"no {word!r} in {done.stderr!r}")
    check(done.stderr.startswith("error: "), done.stderr)
    check("panicked" not in done.stderr, done.stderr)


def wrong_file(report):
    """What is no topology file, and what is no lab."""
    with harness.temporary() as directory:
        binary = directory / "binary"
        binary.write_bytes(bytes(range(256)))
        nonsense = directory / "nonsense.yaml"
        nonsense.write_text("{[\n")
        for name, file, words in (
            ("missing", directory / "none.yaml", ["none.yaml", "No such file"]),
            ("directory", directory, [str(directory), "directory"]),
            ("binary", binary, ["binary"]),
            ("not YAML", nonsense, ["nonsense.yaml:"]),
        ):
            with report.part(f"wrong_file {name}"):
                says(vpclab("up", file, "--lab", harness.PREFIX + "wrong"), 2, *words)
    with report.part("wrong_file no such lab"):
        for command in (["ps"], ["down"], ["flows"], ["exec", "client", "--", "true"]):
            done = vpclab(*command[:1], "--lab", harness.PREFIX + "none", *command[1:])
            says(done, 2, "is not running", "fix: ")
    with report.part("wrong_file a name that cannot be"):
        with topology(VPC) as file:
            for name in ("../x", "a b", "x" * 60):
                says(vpclab("up", file, "--lab", name), 2, "cannot name a lab", "fix: ")


def no_device(report):
    """Without /dev/net/tun, or without leave to open it."""
    hidden = 'mount -t tmpfs none /dev/net && exec "$@"'
    for name, before, word in (
        ("missing", hidden, "--device"),
        ("unopenable", "mount -t tmpfs -o nodev none /dev/net && "
         'mknod -m 666 /dev/net/tun c 10 200 && exec "$@"', "chmod 0666"),
    ):
        with report.part(f"no_device {name}"), \
                topology(VPC + "hosts:\n  a: {subnet: one}\n") as file:
            lab = harness.PREFIX + "tun"
            done = within(before, "up", file, "--lab", lab)
            says(done, 3, "/dev/net/tun", "fix: ", word)
            gone(lab)
            done = within(before, "doctor")
            check(done.returncode == 1, f"doctor: exit {done.returncode}: {done.stdout}")
            check("/dev/net/tun" in done.stdout and word in done.stdout, done.stdout)


def within(script, *argv):
    """vpclab as the scenarios' user, in a mount namespace that root prepares."""
    become = without_rights() if harness.USER else []
    return sh("unshare", "-m", "sh", "-c", script, "sh", *become, harness.VPCLAB, *argv, cwd="/")


def without_rights(*environment):
    """What makes a command the scenarios' user's."""
    return ["setpriv", f"--reuid={harness.ACCOUNT.pw_uid}", f"--regid={harness.ACCOUNT.pw_gid}",
            "--clear-groups", "--inh-caps=-all", "env", "-u", "XDG_RUNTIME_DIR", *environment]


def gone(lab):
    check(not (harness.RUNTIME / lab).exists(), f"{lab} left its directory")
    left = [words for words in harness.own_processes().values() if lab in " ".join(words)]
    check(not left, f"{lab} left {left}")


def full_disk(report):
    """A directory of labs without room: up says so, and leaves nothing."""
    base = "/run/vpclab"
    with topology(VPC + "hosts:\n  a: {subnet: one}\n") as file:
        lab = harness.PREFIX + "full"
        for name, fill in (("full", "dd if=/dev/zero of=$D/fill bs=4k 2>/dev/null; "),
                           ("nearly full", "dd if=/dev/zero of=$D/fill bs=4k count=62 2>/dev/null; ")):
            with report.part(f"full_disk {name}"):
                if harness.USER:
                    place = f"/tmp/vpclab-{harness.ACCOUNT.pw_uid}"
                    owner = f",uid={harness.ACCOUNT.pw_uid},mode=700"
                else:
                    place, owner = base, ",mode=700"
                before = (f"D={place}; mkdir -p $D && mount -t tmpfs -o size=256k{owner} none $D && "
                          + fill + '"$@"; code=$?; echo left: $(ls -A $D | grep -v fill); umount $D; '
                          "rmdir $D 2>/dev/null; exit $code")
                done = within(before, "up", file, "--lab", lab)
                check(done.returncode != 101 and "panicked" not in done.stderr, done.stderr)
                if name == "full":
                    says(done, 3, "No space left on device", "fix: make room")
                    check("left:\n" in done.stdout, f"{done.stdout}")
                elif done.returncode == 0:
                    # It had room enough; then it ends like any other.
                    continue
                gone(lab)


def no_permission(report):
    """A directory of labs that belongs to somebody else."""
    harness.needs_no_root("root may do everything")
    base = harness.RUNTIME
    base.mkdir(mode=0o755)
    try:
        with topology(VPC) as file:
            done = vpclab("up", file, "--lab", harness.PREFIX + "theirs")
            says(done, 3, str(base), "belongs to somebody else", "fix: set XDG_RUNTIME_DIR")
            done = vpclab("doctor")
            check(done.returncode == 1 and "belongs to somebody else" in done.stdout, done.stdout)
    finally:
        base.rmdir()


def no_user_namespaces(report):
    """The machine's limit is named, with what to set."""
    harness.needs_no_root("root needs none")
    # In a user namespace of its own the limit is its own: it allows one, which
    # is used up where vpclab runs.
    script = ('echo 1 > /proc/sys/user/max_user_namespaces && '
              'exec unshare --user --map-user=1000 "$@"')
    with harness.temporary() as directory, \
            topology(VPC + "hosts:\n  a: {subnet: one}\n") as file:
        done = sh(*without_rights(f"XDG_RUNTIME_DIR={directory}"), "unshare", "--user",
                  "--map-root-user", "sh", "-c", script, "sh", harness.VPCLAB, "up", file,
                  "--lab", harness.PREFIX + "limit", cwd="/")
        says(done, 3, "cannot make a user namespace", "fix: ", "user.max_user_namespaces")
        check(not list(directory.iterdir()), f"left {list(directory.iterdir())}")


def daemon_gone(report):
    """The daemon is killed: commands that need it say so, the others work."""
    with topology(VPC + "hosts:\n  a: {subnet: one}\n") as file, harness.lab("gone", file) as it:
        daemon = it.daemon()
        os.kill(daemon, 9)
        harness.wait("the daemon's end", lambda: daemon not in harness.own_processes())
        for command in (["ps"], ["flows"], ["inspect"]):
            with report.part(f"daemon_gone {command[0]}"):
                done = vpclab(*command, "--lab", it.name)
                says(done, 3, "daemon", "fix: ", "vpclab up")
        with report.part("daemon_gone exec works, up adopts"):
            check(it.exec("a", "true").returncode == 0, "exec")
            check("up again" in it.up(), "up adopts")
            check(vpclab("ps", "--lab", it.name).returncode == 0, "ps")


def doctor(report):
    """All is well here, and the JSON says the same."""
    done = vpclab("doctor")
    check(done.returncode == 0, f"exit {done.returncode}: {done.stdout}{done.stderr}")
    check("/dev/net/tun" in done.stdout and "netlink" in done.stdout, done.stdout)
    done = vpclab("doctor", "--json")
    said = json.loads(done.stdout)
    check(said["ok"] is True, done.stdout)
    names = [entry["name"] for entry in said["checks"]]
    check(len(names) == len(set(names)) and len(names) > 15, names)
    for entry in said["checks"]:
        check(entry["verdict"] in ("ok", "warn"), entry)
        check(("fix" in entry) == (entry["verdict"] != "ok"), entry)


SCENARIOS = [topology_errors, without_tun, wrong_file, no_device, full_disk, no_permission,
             no_user_namespaces, daemon_gone, doctor]

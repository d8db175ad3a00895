"""What all scenarios use: labs, waiting on conditions, and a look at the machine
before and after."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import traceback

import jsonschema

import apart

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VPCLAB = os.environ.get("VPCLAB", str(ROOT / "target/debug/vpclab"))
EXAMPLES = ROOT / "examples"
SCHEMAS = ROOT / "docs" / "schemas"
ACCOUNT = apart.user()
USER = ACCOUNT.pw_name if ACCOUNT else None
RUNTIME = pathlib.Path(f"/tmp/vpclab-{ACCOUNT.pw_uid}" if ACCOUNT else "/run/vpclab")
# Labs of others may run on the machine: ours are known by their names.
PREFIX = f"scenario-{os.environ[apart.APART]}-"
DEADLINE = 40.0
COMMAND_DEADLINE = 90


class CannotBe(Exception):
    """A scenario does not work as this user, and says why."""


class Failed(Exception):
    """A scenario found something that must not be."""


def check(condition, why):
    if not condition:
        raise Failed(why)


def wait(what, condition, seconds=DEADLINE):
    """The first true value of `condition`, asked again until the deadline."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.02)


def needs_root(why):
    """For a scenario or a part of one."""
    if USER:
        raise CannotBe(why)


def needs_no_root(why):
    """For a scenario that root would pass for the wrong reason."""
    if not USER:
        raise CannotBe(why)


def as_user(argv, options):
    """What Popen needs to run vpclab as the user without rights."""
    if USER and str(argv[0]) == VPCLAB:
        environment = {**os.environ, "HOME": ACCOUNT.pw_dir, "USER": USER}
        environment.pop("XDG_RUNTIME_DIR", None)
        environment["PATH"] = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        options.setdefault("env", environment)
        options |= {"user": ACCOUNT.pw_uid, "group": ACCOUNT.pw_gid, "extra_groups": []}
    return options


@contextlib.contextmanager
def temporary():
    """A directory in which the user of vpclab may write."""
    with tempfile.TemporaryDirectory(prefix="vpclab-scenario-") as directory:
        if USER:
            os.chown(directory, ACCOUNT.pw_uid, ACCOUNT.pw_gid)
        # The commands of hosts run beside the file, perhaps as another user.
        os.chmod(directory, 0o755)
        yield pathlib.Path(directory)


def sh(*argv, **options):
    options = as_user(argv, options)
    options.setdefault("timeout", COMMAND_DEADLINE)
    return subprocess.run(
        [str(a) for a in argv], capture_output=True, text=True, check=False, **options
    )


def vpclab(*argv, **options):
    return sh(VPCLAB, *argv, **options)


def own_processes():
    """Processes of the program under test: pid and arguments."""
    program = os.path.realpath(VPCLAB)
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if os.readlink(entry / "exe") == program:
                found[int(entry.name)] = (entry / "cmdline").read_text().split("\0")
    return found


def processes():
    """All processes here but ours that do not end yet, by what they run. (The scenarios are apart
    from the machine's other processes: nobody else's are here.)"""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in (1, os.getpid()):
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                state = (entry / "stat").read_text().rsplit(") ", 1)[1][0]
                # Who ends has no memory any more, and so no arguments, before it is a zombie.
                if command and state != "Z":
                    found.append(f"{entry.name} {command.strip()}")
    return sorted(found)


def machine():
    """What a lab could leave behind."""
    links = [line.split("\\")[0] for line in sh("ip", "-o", "link").stdout.splitlines()]
    netns = pathlib.Path("/run/netns")
    labs = RUNTIME.iterdir() if RUNTIME.exists() else []
    return {
        "links": [" ".join(line.split()[:3]) for line in links],
        "namespaces": sorted(p.name for p in netns.iterdir()) if netns.exists() else [],
        "mounts": sorted(pathlib.Path("/proc/mounts").read_text().splitlines()),
        "processes": processes(),
        "labs": sorted(lab.name for lab in labs if lab.name.lstrip(".").startswith(PREFIX)),
    }


def valid(command, text):
    """A command's JSON, as its shipped schema says that it is."""
    answer = json.loads(text)
    schema = json.loads((SCHEMAS / f"{command}.schema.json").read_text())
    jsonschema.validate(answer, schema)
    return answer


class Report:
    """Runs scenarios, prints a line for each, and counts."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def line(self, name, why=None):
        if why is None:
            self.passed += 1
            print(f"ok {name}", flush=True)
        else:
            self.failed += 1
            print(f"FAIL {name}: {why}", flush=True)

    def cannot(self, name, why):
        self.skipped += 1
        print(f"not as {USER or 'root'}: {name}: {why}", flush=True)

    def run(self, scenario):
        name = scenario.__name__
        start = time.monotonic()
        before = machine()
        why = None
        try:
            scenario(self)
        except CannotBe as error:
            self.cannot(name, error)
            return
        except Failed as error:
            why = str(error)
        except Exception as error:  # a fault of the scenario must not end the others
            why = f"{error!r} at {traceback.extract_tb(error.__traceback__)[-1]}"
        after = machine()
        left = [f"{k}: {before[k]} became {after[k]}" for k in before if before[k] != after[k]]
        if left:
            why = "; ".join(filter(None, [why, "left behind " + ", ".join(left)]))
        self.line(f"{name} ({time.monotonic() - start:.1f} s)", why)

    @contextlib.contextmanager
    def part(self, name):
        """One numbered fact of a scenario, with a line of its own."""
        try:
            yield
        except CannotBe as error:
            self.cannot(name, error)
        except Failed as error:
            self.line(name, str(error))
        except subprocess.TimeoutExpired as error:
            self.line(name, str(error))
        else:
            self.line(name)


class Lab:
    """A running lab."""

    def __init__(self, name, file):
        self.name = PREFIX + name
        self.file = file
        self.children = []

    def up(self, *options):
        done = vpclab("up", self.file, "--lab", self.name, *options)
        check(done.returncode == 0, f"up: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def down(self):
        return vpclab("down", "--lab", self.name)

    def argv(self, host, *argv):
        return [VPCLAB, "exec", "--lab", self.name, host, "--", *map(str, argv)]

    def exec(self, host, *argv, **options):
        return sh(*self.argv(host, *argv), **options)

    def start(self, *argv, **options):
        """A program beside this one; ended with the lab at the latest."""
        options = as_user(argv, options)
        child = subprocess.Popen([str(a) for a in argv], **options)
        self.children.append(child)
        return child

    def stop(self, child, number=signal.SIGINT):
        if child.poll() is None:
            child.send_signal(number)
        try:
            child.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise Failed(f"{child.args}: still there {DEADLINE:.0f} s after "
                         f"{signal.Signals(number).name}") from None

    def json(self, command, *argv):
        done = vpclab(command, *argv, "--json", "--lab", self.name)
        check(done.returncode == 0, f"{command}: {done.stderr}")
        if (SCHEMAS / f"{command}.schema.json").exists():
            return valid(command, done.stdout)
        return json.loads(done.stdout)

    def directory(self):
        return RUNTIME / self.name

    def counters(self):
        return self.json("inspect")["counters"]

    def port(self, host):
        interfaces = self.json("inspect")["interfaces"]
        return next(i["port"] for i in interfaces if i["host"] == host)

    def path(self, file):
        """A file of the lab's own."""
        return RUNTIME / self.name / file

    def log(self, host, number=0):
        return self.path(f"run-{host}-{number}.log").read_text()

    def logs(self, host, text):
        """A command's output reaches its log a moment after others see its effect."""
        wait(f"the log of {host} has {text!r}", lambda: text in self.log(host))

    def host(self, name):
        return next(h for h in self.json("ps")["hosts"] if h["name"] == name)

    def daemon(self):
        """Number of this lab's daemon process."""
        own = str(RUNTIME / self.name)
        found = [p for p, a in own_processes().items() if "daemon" in a[1:2] and own in a]
        check(len(found) == 1, f"daemons of {self.name}: {found}")
        return found[0]

    def curl(self, host, url, *options, seconds=5):
        return self.exec(host, "curl", "-sS", "-m", seconds, "-o", "/dev/null", *options, url)

    def reaches(self, host, url, *options):
        done = self.curl(host, url, *options)
        check(done.returncode == 0, f"{host} to {url}: {done.stderr.strip()}")

    def eventually_reaches(self, host, url):
        """Servers take a moment to start."""
        wait(f"{host} reaches {url}", lambda: self.curl(host, url, seconds=2).returncode == 0)

    def no_way(self, host, url, *options):
        """Nothing answers: neither an acceptance nor a refusal."""
        done = self.curl(host, url, *options, seconds=1)
        check(done.returncode == 28, f"{host} to {url}: curl exit {done.returncode}, not a timeout")

    @contextlib.contextmanager
    def drops(self, *reasons):
        """What is inside must be dropped for one of these reasons."""
        before = self.counters()
        yield
        after = self.counters()
        grown = {k for k, v in after.items() if k.startswith("drop.") and v > before.get(k, 0)}
        wanted = {f"drop.{reason}" for reason in reasons}
        check(grown & wanted, f"dropped for {sorted(grown)}, not {sorted(wanted)}")

    @contextlib.contextmanager
    def capture(self, host):
        """Records what crosses the host's port while inside."""
        with temporary() as directory:
            file = directory / f"{host}.pcapng"
            child = self.start(VPCLAB, "capture", host, "-w", file, "--lab", self.name,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                wait("the capture begins", lambda: file.exists() and file.stat().st_size > 0)
                yield Packets(file)
            finally:
                self.stop(child)


class Packets:
    """A capture file."""

    def __init__(self, file):
        self.file = file

    def read(self, display_filter, *fields, preferences=()):
        """The fields of the packets that the filter lets through; `preferences` are tshark's."""
        columns = [word for field in fields for word in ("-e", field)]
        options = [word for each in preferences for word in ("-o", each)]
        done = sh("tshark", "-r", self.file, *options, "-Y", display_filter, "-T", "fields", *columns)
        # A file that is still being written may end within a packet.
        check(done.returncode in (0, 2), f"tshark: {done.stderr}")
        check("aren't valid" not in done.stderr, done.stderr)
        return [line.split("\t") for line in done.stdout.splitlines()]


@contextlib.contextmanager
def lab(name, file, *options):
    it = Lab(name, file)
    try:
        it.up(*options)
        yield it
    finally:
        for child in it.children:
            it.stop(child)
        it.down()


@contextlib.contextmanager
def topology(text):
    """A topology file with this text."""
    with temporary() as directory:
        file = directory / "lab.yaml"
        file.write_text(text)
        yield file


def traced(document, file, *argv):
    """The document shows what `vpclab trace --file` prints of an example."""
    text = (ROOT / document).read_text()
    shown = re.search(r"```\n\$ vpclab trace.*?\n(.*?)```", text, re.DOTALL)
    done = vpclab("trace", "--file", file, *argv)
    check(shown and done.stdout == shown.group(1), f"{document} shows another: {done.stdout}")


def replaced(text, *pairs):
    """`text` with every pair's first replaced; each must be there."""
    for old, new in pairs:
        check(old in text, f"the example no longer says {old!r}")
        text = text.replace(old, new)
    return text

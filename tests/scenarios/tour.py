#!/usr/bin/python3
"""docs/tour.md: every command in it is run, and what it prints is compared.

    ```console    `$ ` begins a command, the lines after it are its output (both
                  streams). All are typed into one shell, in a directory of its own.
    ```diff       an edit, made to the file that its first line names
    ```yaml       an excerpt of the file that is edited, word by word
    ![…](X.svg)   a picture that a command has written as X.svg

A command that fails is followed by `$ echo $?`. One that ends in `&` goes on beside
the others; what it prints first is its output. Commands that only look are asked
again until they show what the tour shows, or time is up: a lab needs moments.

`VOLATILE` says what may differ. `tests/scenarios/tour.py --update` (as root) writes
down what the commands print now, where it differs in more than that.
"""

import contextlib
import os
import pathlib
import re
import select
import subprocess
import sys
import time

sys.dont_write_bytecode = True

import apart

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOUR = ROOT / "docs/tour.md"

# What differs from run to run, and what stands for it when outputs are compared.
# Zero is not among them: nothing sent is another answer than something sent.
VOLATILE = [
    (r"\b\d\d:\d\d:\d\d\.\d{3,6}\b", "TIME"),
    (r"\[\d\d/\w{3}/\d{4} \d\d:\d\d:\d\d\]", "[DATE]"),
    (r"\bup (\d+h)?(\d+m)?\d+s\b", "up AGE"),
    (r"(?m)^\d+s(?= )", "AGE"),
    (r"\b[1-9]\d* milliseconds\b", "N milliseconds"),
    # curl has two ways to say it, by which of its clocks was first.
    (r"Connection timeout after [1-9]\d* ms", "Connection timed out after N milliseconds"),
    # A delay of 400 ms, on a machine that is busy.
    (r"\btime=[4-9]\d\d(\.\d+)? ms", "time=400+ ms"),
    # Ports that a host or a load balancer chooses; not those of the lab's services,
    # and not the one that trace sends from.
    (r"(?<=\d:)(?!(?:4566|8080|49152)\b)\d{4,5}\b", "PORT"),
    (r"\b[1-9]\d* / (?=\d)", "N / "),
    (r"\b[1-9][\d.]* k?B\b", "SIZE"),
    (r"×\d+", "×N"),
    # Columns are as wide as what is in them.
    (r" {2,}", "  "),
    (r"(?m) +$", ""),
]
LOOKS = re.compile(r"vpclab (ps|flows|drops|logs|inspect|fault list)\b|curl -s http://127\.")
PATIENCE = 30.0
MARK = "the-tour-goes-on"


def same(text):
    """What is compared of an output."""
    for pattern, stands_for in VOLATILE:
        text = re.sub(pattern, stands_for, text)
    return text.strip("\n")


class Step:
    """A command with its output, an edit, or an excerpt."""

    def __init__(self, kind, line, what):
        self.kind, self.line, self.what, self.output = kind, line, what, []


def read(text):
    """Steps of the tour."""
    steps, kind = [], None
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            kind = None if kind else line[3:].strip() or "text"
            if kind in ("diff", "yaml"):
                steps.append(Step(kind, number, []))
        elif kind == "console" and line.startswith("$ "):
            steps.append(Step("command", number, line[2:]))
        elif kind == "console":
            steps[-1].output.append(line)
        elif kind in ("diff", "yaml"):
            steps[-1].what.append(line)
        else:
            steps += [Step("picture", number, name)
                      for name in re.findall(r"!\[[^]]*\]\(([\w.-]+\.svg)\)", line)]
    return steps


def rewritten(text, steps):
    """The tour with the steps' outputs."""
    lines = text.splitlines()
    begins = {step.line: step for step in steps if step.kind == "command"}
    out, skip = [], False
    for number, line in enumerate(lines, 1):
        if number in begins:
            out += [line, *begins[number].output]
            skip = True
        elif line.startswith("```"):
            out.append(line)
            skip = False
        elif not skip:
            out.append(line)
    return "\n".join(out) + "\n"


class Wrong(Exception):
    """The tour is not true."""


class Shell:
    """One shell for the whole tour."""

    def __init__(self, directory, **options):
        self.child = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], cwd=directory, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
        self.code = 0

    def run(self, command, lines=0):
        """What `command` prints; of one in the background, its first `lines`."""
        typed = f"(exit {self.code}); {{ {command}\n}} 2>&1; echo {MARK} $?\n"
        self.child.stdin.write(typed.encode())
        self.child.stdin.flush()
        said, done = self.until(command, lambda text: re.search(rf"(?m)^(.*){MARK} (\d+)\n", text))
        self.code = int(done[2])
        printed = said[:done.end(1)] + said[done.end():]
        if command.endswith("&"):
            more, _ = self.until(command, lambda text: (printed + text).count("\n") >= lines)
            printed += more
        return printed

    def until(self, command, enough):
        said, end = "", time.monotonic() + PATIENCE
        while not (found := enough(said)):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.child.stdout], [], [], left)[0]:
                raise Wrong(f"`{command}` has not ended; it printed {said!r}")
            more = os.read(self.child.stdout.fileno(), 65536)
            if not more:
                raise Wrong(f"the shell ended at `{command}`")
            said += more.decode()
        return said, found

    def close(self):
        self.child.stdin.close()
        self.child.wait(PATIENCE)
        self.child.stdout.close()


def walk(steps, shell, directory, update=False):
    """Does what the tour says. What it prints must be what the tour shows; with
    `update`, what the tour shows becomes what it prints."""
    file = None
    for at, step in enumerate(steps):
        if step.kind == "diff":
            file = directory / step.what[0].removeprefix("--- ")
            file.write_text(edited(file.read_text(), step.what[1:], step.line))
        elif step.kind == "yaml":
            files = [file] if file else sorted(directory.glob("*.yaml"))
            excerpt = "\n".join(step.what) + "\n"
            if not any(excerpt in each.read_text() for each in files):
                raise Wrong(f"line {step.line}: not in {files}:\n{excerpt}")
        elif step.kind == "picture":
            drawn, shown = directory / step.what, TOUR.parent / step.what
            if update:
                shown.write_bytes(drawn.read_bytes())
            elif drawn.read_bytes() != shown.read_bytes():
                raise Wrong(f"docs/{step.what} is not what was drawn: run tour.py --update")
        else:
            command(step, shell, update)
            later = steps[at + 1] if at + 1 < len(steps) else None
            if shell.code and (later is None or later.what != "echo $?"):
                raise Wrong(f"line {step.line}: `{step.what}` exits {shell.code}:\n"
                            + "\n".join(step.output))


def command(step, shell, update):
    shown = "\n".join(step.output)
    before, end = shell.code, time.monotonic() + patience(step, update)
    while True:
        shell.code = before
        printed = shell.run(step.what, max(1, len(step.output)))
        if same(printed) == same(shown):
            return
        if not LOOKS.match(step.what) or time.monotonic() > end:
            break
        time.sleep(0.1)
    if not update:
        raise Wrong(f"line {step.line}: `{step.what}` prints (exit {shell.code})\n{printed}"
                    f"where the tour shows\n{shown}")
    step.output = [line.rstrip() for line in printed.rstrip("\n").splitlines()]


def patience(step, update):
    if not update:
        return PATIENCE
    return PATIENCE / 2 if step.output else 0.5


def edited(text, diff, line):
    """`text` with an edit made: the lines that go and those around them stand there once."""
    old = "".join(each[1:] + "\n" for each in diff if each[:1] in (" ", "-"))
    new = "".join(each[1:] + "\n" for each in diff if each[:1] in (" ", "+"))
    if text.count(old) != 1:
        raise Wrong(f"line {line}: the file has this {text.count(old)} times:\n{old}")
    return text.replace(old, new)


@contextlib.contextmanager
def place():
    """A directory and a shell; no lab of anybody else in sight, none left after."""
    import harness

    own = not harness.USER
    if own:
        # Root's labs are in one directory: a fresh one, for us alone.
        harness.RUNTIME.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", harness.RUNTIME],
                       check=True)
    try:
        with harness.temporary() as directory:
            (directory / "bin").mkdir(mode=0o755)
            (directory / "bin/vpclab").symlink_to(os.path.realpath(harness.VPCLAB))
            work = directory / "work"
            work.mkdir()
            options = harness.as_user([harness.VPCLAB], {"env": dict(os.environ)})
            environment = options["env"]
            environment["PATH"] = f"{directory}/bin:{environment['PATH']}"
            environment |= {"LC_ALL": "C.UTF-8", "TZ": "UTC"}
            if harness.USER:
                os.chown(work, harness.ACCOUNT.pw_uid, harness.ACCOUNT.pw_gid)
            shell = Shell(work, **options)
            try:
                yield shell, work
            finally:
                shell.close()
                harness.vpclab("down", "--all")
        labs = harness.RUNTIME.iterdir() if harness.RUNTIME.exists() else []
        left = sorted(each.name for each in labs)
        if left:
            raise Wrong(f"labs are left: {left}")
    finally:
        if own:
            subprocess.run(["umount", harness.RUNTIME], check=True)


def no_verdict_is_hidden(steps):
    """Any word of an output, address or id, if it were another, would be seen."""
    words = r"[A-Za-z_]{3,}|[✗●○]|\d+\.\d+\.\d+\.\d+|(?<=-)[0-9a-f]{17}|(?<=:)80\b"
    seen = 0
    for step in steps:
        text = "\n".join(step.output)
        dates = [m.span() for m in re.finditer(r"\[\d\d/\w{3}/[^]]*\]", text)]
        for found in re.finditer(words, text):
            if any(a <= found.start() < b for a, b in dates):
                continue
            seen += 1
            broken = text[:found.start()] + "Wrong" + text[found.end():]
            if same(broken) == same(text):
                raise Wrong(f"line {step.line}: `{found[0]}` may be anything")
    if seen < 300:
        raise Wrong(f"only {seen} words are shown")


def tour(report):
    import harness

    text = TOUR.read_text()
    steps = read(text)
    try:
        with report.part("tour a wrong word in an output would be seen"):
            no_verdict_is_hidden(steps)
        with report.part("tour every command prints what docs/tour.md shows"):
            with place() as (shell, directory):
                walk(steps, shell, directory)
            harness.check(rewritten(text, steps) == text, "the tour does not read back")
    except Wrong as error:
        raise harness.Failed(str(error)) from error


def update():
    text = TOUR.read_text()
    steps = read(text)
    with place() as (shell, directory):
        walk(steps, shell, directory, update=True)
    TOUR.write_text(rewritten(text, steps))


SCENARIOS = [tour]

if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit("tour.py --update; tests/scenarios/run tour")
    if not apart.is_apart():
        mark = {apart.APART: str(os.getpid())}
        sys.exit(apart.enter(pathlib.Path(__file__).resolve(), ["--update"],
                             os.environ | mark, "ip link set lo up && "))
    update()

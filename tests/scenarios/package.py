"""What is installed: the Debian package's content, its unit, the container file.

cargo-deb takes over a minute to build, so it is not installed for this. Where it is
there, the package is built and unpacked; else its asset list is laid out here. Both
then pass the same checks.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tomllib

import harness
from harness import EXAMPLES, ROOT, VPCLAB, Lab, check, needs_root, sh, temporary

UNIT = ROOT / "packaging/vpclab@.service"
SHELLS = {"bash": "usr/share/bash-completion/completions/vpclab",
          "zsh": "usr/share/zsh/vendor-completions/_vpclab",
          "fish": "usr/share/fish/vendor_completions.d/vpclab.fish"}


def run(*argv, **options):
    done = sh(*argv, **options)
    check(done.returncode == 0, f"{argv}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def package(report):
    needs_root("it is made from the sources")
    with temporary() as directory:
        root = directory / "root"
        with report.part("package everything that it lists is there"):
            run(ROOT / "packaging/deb", "--binary", VPCLAB, "--no-deb")
            modes = laid_out(root)
            check(len(modes) > 50, f"{sorted(modes)}")
        if shutil.which("cargo-deb"):
            with report.part("package cargo-deb packs the same"):
                unpacked = directory / "unpacked"
                built(directory, unpacked, modes)
                root = unpacked
        with report.part("package the program runs from where it is installed"):
            program = root / "usr/bin/vpclab"
            version = run(program, "--version").split()
            check(version[0] == "vpclab" and version[1] == cargo("workspace.package")["version"],
                  version)
            for example in EXAMPLES.glob("*.yaml"):
                installed = root / "usr/share/doc/vpclab/examples" / example.name
                run(program, "up", "--check", installed)
                check(installed.read_text() == example.read_text(), example.name)
        with report.part("package man pages are read without a warning"):
            man_pages(root)
        with report.part("package completions are scripts of their shells, and complete"):
            completions(root)
        with report.part("package the unit is one that systemd takes"):
            text = (root / "lib/systemd/system/vpclab@.service").read_text()
            unit = directory / "vpclab@.service"
            unit.write_text(text.replace("/usr/bin/vpclab", str(root / "usr/bin/vpclab")))
            done = sh("systemd-analyze", "verify", "--man=no", unit)
            check(done.returncode == 0 and not done.stderr, done.stdout + done.stderr)
        with report.part("package the container file copies what a build needs"):
            container(directory / "clean")


def cargo(path):
    """A table of the manifest of the workspace or, below `package`, of the program."""
    file = "Cargo.toml" if path.startswith("workspace") else "control/Cargo.toml"
    found = tomllib.loads((ROOT / file).read_text())
    for key in path.split("."):
        found = found[key]
    return found


def laid_out(root):
    """Installs the package's assets below `root`. Their modes by path."""
    modes = {}
    for source, place, mode in cargo("package.metadata.deb")["assets"]:
        files = sorted((ROOT / "control").glob(source))
        check(files, f"the package lists {source}: no such file")
        for file in files:
            to = root / place / file.name
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, to)
            to.chmod(int(mode, 8))
            modes[str(to.relative_to(root))] = int(mode, 8)
    return modes


def built(directory, root, modes):
    run(ROOT / "packaging/deb", "--binary", VPCLAB, directory)
    (deb,) = directory.glob("*.deb")
    run("dpkg-deb", "-x", deb, root)
    packed = {}
    for file in root.rglob("*"):
        if file.is_file():
            packed[str(file.relative_to(root)).removesuffix(".gz")] = file.stat().st_mode & 0o777
    check("MIT" in (root / "usr/share/doc/vpclab/copyright").read_text(), "no licence")
    packed.pop("usr/share/doc/vpclab/copyright")
    check(packed == modes, f"{packed.items() ^ modes.items()}")


def man_pages(root):
    pages = sorted((root / "usr/share/man/man1").iterdir())
    commands = re.findall(r"(?m)^  ([a-z-]+) {2,}", run(VPCLAB, "--help"))
    named = {page.name.split(".")[0] for page in pages}
    missing = {f"vpclab-{command}" for command in commands if command != "help"} - named
    check(len(commands) > 15 and not missing, f"no page for {missing} of {commands}")
    for page in pages:
        done = sh("man", "--warnings", "-l", page, env={**os.environ, "MANWIDTH": "80",
                                                       "LC_ALL": "C.UTF-8"})
        check(done.returncode == 0 and not done.stderr, f"{page.name}: {done.stderr}")
        for section in ("NAME", "SYNOPSIS", "DESCRIPTION"):
            check(f"\n{section}\n" in done.stdout, f"{page.name} has no {section}")


def completions(root):
    for shell, path in SHELLS.items():
        check((root / path).stat().st_size > 1000, f"{path} is empty")
        # The others' shells are seldom there; bash is.
        if shutil.which(shell):
            run(shell, "-n", root / path)
    script = (f"source {root / SHELLS['bash']}; COMP_WORDS=(vpclab tr) COMP_CWORD=1; "
              "_vpclab vpclab tr vpclab; echo ${COMPREPLY[@]}")
    offered = run("bash", "-c", script).split()
    check(offered == ["trace"], f"`vpclab tr` completes to {offered}")


def container(clean):
    """The build stage's files, in a directory with nothing else."""
    clean.mkdir()
    stage = "build"
    for line in (ROOT / "Containerfile").read_text().splitlines():
        if line.startswith("FROM ") and not line.endswith(" AS build"):
            stage = "last"
        if not line.startswith("COPY ") or "--from=" in line:
            continue
        for name in line.split()[1:-1]:
            check((ROOT / name).exists(), f"{line}: no {name}")
            if stage == "build":
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
                copy(ROOT / name, clean / name)
    check(stage == "last", "it has one stage only")
    channel = tomllib.loads((clean / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    check(f"rust:{channel}-" in (ROOT / "Containerfile").read_text(), f"not Rust {channel}")
    # Every crate of the workspace is there, and the lock file is right.
    found = json.loads(run("cargo", "metadata", "--locked", "--offline", "--format-version", "1",
                           cwd=clean))
    check(any(package["name"] == "vpclab" for package in found["packages"]), "no vpclab")
    for crate in ("control", "dataplane"):
        for file in (clean / crate / "src").rglob("*.rs"):
            for named in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', file.read_text()):
                check((file.parent / named).exists(), f"{file.relative_to(clean)}: no {named}")


def unit(report):
    """The unit's commands, as systemd runs them."""
    with temporary() as directory:
        file = directory / "lab.yaml"
        text = (EXAMPLES / "privatelink.yaml").read_text() + "time_scale: 10\n"
        file.write_text(text)
        it = Lab("unit", file)
        commands = {key: line(it, key) for key in ("ExecStart", "ExecReload", "ExecStop",
                                                   "ExecStopPost")}
        try:
            with report.part("unit tells systemd once the lab is ready, and reloads it"):
                with started(it, directory, commands) as child:
                    (group,) = it.json("ps")["target_groups"]
                    check([t["health"] for t in group["targets"]] == ["healthy"], group)
                    file.write_text(harness.replaced(text, ("ports: 80, to: endpoint",
                                                            "ports: 80-81, to: endpoint")))
                    check("security group" in run(*commands["ExecReload"]), "nothing changed")
                    run(*commands["ExecStop"])
                    check(child.wait(harness.DEADLINE) == 0, f"exit {child.returncode}")
            with report.part("unit a daemon that dies ends the unit, and nothing is left"):
                with started(it, directory, commands) as child:
                    os.kill(it.daemon(), signal.SIGKILL)
                    check(child.wait(harness.DEADLINE) == 3, f"exit {child.returncode}")
                    run(*commands["ExecStopPost"])
                    check(not it.directory().exists(), "the lab is left")
            with report.part("unit is stopped by a signal, too"):
                with started(it, directory, commands) as child:
                    child.send_signal(signal.SIGTERM)
                    check(child.wait(harness.DEADLINE) == 0, f"exit {child.returncode}")
                done = sh(*commands["ExecStopPost"])
                check(done.returncode == 2, "something was left to end")
        finally:
            for child in it.children:
                it.stop(child)
            it.down()


def line(it, key):
    (command,) = re.findall(rf"(?m)^{key}=-?(.*)$", UNIT.read_text())
    command = command.replace("/etc/vpclab/%i.yaml", str(it.file)).replace("%i", it.name)
    program, *arguments = shlex.split(command)
    check(program == "/usr/bin/vpclab", f"{key}: {program}")
    return [VPCLAB, *arguments]


@contextlib.contextmanager
def started(it, directory, commands):
    path = directory / "notify"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        path.chmod(0o666)
        listener.settimeout(harness.DEADLINE)
        options = harness.as_user([VPCLAB], {"env": dict(os.environ)})
        options["env"]["NOTIFY_SOCKET"] = str(path)
        child = it.start(*commands["ExecStart"], stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, **options)
        check(listener.recv(64) == b"READY=1", "something else")
        yield child


SCENARIOS = [package, unit]

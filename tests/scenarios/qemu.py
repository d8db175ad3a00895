"""A virtual machine on an ENI: QEMU with the options that `attach` prints."""

import hashlib
import os
import pathlib
import re
import shutil

import attach
import harness
from harness import check, lab, topology, vpclab, wait

GUEST = pathlib.Path(os.environ.get("VPCLAB_GUEST", harness.ROOT / "target/guest"))
# No hardware: an emulated processor, so that it runs in any container.
MACHINE = ["qemu-system-x86_64", "-accel", "tcg", "-m", "160", "-nodefaults", "-no-user-config",
           "-display", "none", "-serial", "stdio", "-no-reboot",
           "-kernel", GUEST / "vmlinuz", "-initrd", GUEST / "initrd.gz"]


def ready():
    """A guest and what runs it, or why not."""
    missing = [what for what, there in (
        ("qemu-system-x86_64", shutil.which("qemu-system-x86_64")),
        ("a guest (tests/scenarios/guest makes one)", (GUEST / "initrd.gz").exists()),
    ) if not there]
    if missing and os.environ.get("CI") == "true":
        raise harness.Failed(f"not here: {', '.join(missing)}")
    if missing:
        raise harness.CannotBe(f"not here: {', '.join(missing)}")


def virtual_machine(report):
    """Linux in QEMU: addresses, MTU, and offloaded TCP both ways."""
    ready()
    large = os.urandom(4 << 20)
    digest = hashlib.sha1(large).hexdigest()
    with topology(attach.LAB) as file, lab("qemu", file) as it, attach.container() as box:
        (file.parent / "large").write_bytes(large)
        it.eventually_reaches("web", attach.ANSWERS)
        done = vpclab("attach", "box", "--pid", box.pid, "--tap", "vm0", "--lab", it.name)
        check(done.returncode == 0, done.stderr)
        options = re.search(r"qemu: +(.*)", done.stdout)[1].split()
        words = (f"console=ttyS0 quiet panic=-1 address={attach.BOX}/24 router=10.5.1.1 "
                 f"from={attach.WEB} length={len(large)}")
        # Without the network card's boot program: it is in a package of its own.
        options = [f"{word},romfile=" if word.startswith("virtio-net-pci") else word
                   for word in options]
        console = file.parent / "console"
        with console.open("w") as out:
            machine = it.start(*box.argv(*MACHINE, "-append", words, *options), stdout=out,
                               stderr=out)

        def says(what):
            def look():
                text = console.read_text(errors="replace")
                check(machine.poll() is None, f"the machine ended: {text}")
                return what in text
            try:
                wait(f"the machine says {what!r}", look, seconds=60)
            except harness.Failed as error:
                raise harness.Failed(f"{error}: {console.read_text(errors='replace')}") from None

        with report.part("virtual_machine has the ENI's MTU, and its router answers"):
            says("guest: mtu 9001")
            says("guest: router answers")
        with report.part("virtual_machine fetches a file from a host of the lab"):
            says(f"guest: fetched {digest}")
        with report.part("virtual_machine serves it to one"):
            says("guest: serves")
            done = it.exec("web", "sh", "-c",
                           f"curl -sS -m 20 http://{attach.BOX}/large | sha1sum")
            check(done.stdout.split()[:1] == [digest], done.stdout + done.stderr)
            flows = it.json("flows", "box", "--port", "80")["flows"]
            check(len(flows) == 2, flows)
        with report.part("virtual_machine that is detached has no network"):
            done = vpclab("detach", "box", "--lab", it.name)
            check(done.returncode == 0, done.stderr)
            check("vm0" not in box.links(), box.links().keys())
            check(machine.poll() is None, "the machine ended")
            with it.drops("port.detached"):
                it.exec("web", "ping", "-c", 1, "-W", 1, attach.BOX)


SCENARIOS = [virtual_machine]

"""Labs of many hosts."""

import time

import harness
from errors import without_rights
from harness import Lab, check, sh, topology, vpclab

HOSTS = 200
PER_SUBNET = 100


def address(number):
    subnet, place = divmod(number, PER_SUBNET)
    return f"10.4.{subnet}.{10 + place}"


def text(hosts):
    subnets = [f"      s{n}: {{cidr: 10.4.{n}.0/24, az: a}}"
               for n in range((hosts + PER_SUBNET - 1) // PER_SUBNET)]
    made = [f"  h{n}: {{subnet: s{n // PER_SUBNET}, address: {address(n)}}}"
            for n in range(hosts)]
    return "\n".join(["name: many", "vpcs:", "  main:", "    cidr: 10.4.0.0/16", "    subnets:",
                      *subnets, "hosts:", *made, ""])


def many_hosts(report):
    """200 hosts come, work and go; how long that takes is printed, not judged."""
    with topology(text(HOSTS)) as file:
        it = Lab("many", file)
        try:
            start = time.monotonic()
            it.up()
            up = time.monotonic() - start
            with report.part("many_hosts all are there, and the last is reached from the first"):
                hosts = it.json("ps")["hosts"]
                check(len(hosts) == HOSTS, f"{len(hosts)} hosts")
                for source, target in ((0, HOSTS - 1), (HOSTS - 1, HOSTS // 2)):
                    # Its own namespace, not another's.
                    own = it.exec(f"h{source}", "ip", "-br", "address", "show", "eth0").stdout
                    check(f"{address(source)}/24" in own, own)
                    done = it.exec(f"h{source}", "ping", "-c", 1, "-W", 5, address(target))
                    check(done.returncode == 0, f"h{source} to h{target}: {done.stdout}")
            with report.part("many_hosts one more, one less: the others stay"):
                file.write_text(text(HOSTS).replace("  h7:", "  other:"))
                said = it.up()
                check("+ host other" in said and "- host h7" in said, said)
                check(f"{HOSTS - 1} hosts stay" in said, said)
                done = it.exec("other", "ping", "-c", 1, "-W", 5, address(HOSTS - 1))
                check(done.returncode == 0, done.stdout)
        finally:
            start = time.monotonic()
            it.down()
            down = time.monotonic() - start
    print(f"many_hosts: {HOSTS} hosts: up {up:.1f} s, down {down:.1f} s", flush=True)


def open_files(report):
    """A lab that needs more open files than there may be says so at once."""
    few, most = 40, 100
    limited = lambda *argv: sh("prlimit", f"--nofile={most}:{most}", *as_whom(), harness.VPCLAB,
                               *argv, cwd="/")
    wanted = f"needs 144 open files, and this user may have {most}"
    with topology(text(few)) as file:
        name = harness.PREFIX + "files"
        with report.part("open_files up says what is needed, and leaves nothing"):
            done = limited("up", file, "--lab", name)
            check(done.returncode == 3, f"exit {done.returncode}: {done.stderr}")
            check(f"error: a lab of {few} hosts {wanted}" in done.stderr, done.stderr)
            check("fix: raise the hard limit: " in done.stderr, done.stderr)
            check(not (harness.RUNTIME / name).exists(), "it left its directory")
        with report.part("open_files a lab that fits runs on when it is to grow too large"):
            file.write_text(text(few // 4))
            try:
                done = limited("up", file, "--lab", name)
                check(done.returncode == 0, done.stderr)
                file.write_text(text(few))
                done = vpclab("up", file, "--lab", name)
                check(done.returncode == 3 and wanted in done.stderr, done.stderr)
                done = vpclab("exec", "--lab", name, "h0", "--", "ping", "-c", 1, "-W", 5,
                              address(few // 4 - 1))
                check(done.returncode == 0, f"{done.stdout}{done.stderr}")
            finally:
                vpclab("down", "--lab", name)


def as_whom():
    """vpclab as the scenarios' user, also below another program."""
    return without_rights() if harness.USER else []


SCENARIOS = [many_hosts, open_files]

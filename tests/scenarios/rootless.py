"""What is particular to labs of a user without rights, and how such a lab ends."""

import os
import shutil

import harness
from harness import EXAMPLES, check, lab, sh

FILE = EXAMPLES / "privatelink.yaml"


def user_namespace(report):
    """Everything belongs to the user; inside, the user is root."""
    harness.needs_no_root("root needs no user namespace")
    with lab("user", FILE) as it:
        with report.part("user_namespace no process of the lab has a right outside"):
            found = harness.own_processes()
            check(len(found) >= 3, f"launcher, init and daemon: {found}")
            for pid in found:
                owner = os.stat(f"/proc/{pid}").st_uid
                check(owner == harness.ACCOUNT.pw_uid, f"{found[pid]} belongs to {owner}")
        with report.part("user_namespace the user is root in a host"):
            done = it.exec("client", "id", "-u")
            check(done.stdout.strip() == "0", f"{done.stdout}{done.stderr}")
            done = it.exec("client", "ip", "address", "add", "10.9.9.9/32", "dev", "lo")
            check(done.returncode == 0, done.stderr)
        with report.part("user_namespace ping works, and files of the user are the user's"):
            done = it.exec("client", "ping", "-c", 1, "-W", 2, "127.0.0.1")
            check(done.returncode == 0, f"{done.stdout}{done.stderr}")
            with harness.temporary() as directory:
                done = it.exec("client", "touch", directory / "file")
                check(done.returncode == 0, done.stderr)
                owner = (directory / "file").stat().st_uid
                check(owner == harness.ACCOUNT.pw_uid, f"the file belongs to {owner}")
        with report.part("user_namespace other users exist with newuidmap only"):
            done = it.exec("client", "setpriv", "--reuid=33", "--regid=33", "--clear-groups",
                           "id", "-u")
            if shutil.which("newuidmap"):
                check(done.stdout.strip() == "33", f"{done.stdout}{done.stderr}")
            else:
                check(done.returncode != 0, "who is 33?")


def others_lab(report):
    """Labs belong to the user who started them."""
    harness.needs_root("it needs a second user")
    with lab("others", FILE) as it:
        done = sh("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                  "env", "-u", "XDG_RUNTIME_DIR", harness.VPCLAB, "ps", "--lab", it.name, cwd="/")
        check(done.returncode == 2, f"exit {done.returncode}: {done.stdout}{done.stderr}")
        check("is not running" in done.stderr and "fix: " in done.stderr, done.stderr)


SCENARIOS = [user_namespace, others_lab]

"""The pytest plugin's own example, run as a user of it would."""

import os
import subprocess

import harness
from harness import EXAMPLES, VPCLAB, check


def pytest_plugin(report):
    environment = os.environ | {"VPCLAB": VPCLAB, "PYTHONDONTWRITEBYTECODE": "1"}
    options = {}
    if harness.USER:
        environment.pop("XDG_RUNTIME_DIR", None)
        account = harness.ACCOUNT
        options = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    done = subprocess.run(
        ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLES / "pytest"],
        env=environment, capture_output=True, text=True, check=False, timeout=120, cwd="/",
        **options)
    check(done.returncode == 0 and "6 passed" in done.stdout, done.stdout + done.stderr)


SCENARIOS = [pytest_plugin]

"""pytest fixtures for vpclab labs. Standard library only: copy this file, or put it on
the path and say `pytest_plugins = ["vpclab_pytest"]` in conftest.py.

    TOPOLOGY = "lab.yaml"                    # beside the test module

    def test_web(lab):
        assert lab.exec("client", "curl", "-sf", "http://10.0.1.100/").returncode == 0
        assert lab.trace("client", "10.0.1.100:443")["code"] == "ENI_SG_RULES_MISMATCH"
        with lab.capture("server") as packets:
            lab.exec("client", "ping", "-c", "1", "10.0.3.10")
        assert packets.read_bytes()          # pcapng

`lab` is up before the module's first test and down after its last. Labs need what
`vpclab up` needs (`vpclab doctor` says); without it, tests fail rather than being skipped.
The program is `vpclab` on the path, or what the environment's VPCLAB names.
"""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import threading

import pytest

VPCLAB = os.environ.get("VPCLAB", "vpclab")


class VpclabError(Exception):
    """What vpclab said, with what to do about it."""


def runtime_directory():
    """Where this user's labs are."""
    if os.geteuid() == 0:
        return pathlib.Path("/run/vpclab")
    own = os.environ.get("XDG_RUNTIME_DIR")
    if own and os.access(own, os.W_OK):
        return pathlib.Path(own) / "vpclab"
    return pathlib.Path(f"/tmp/vpclab-{os.geteuid()}")


class Lab:
    """A lab: the command line to start and end it, its control socket to ask it."""

    def __init__(self, topology, name=None):
        self.topology = pathlib.Path(topology)
        self.name = name or f"pytest-{os.getpid()}-{self.topology.stem}"

    def up(self):
        """Starts the lab; returns when its hosts run and its targets are healthy."""
        self._run("up", str(self.topology), "--wait")

    def down(self):
        """Ends it; nothing of it stays."""
        self._run("down")

    def exec(self, host, *argv, timeout=30, **options):
        """Runs a program inside a host; as subprocess.run, output captured as text."""
        options = {"capture_output": True, "text": True, "check": False} | options
        command = [VPCLAB, "exec", "--lab", self.name, host, "--", *map(str, argv)]
        return subprocess.run(command, timeout=timeout, **options)

    def trace(self, source, to, protocol="tcp", source_port=49152):
        """The path of a packet that is not sent: `reachable`, `code`, `fix`, hops."""
        host, port = to, None
        if ":" in to and not to.count(":") > 1:
            host, port = to.rsplit(":", 1)
            port = int(port)
        return self.ask("trace", **{"from": source, "to": host, "port": port,
                                    "protocol": protocol, "source_port": source_port})

    def ps(self):
        """Hosts, endpoints, load balancers, targets."""
        return self.ask("ps")

    def ask(self, request, **arguments):
        """One request over the lab's control socket, and its answer."""
        with self._ask(request, arguments) as (answer, _):
            return answer

    @contextlib.contextmanager
    def capture(self, host):
        """Records what crosses the host's interfaces while inside, as a pcapng file;
        the file is there until the end of the test run's temporary directory."""
        directory = pathlib.Path(tempfile.mkdtemp(prefix="vpclab-pytest-"))
        file = directory / f"{host}.pcapng"
        with self._ask("capture", {"port": host, "count": None}) as (_, stream):
            # The file's head comes at once: then the recording has begun.
            with file.open("wb") as out:
                out.write(stream.read1(65536))

                def copy():
                    while chunk := stream.read1(65536):
                        out.write(chunk)
                        out.flush()

                copier = threading.Thread(target=copy)
                copier.start()
                try:
                    yield file
                finally:
                    # What was recorded so far is sent, then the stream ends.
                    self._connection.shutdown(socket.SHUT_WR)
                    copier.join()

    @contextlib.contextmanager
    def _ask(self, request, arguments):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(runtime_directory() / self.name / "control.sock"))
            connection.sendall(json.dumps({"request": request} | arguments).encode() + b"\n")
            with connection.makefile("rb") as stream:
                answer = json.loads(stream.readline())
                if "failed" in answer:
                    failed = answer["failed"]
                    fix = f"\n  fix: {failed['fix']}" if failed.get("fix") else ""
                    raise VpclabError(failed["message"] + fix)
                self._connection = connection
                yield answer["ok"], stream

    def _run(self, *argv):
        done = subprocess.run([VPCLAB, *argv, "--lab", self.name], capture_output=True,
                              text=True, check=False)
        if done.returncode != 0:
            raise VpclabError(f"vpclab {argv[0]}: exit {done.returncode}\n{done.stderr}")


@pytest.fixture(scope="module")
def lab(request):
    """The lab of the module's TOPOLOGY, which names a file beside it."""
    file = pathlib.Path(request.fspath).parent / request.module.TOPOLOGY
    it = Lab(file.resolve())
    it.up()
    try:
        yield it
    finally:
        it.down()

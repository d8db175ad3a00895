"""`vpclab test` and `vpclab replay` as a user meets them: output, files, exit codes."""

import json
import xml.etree.ElementTree as ElementTree

import jsonschema

from harness import EXAMPLES, ROOT, check, lab, replaced, temporary, topology, vpclab

FILE = EXAMPLES / "three-tier.yaml"


def valid(command, answer):
    schema = ROOT / "docs" / "schemas" / f"{command}.schema.json"
    jsonschema.validate(answer, json.loads(schema.read_text()))


def expectations(report):
    with temporary() as directory, report.part("test passes, with JUnit XML and JSON"):
        out = directory / "out.xml"
        done = vpclab("test", FILE, "--junit", out)
        check(done.returncode == 0, f"exit {done.returncode}: {done.stdout}{done.stderr}")
        check(done.stdout.count("ok    ") == 6 and "6 passed, 0 failed" in done.stdout, done.stdout)
        suite = ElementTree.parse(out).getroot().find("testsuite")
        check(suite.get("tests") == "6" and suite.get("failures") == "0", suite.attrib)
        shown = json.loads(vpclab("test", FILE, "--json").stdout)
        valid("test", shown)
        check(shown["passed"] == 6 and len(shown["results"]) == 6, shown)
    broken = replaced(FILE.read_text(), ("ports: 8080, from: web", "ports: 8081, from: web"))
    with topology(broken) as file, report.part("test fails with the way and what to change"):
        done = vpclab("test", file)
        check(done.returncode == 1, f"exit {done.returncode}: {done.stderr}")
        check("5 passed, 1 failed" in done.stdout, done.stdout)
        check("to change that: add an inbound rule" in done.stdout, done.stdout)
        check(f"({file}:" in done.stdout, done.stdout)
    wrong = {
        "nobody": ("{from: web, to: \"nobody:80\"}", "no host, endpoint or load balancer"),
        "port": ("{from: web, to: app}", "tcp needs a port"),
        "key": ("{from: web, to: \"app:8080\", reach: true}", "reach"),
    }
    for name, (line, words) in wrong.items():
        text = replaced(FILE.read_text(), ("{from: web, to: \"app:8080\"}", line))
        with topology(text) as file, report.part(f"test refuses a wrong expectation: {name}"):
            done = vpclab("test", file)
            check(done.returncode == 2 and words in done.stderr, done.stderr)
    with topology("name: silent\n") as file, report.part("test of a file that expects nothing"):
        done = vpclab("test", file)
        check(done.returncode == 2 and "expect:" in done.stderr, done.stderr)


def replayed(report):
    """A recording of a running lab gives the same verdicts without one."""
    file = EXAMPLES / "privatelink.yaml"
    with temporary() as directory:
        recorded, out, verdicts = (directory / n for n in ("in.pcapng", "out.pcap", "v.json"))
        with lab("replay", file, "--wait") as it, it.capture("client") as packets:
            it.reaches("client", "http://10.0.1.100/")
            it.no_way("client", "http://10.0.1.100:443/")
            recorded.write_bytes(packets.file.read_bytes())
        replay = ["replay", recorded, "--at", "client", "--file", file]
        with report.part("replay of a running lab's capture"):
            done = vpclab(*replay, "-w", out, "--json")
            check(done.returncode == 0, done.stderr)
            verdicts.write_text(done.stdout)
            valid("replay", json.loads(done.stdout))
            seen = {frame["verdict"] for frame in json.loads(done.stdout)["frames"]}
            check({"forwarded", "dropped"} <= seen, seen)
        with report.part("replay compares frames and verdicts"):
            for expected in (out, verdicts):
                done = vpclab(*replay, "--expect", expected)
                check(done.returncode == 0, done.stderr)
        closed = replaced(file.read_text(), ("{proto: tcp, ports: 80, to: endpoint}",
                                             "{proto: tcp, ports: 81, to: endpoint}"))
        with topology(closed) as other, report.part("replay says what another file changes"):
            done = vpclab("replay", recorded, "--at", "client", "--file", other,
                          "--expect", verdicts)
            check(done.returncode == 1, f"exit {done.returncode}: {done.stderr}")
            check("dropped (security_group); expected: forwarded" in done.stderr, done.stderr)
        with report.part("replay of what is no capture"):
            done = vpclab("replay", file, "--at", "client", "--file", file)
            check(done.returncode == 2 and str(file) in done.stderr, done.stderr)


SCENARIOS = [expectations, replayed]

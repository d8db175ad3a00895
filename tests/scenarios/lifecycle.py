"""Programs that are looked after, logs, and faults made in a running lab."""

import json
import os
import re
import signal
import subprocess
import time

from harness import VPCLAB, Failed, Lab, check, lab, own_processes, topology, valid, vpclab, wait

FILE = """
name: lifecycle
vpcs:
  v:
    cidr: 10.9.0.0/16
    security_groups: {all: {ingress: [{proto: all, from: 0.0.0.0/0}]}}
    subnets:
      a: {cidr: 10.9.1.0/24, az: a}
      b: {cidr: 10.9.2.0/24, az: b}
hosts:
  web:
    subnet: a
    address: 10.9.1.10
    groups: all
    run: [python3 -u -m http.server 80, iperf3 -s -p 5201]
    restart: always
  flaky: {subnet: a, groups: all, run: "echo tick; exit 3", restart: on-failure}
  once: {subnet: a, groups: all, run: "echo done; exit 3"}
  chatty: {subnet: a, groups: all, run: "yes 0123456789012345678901234567890123456789"}
  client: {subnet: b, address: 10.9.2.10, groups: all}
load_balancers:
  lb: {subnets: [a, b], cross_zone: true, groups: all,
       listeners: [{port: 80, target_group: servers}]}
target_groups:
  servers:
    protocol: tcp
    port: 80
    targets: web
    health_check: {interval: 5, timeout: 2, healthy: 2, unhealthy: 2}
"""
WEB = "10.9.1.10"


def fault(it, *argv, code=0):
    done = vpclab("fault", *argv, "--lab", it.name)
    check(done.returncode == code, f"fault {argv}: exit {done.returncode}: {done.stderr}")
    return done.stdout + done.stderr


def programs(report):
    with topology(FILE) as file, lab("programs", file) as it:
        with report.part("programs restart by their policy, with growing waits"):
            command = lambda host: it.host(host)["commands"][0]
            wait("flaky started again", lambda: command("flaky")["restarts"] >= 3)
            wait("once has ended", lambda: command("once")["ended"] == "exit code 3")
            check(command("once")["restarts"] == 0 and not command("once")["restarting"],
                  command("once"))
            log = it.log("flaky")
            check(log.count("tick") >= 3 and "vpclab: exit code 3; restart 1" in log, log)
        with report.part("programs restart when they are killed"):
            it.eventually_reaches("client", f"http://{WEB}/")
            before = it.host("web")["commands"][0]
            done = it.exec("web", "kill", "-9", before["pid"])
            check(done.returncode == 0, f"{before}: {done.stderr}")
            again = restarted(it, before)
            it.eventually_reaches("client", f"http://{WEB}/")
        with report.part("programs restart on demand"):
            done = vpclab("restart", "web", "--lab", it.name)
            check(done.returncode == 0, done.stderr)
            check(it.host("web")["commands"][0]["pid"] != again["pid"], "the same process")
            it.eventually_reaches("client", f"http://{WEB}/")
        with report.part("programs fill two log files at most"):
            wait("the log was put aside", it.path("run-chatty-0.log.1").exists)
            sizes = wait("both are there", lambda: log_sizes(it))
            check(max(sizes) <= 4 << 20, f"{sizes}")
        logs(report, it)


def restarted(it, before):
    """The first command of `web`, running again after `before`."""
    last = before

    def runs():
        nonlocal last
        last = it.host("web")["commands"][0]
        return last["pid"] != before["pid"] and not last["ended"]

    try:
        wait("it runs again", runs)
    except Failed as error:
        raise Failed(f"{error}; before {before}, now {last}: {it.log('web')}") from None
    check(last["restarts"] > before["restarts"], f"before {before}, now {last}")
    return last


def log_sizes(it):
    try:
        return [it.path(f"run-chatty-0.log{end}").stat().st_size for end in ("", ".1")]
    except FileNotFoundError:  # just being put aside
        return None


def logs(report, it):
    with report.part("logs show the last lines, and whose they are"):
        done = vpclab("logs", "once", "--tail", 1, "--lab", it.name)
        check(done.stdout == "done\n", f"{done.stdout!r} {done.stderr}")
        done = vpclab("logs", "web", "--lab", it.name)
        check("web-0 | Serving HTTP" in done.stdout, done.stdout)
        shown = it.json("logs", "web", "--command", 0)["commands"]
        check([log["key"] for log in shown] == ["web-0"], shown)
        check(any("Serving HTTP" in line for line in shown[0]["lines"]), shown)
        done = vpclab("logs", "web", "--command", 0, "--tail", 0, "--lab", it.name)
        check((done.returncode, done.stdout) == (0, ""), done.stdout)
        done = vpclab("logs", "client", "--lab", it.name)
        check(done.returncode == 2 and "runs no command" in done.stderr, done.stderr)
        done = vpclab("logs", "nobody", "--lab", it.name)
        check(done.returncode == 2 and "fix: one of" in done.stderr, done.stderr)
    with report.part("logs -f go on, past a log that is put aside"):
        follower = it.start(VPCLAB, "logs", "web", "-f", "--tail", 0, "--command", 0,
                            "--lab", it.name, stdout=subprocess.PIPE, text=True)
        chatty = it.start(VPCLAB, "logs", "chatty", "-f", "--tail", 1, "--lab", it.name,
                          stdout=subprocess.PIPE, text=True)
        # More than both files hold: it has followed from one to the next.
        for _ in range(3 * (4 << 20) // 41):
            line = chatty.stdout.readline()
            if not line:
                break
        check(line, "the follower has ended")
        it.reaches("client", f"http://{WEB}/")
        lines = [follower.stdout.readline()]
        while lines[-1] and '"GET / HTTP/1.1" 200' not in lines[-1]:
            lines.append(follower.stdout.readline())
        check(lines[-1], f"{lines}")
        it.stop(follower)
        it.stop(chatty)


def ping(it, count, interval, address=WEB):
    """Share lost, and the average round trip in milliseconds."""
    done = it.exec("client", "ping", "-q", "-c", count, "-i", interval, "-W", 1, address)
    lost = re.search(r"([0-9.]+)% packet loss", done.stdout)
    check(lost, done.stdout + done.stderr)
    average = re.search(r"= [0-9.]+/([0-9.]+)/", done.stdout)
    return float(lost[1]), float(average[1]) if average else None


def links(report):
    with topology(FILE) as file, lab("links", file) as it:
        with report.part("links lose what they are told to lose"):
            fault(it, "link", "client", "--loss", "10%")
            lost, _ = ping(it, 400, 0.005)
            # 19 % of round trips expected, standard deviation 2 %.
            check(11 < lost < 27, f"{lost}% lost")
            link = next(f for f in it.json("fault", "list")["links"])
            counted = link["up"]["counters"]["lost"] + link["down"]["counters"]["lost"]
            check(it.counters()["drop.fault.loss"] == counted, f"{link}")
            check(abs(counted - lost * 4) < 30, f"{counted} counted, {lost}% of 400 lost")
        with report.part("links delay, one way or both"):
            fault(it, "clear", "client")
            _, before = ping(it, 5, 0.02)
            fault(it, "link", "client", "--delay", "20ms")
            _, both = ping(it, 10, 0.02)
            check(40 <= both < 60, f"{both} ms")
            fault(it, "link", "client", "--delay", "0", "--direction", "up")
            _, one = ping(it, 10, 0.02)
            check(20 <= one < 35 and before < 15, f"{one} ms, {before} ms before")
        with report.part("links reorder and double"):
            fault(it, "clear")
            fault(it, "link", "client", "--duplicate", "100%", "--direction", "up")
            done = it.exec("client", "ping", "-c", 3, "-i", 0.02, WEB)
            check(done.stdout.count("DUP!") >= 2, done.stdout)
            fault(it, "clear")
            fault(it, "link", "client", "--delay", "10ms", "--reorder", "30%",
                  "--direction", "down")
            done = it.exec("client", "ping", "-c", 100, "-i", 0.002, WEB)
            order = [int(n) for n in re.findall(r"icmp_seq=(\d+)", done.stdout)]
            check(sorted(order) != order and len(order) > 90, f"{len(order)} in order")
        with report.part("links damage, and TCP repairs it"):
            fault(it, "clear")
            fault(it, "link", "web", "--corrupt", "2%")
            done = it.exec("client", "curl", "-s", "-m", 30, f"http://{WEB}/", timeout=40)
            check(done.returncode == 0 and "Directory listing" in done.stdout, done.stderr)
        with report.part("links have a rate"):
            fault(it, "clear")
            fault(it, "link", "client", "--rate", "10mbit")
            done = it.exec("client", "iperf3", "-c", WEB, "-t", 2, "-J", timeout=30)
            rate = json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 1e6
            check(7 < rate < 11, f"{rate:.1f} Mbit/s")
        with report.part("links can be cut, and wrong faults are refused"):
            fault(it, "link", "client", "--down")
            check(ping(it, 2, 0.05)[0] == 100, "it passed")
            check("no host or link" in fault(it, "link", "nobody", "--down", code=2), "unknown")
            check("more than always" in fault(it, "link", "web", "--loss", "5", code=2), "5")
            check("no faults" in fault(it, "clear"), "faults are left")
            check(ping(it, 2, 0.05)[0] == 0, "it is still cut")


def zones(report):
    """Health checks every 5 s: the clock runs faster here."""
    with topology(FILE) as file, lab("zones", file, "--wait", "--time-scale", 20) as it:
        health = lambda: it.json("ps")["target_groups"][0]["targets"][0]["health"]
        with report.part("zones that are down make targets unhealthy"):
            check(health() == "healthy", health())
            check("us-east-1a" in fault(it, "az", "a", "--down"), "list")
            wait("unhealthy", lambda: health() == "unhealthy")
            with it.drops("fault.zone_down"):
                it.no_way("client", f"http://{WEB}/")
            done = vpclab("trace", "client", "web:80", "--lab", it.name)
            check(done.returncode == 1 and "fault.zone_down" in done.stdout, done.stdout)
            check("no subnet is in zone" in fault(it, "az", "z", "--down", code=2), "z")
        with report.part("zones that are up again are healthy"):
            fault(it, "az", "us-east-1a", "--up")
            wait("healthy", lambda: health() == "healthy")
            it.reaches("client", f"http://{WEB}/")
        with report.part("hosts that are killed are gone until they are restored"):
            it.start(*it.argv("web", "sleep", "1000"))
            fault(it, "host", "web", "--kill")
            check(it.host("web")["fault"] == "killed", "ps")
            wait("all has ended", lambda: all(c["ended"] for c in it.host("web")["commands"]))
            wait("unhealthy", lambda: health() == "unhealthy")
            it.no_way("client", f"http://{WEB}/")
            check("restore" in fault(it, "host", "web", "--pause", code=2), "pause")
            fault(it, "host", "web", "--restore")
            wait("healthy", lambda: health() == "healthy")
            it.reaches("client", f"http://{WEB}/")
        with report.part("hosts that are frozen go on where they were"):
            pid = it.host("web")["commands"][0]["pid"]
            fault(it, "host", "web", "--pause")
            wait("unhealthy", lambda: health() == "unhealthy")
            it.no_way("client", f"http://{WEB}/")
            fault(it, "clear", "web")
            it.eventually_reaches("client", f"http://{WEB}/")
            check(it.host("web")["commands"][0]["pid"] == pid, "another process")
            wait("healthy", lambda: health() == "healthy")


def idle_timeout(report):
    """An NLB forgets an idle TCP connection after 350 s: 3.5 s here."""
    text = FILE.replace("name: lifecycle", "name: lifecycle\ntime_scale: 100")
    with topology(text) as file, lab("idle", file, "--wait") as it:
        check("100 times" in vpclab("ps", "--lab", it.name).stdout, "ps")
        forgets(it)


def forgets(it):
    node = it.json("ps")["load_balancers"][0]["addresses"][0]
    connection = it.start(*it.argv("client", "nc", node, "80"), stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE)
    start = time.monotonic()
    ours = lambda: [f for f in it.json("flows", "client")["flows"]
                    if f"> {node}:80" in f["opener"]["sends"] and f["age_s"] < 400]
    flow = wait("the connection", ours)[0]
    check(flow["age_s"] < 350, f"{flow}")
    wait("the load balancer forgets it", lambda: not ours())
    took = time.monotonic() - start
    check(3 < took < 8, f"forgotten after {took:.1f} s")
    answer, _ = connection.communicate(b"GET / HTTP/1.0\r\n\r\n", timeout=10)
    check(not answer, f"the connection still lives: {answer}")


def changes(report):
    """Another file for a running lab, while a stream runs."""
    with topology(FILE) as file, lab("changes", file, "--wait") as it:
        before = it.json("ps")
        pids = lambda: {h["name"]: [c["pid"] for c in h["commands"]] for h in it.json("ps")["hosts"]}
        old = pids()
        stream = it.start(*it.argv("client", "iperf3", "-c", WEB, "-t", 6, "-i", 1, "-J"),
                          stdout=subprocess.PIPE, text=True)
        wait("the stream runs", lambda: [f for f in it.json("flows", "client")["flows"]
                                         if ":5201" in f["opener"]["sends"]])
        text = FILE
        for was, becomes in (
            ("  once: {subnet: a, groups: all, run: \"echo done; exit 3\"}\n", ""),
            ("hosts:\n", "hosts:\n  another: {subnet: b, groups: all, run: sleep 1000}\n"),
            ("echo tick; exit 3", "echo tock; exit 3"),
            ("    subnets:\n", "    route_tables: {t: {routes: [{to: 192.0.2.0/24, via: web}]}}\n"
                               "    subnets:\n"),
            ("az: b}", "az: b, route_table: t}"),
        ):
            check(was in text, was)
            text = text.replace(was, becomes)
        expected = ["- host once", "~ command flaky:0: restarts as `echo tock; exit 3`",
                    "~ subnet v/b: + route table t", "+ host another", "+ route table v/t"]
        file.write_text(text)
        with report.part("changes can be looked at first"):
            done = vpclab("up", file, "--lab", it.name, "--dry-run")
            check(done.returncode == 0, done.stderr)
            for line in expected:
                check(line in done.stdout, f"{line} is not in {done.stdout}")
            would = valid("up", vpclab("up", file, "--lab", it.name, "--dry-run", "--json").stdout)
            check(would["result"] == "would_change" and would["changes"], would)
            # flaky starts again and again by itself.
            alike = lambda all: {h: p for h, p in all.items() if h != "flaky"}
            check(alike(pids()) == alike(old), "it has changed")
        with report.part("changes are made, and nothing else is touched"):
            said = it.up("--wait")
            for line in expected + ["has changed"]:
                check(line in said, f"{line} is not in {said}")
            new = pids()
            check("once" not in new and len(new["another"]) == 1, new)
            for host in ("web", "client", "chatty"):
                check(new[host] == old[host], f"{host}: {old[host]} became {new[host]}")
            check(it.exec("another", "ping", "-c", 1, "-W", 1, WEB).returncode == 0, "no ping")
            it.logs("flaky", "tock")
            done = it.exec("once", "true")
            check(done.returncode != 0, "once is still there")
            ids = lambda ps: {h["name"]: [i["id"] for i in h["interfaces"]] for h in ps["hosts"]}
            was, now = ids(before), ids(it.json("ps"))
            check(all(now[h] == was[h] for h in now if h != "another"), f"{was} {now}")
            check("up already" in it.up(), "the same file again")
            again = valid("up", it.up("--json"))
            check((again["result"], again["changes"]) == ("already_running", []), again)
        with report.part("changes leave a stream alone"):
            out, _ = stream.communicate(timeout=30)
            result = json.loads(out)
            check("error" not in result, result.get("error"))
            slow = [i["sum"]["bits_per_second"] for i in result["intervals"]
                    if i["sum"]["bits_per_second"] < 1e6]
            check(len(result["intervals"]) >= 6 and not slow, f"{slow}")
        with report.part("changes that cannot be made are refused, and change nothing"):
            file.write_text(text.replace("name: lifecycle", "name: lifecycle\nregion: eu-west-1"))
            done = vpclab("up", file, "--lab", it.name)
            check(done.returncode == 2 and "vpclab down" in done.stderr, done.stderr)
            check(it.host("another")["name"] == "another", "ps")
        with report.part("changes are made though the daemon was killed before"):
            file.write_text(text.replace("another:", "other:"))
            pid = it.daemon()
            os.kill(pid, signal.SIGKILL)
            wait("the daemon is gone", lambda: pid not in own_processes())
            check("up again" in it.up("--wait"), "up adopts")
            now = pids()
            check("another" not in now and "other" in now, f"{now}")
            check(now["web"] == old["web"], "web was restarted")
            it.eventually_reaches("client", f"http://{WEB}/")


def side_by_side(report):
    with topology(FILE) as file, lab("left", file) as left, lab("right", file) as right:
        shown = vpclab("ps", "--all").stdout
        check(left.name in shown and right.name in shown and "5 hosts" in shown, shown)
        fault(left, "link", "client", "--down")
        check(ping(right, 2, 0.05)[0] == 0, "a fault of the other lab")
        pid = right.daemon()
        os.kill(pid, signal.SIGKILL)
        wait("the daemon is gone", lambda: pid not in own_processes())
        gone = f"the daemon of lab `{right.name}` does not run"
        wait(gone, lambda: gone in vpclab("ps", "--all").stdout)
        shown = valid("ps-all", vpclab("ps", "--all", "--json").stdout)["labs"]
        said = {lab["lab"]: lab.get("error") for lab in shown}
        check(said.get(right.name) == gone and said.get(left.name, "") is None, said)


def never_healthy(report):
    text = FILE.replace("    port: 80\n    targets: web", "    port: 81\n    targets: web")
    with topology(text) as file, lab("never", file) as it:
        done = vpclab("up", file, "--lab", it.name, "--wait", "--timeout", 1)
        check(done.returncode == 1, f"exit {done.returncode}")
        check("waiting for servers 10.9.1.10:81" in done.stderr, done.stderr)
        check("not healthy within 1 s: servers 10.9.1.10:81" in done.stderr, done.stderr)
    with topology(text) as file:
        it = Lab("interrupted", file)
        up = it.start(VPCLAB, "up", file, "--lab", it.name, "--wait",
                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        check("waiting for servers" in up.stderr.readline(), "it does not wait")
        it.stop(up)
        check(up.returncode == 130, f"exit {up.returncode}")
        check(not it.path("").exists(), "the lab is still there")


SCENARIOS = [programs, links, zones, idle_timeout, changes, side_by_side, never_healthy]

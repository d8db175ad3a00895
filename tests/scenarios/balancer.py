"""A network load balancer and clients that call it directly, with real programs."""

import re

from harness import check, lab, replaced, temporary, topology, wait

# The neighbour is on the server's own link; only the balancer's subnet knows the way to
# the peer and to the office. Two workers: what a target sends meets its connection at one of them.
LAB = """
name: balancer
settings: {workers: 2}
vpcs:
  main:
    cidr: 10.0.0.0/16
    vgw: true
    subnets:
      clients: {cidr: 10.0.1.0/24}
      balancer: {cidr: 10.0.2.0/24, route_table: peered}
      servers: {cidr: 10.0.3.0/24}
    route_tables:
      peered: {propagate: true, routes: [{to: 10.9.0.0/16, via: to-far}]}
    security_groups:
      open: {ingress: [{proto: all, from: 0.0.0.0/0}]}
      nodes: {ingress: [{proto: all, from: 0.0.0.0/0}]}
      server: {ingress: [{proto: tcp, ports: 8000, from: nodes}, {proto: udp, ports: 53, from: nodes}]}
  far:
    cidr: 10.9.0.0/16
    subnets: {far: {cidr: 10.9.1.0/24}}
    route_tables:
      far: {main: true, routes: [{to: 10.0.0.0/16, via: to-far}]}
    security_groups:
      open: {ingress: [{proto: all, from: 0.0.0.0/0}]}
peerings:
  to-far: {vpcs: [main, far]}
on_prem:
  office: {cidrs: 192.168.0.0/16, vpn: main, hosts: {laptop: {addresses: 192.168.1.10}}}
hosts:
  client: {subnet: clients, address: 10.0.1.10, groups: main/open}
  neighbour: {subnet: servers, address: 10.0.3.11, groups: main/open}
  server:
    subnet: servers
    address: 10.0.3.10
    groups: server
    run: [python3 -m http.server 8000, python3 ECHO]
  far: {subnet: far/far, address: 10.9.1.10, groups: far/open}
load_balancers:
  web:
    subnets: balancer
    addresses: {balancer: 10.0.2.50}
    groups: nodes
    listeners:
      - {proto: tcp, port: 80, target_group: kept}
      - {proto: tcp, port: 81, target_group: plain}
      - {proto: udp, port: 53, target_group: names}
target_groups:
  kept: {protocol: tcp, port: 8000, targets: server, preserve_client_ip: true}
  plain: {protocol: tcp, port: 8000, targets: server}
  names: {protocol: udp, port: 53, targets: server, health_check: {protocol: tcp, port: 8000}}
"""
NODE = "10.0.2.50"


def load_balancer(report):
    with temporary() as directory:
        echo = directory / "echo.py"
        echo.write_text(ECHO)
        with topology(replaced(LAB, ("ECHO", str(echo)))) as file:
            with lab("balancer", file, "--wait") as it:
                calls(it, report)


def calls(it, report):
    with report.part("load_balancer the server's log names the clients, wherever they are"):
        for client, address in (("client", "10.0.1.10"), ("neighbour", "10.0.3.11"),
                                ("far", "10.9.1.10"), ("laptop", "192.168.1.10")):
            for _ in range(4):
                it.reaches(client, f"http://{NODE}/")
            wait(f"the log names {address}", lambda: served(it).count(address) == 4)
        check(NODE not in served(it), served(it))
    with report.part("load_balancer without preservation it names the node"):
        it.reaches("client", f"http://{NODE}:81/")
        wait("the log names the node", lambda: NODE in served(it))
    with report.part("load_balancer nothing goes past it"):
        with it.drops("security_group.ingress", "security_group"):
            it.no_way("client", "http://10.0.3.10:8000/")
        with it.drops("lb.hairpin"):
            it.no_way("server", f"http://{NODE}/")
    with report.part("load_balancer UDP is answered by the node, fragments too"):
        for size in (20, 9500):
            done = it.exec("client", "python3", "-c", ASK, NODE, size)
            check(done.stdout.strip() == f"{size} bytes from {NODE}:53", done.stdout + done.stderr)
    with report.part("load_balancer a trace says that the client's address is kept"):
        shown = it.json("trace", "client", f"{NODE}:80")
        met = shown["forward"][-1]["after"]
        check(re.fullmatch(r"tcp 10\.0\.1\.10:\d+ > 10\.0\.3\.10:8000", met), met)
        back = [hop["component"] for hop in shown["reply"]]
        check("load balancer web" in back, back)


ECHO = """
import socket
serves = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
serves.bind(("", 53))
while True:
    told, at = serves.recvfrom(65535)
    serves.sendto(told, at)
"""

ASK = """
import socket, sys
node, size = sys.argv[1], int(sys.argv[2])
asks = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asks.settimeout(5)
asks.sendto(bytes(size), (node, 53))
told, at = asks.recvfrom(65535)
print(f"{len(told)} bytes from {at[0]}:{at[1]}")
"""


def served(it):
    return re.findall(r"^(\S+) - -", it.log("server"), re.MULTILINE)


SCENARIOS = [load_balancer]

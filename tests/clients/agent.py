"""Runs inside an instance: opens ports and connections as it is told, a line of
JSON each way. Every server says whom it has seen."""

import json
import select
import socket
import sys

LISTENERS = {}
KEPT = {}


def family(ip):
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


def listen(port):
    """TCP and UDP, IPv4 and IPv6."""
    if port in LISTENERS:
        return "ok"
    tcp = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    udp.bind(("::", port))
    LISTENERS[port] = (tcp, udp)
    return "ok"


def seen(peer):
    return peer[0].removeprefix("::ffff:").encode()


def connect(ip, port, seconds, source=None):
    """Whom the server has seen, or what went wrong."""
    with socket.socket(family(ip), socket.SOCK_STREAM) as client:
        client.settimeout(seconds)
        try:
            if source:
                client.bind((source, 0))
            client.connect((ip, port))
            return client.recv(64).decode() or "closed"
        except TimeoutError:
            return "timeout"
        except OSError as error:
            return f"error: {error.strerror}"


def udp(ip, port, seconds):
    with socket.socket(family(ip), socket.SOCK_DGRAM) as client:
        client.settimeout(seconds)
        try:
            client.sendto(b"?", (ip, port))
            return client.recv(64).decode()
        except TimeoutError:
            return "timeout"
        except OSError as error:
            return f"error: {error.strerror}"


def serve(sockets):
    for one in sockets:
        if one.type == socket.SOCK_DGRAM:
            _, peer = one.recvfrom(64)
            one.sendto(seen(peer), peer)
            continue
        connection, peer = one.accept()
        with connection:
            connection.sendall(seen(peer))


COMMANDS = {"listen": listen, "connect": connect, "udp": udp}


def main():
    print(json.dumps("ready"), flush=True)
    while True:
        sockets = [one for pair in LISTENERS.values() for one in pair]
        ready, _, _ = select.select([sys.stdin, *sockets], [], [])
        serve([one for one in ready if one is not sys.stdin])
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                return
            command, *arguments = json.loads(line)
            print(json.dumps(COMMANDS[command](*arguments)), flush=True)


if __name__ == "__main__":
    main()

"""TCP clients that say something now, and again at every line of their input:
late.py ADDRESS PORT COUNT. What came of it is printed, a word for each."""

import socket
import sys
import time

address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
clients = [socket.create_connection((address, port), 10) for _ in range(count)]


def say(seconds):
    """All speak, then all listen for so long."""
    said = []
    for client in clients:
        try:
            client.sendall(b"echo")
        except ConnectionError:
            pass
    end = time.monotonic() + seconds
    for client in clients:
        client.settimeout(max(0.01, end - time.monotonic()))
        try:
            said.append(client.recv(100).decode() or "closed")
        except ConnectionError:
            said.append("reset")
        except TimeoutError:
            said.append("nothing")
    print(*said, flush=True)


say(10)
for _ in sys.stdin:
    say(1)

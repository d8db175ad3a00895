"""Answers what it is sent, by TCP and UDP: echo.py PORT."""

import selectors
import socket
import sys

port = int(sys.argv[1])
wait = selectors.DefaultSelector()
listener = socket.create_server(("", port))
listener.listen(64)
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("", port))
for each in (listener, datagrams):
    wait.register(each, selectors.EVENT_READ)
while True:
    for key, _ in wait.select():
        ready = key.fileobj
        if ready is listener:
            wait.register(listener.accept()[0], selectors.EVENT_READ)
        elif ready is datagrams:
            data, peer = datagrams.recvfrom(65535)
            datagrams.sendto(data, peer)
        else:
            try:
                data = ready.recv(65535)
                ready.sendall(data)
            except OSError:
                data = b""
            if not data:
                wait.unregister(ready)
                ready.close()

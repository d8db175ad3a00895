"""A gateway load balancer's appliance in scapy: sends every GENEVE packet back
with the outer addresses exchanged. Prints a line for each."""

import socket
import threading

from scapy.all import IP, UDP, Ether, conf, sendp, sniff

# Without a socket on the port the kernel would answer that it is closed.
tunnel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
tunnel.bind(("0.0.0.0", 6081))
health = socket.create_server(("0.0.0.0", 80))


def answer_health_checks():
    while True:
        connection, _ = health.accept()
        connection.close()


def mirror(frame):
    outer = frame[IP]
    outer.src, outer.dst = outer.dst, outer.src
    frame[Ether].src, frame[Ether].dst = frame[Ether].dst, frame[Ether].src
    # The port of the sender is the flow's; it stays, as the protocol says.
    del outer.chksum
    del frame[UDP].chksum
    sendp(frame, iface="eth0", verbose=False)
    print("mirrored", len(frame), flush=True)


threading.Thread(target=answer_health_checks, daemon=True).start()
own = conf.ifaces.dev_from_name("eth0").ip
sniff(iface="eth0", store=False, prn=mirror,
      lfilter=lambda f: UDP in f and f[UDP].dport == 6081 and f[IP].dst == own)

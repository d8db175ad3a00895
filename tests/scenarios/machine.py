#!/usr/bin/python3
"""A virtual machine's side of a persistent TAP, frame by frame: opens it as QEMU does
(`vnet_hdr=on`), asks ARP, pings, and sends a datagram whose checksum is left to the other
side. Prints a word for each answer."""

import fcntl
import os
import select
import struct
import sys
import time

from scapy.all import ARP, ICMP, IP, UDP, Ether

TUNSETIFF, TUNSETVNETHDRSZ = 0x400454CA, 0x400454D8
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
NEEDS_CSUM = 1
PATIENCE = 5.0


def main():
    tap, mac, address, router, web = sys.argv[1:]
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", tap.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", 12))
    plain = bytes(12)

    def ask(header, frame, answer):
        os.write(fd, header + bytes(frame))
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if select.select([fd], [], [], 0.1)[0]:
                found = answer(Ether(os.read(fd, 70000)[12:]))
                if found:
                    return found
        sys.exit(f"no answer to {frame.summary()}")

    who = Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=mac, psrc=address, pdst=router)
    gateway = ask(plain, who, lambda f: ARP in f and f[ARP].op == 2 and f[ARP].hwsrc)
    print("arp")
    head = Ether(src=mac, dst=gateway) / IP(src=address, dst=web)
    ask(plain, head / ICMP(id=7, seq=1) / b"machine",
        lambda f: ICMP in f and f[ICMP].type == 0 and f[IP].src == web)
    print("echo")
    # The checksum field holds the pseudo-header's sum, as a guest's driver leaves it.
    datagram = head / UDP(sport=5000, dport=9) / b"partial"
    raw = bytearray(bytes(datagram))
    total = sum(struct.unpack("!4H", raw[26:34])) + 17 + len(raw) - 34
    raw[40:42] = struct.pack("!H", (total & 0xFFFF) + (total >> 16))
    header = struct.pack("<BBHHHHH", NEEDS_CSUM, 0, 0, 0, 34, 6, 0)
    ask(header, Ether(bytes(raw)), lambda f: ICMP in f and (f[ICMP].type, f[ICMP].code) == (3, 3))
    print("unreachable")


main()

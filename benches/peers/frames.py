"""Frames as pcap files: what every peer is fed with. UDP over IPv4 with valid checksums, as vpclab's `udp4`."""

import random
import socket
import struct
from pathlib import Path

# Peers that do not look at MAC addresses get these.
SRC_MAC = bytes.fromhex("020000000102")
DST_MAC = bytes.fromhex("020000000101")

CLIENT = "10.0.1.2"
SERVER = "10.0.2.2"
NAT = "192.0.2.1"
PORT = 9000


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp(src: str, dst: str, sport: int, dport: int, length: int) -> bytes:
    """A frame of `length` bytes without FCS."""
    addresses = socket.inet_aton(src) + socket.inet_aton(dst)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, length - 14, 0, 0x4000, 64, 17, 0) + addresses
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    udp_length = length - 34
    payload = b"\0" * (length - 42)
    header = struct.pack("!HHHH", sport, dport, udp_length, 0)
    pseudo = addresses + struct.pack("!BBH", 0, 17, udp_length)
    header = header[:6] + struct.pack("!H", checksum(pseudo + header + payload) or 0xFFFF)
    return DST_MAC + SRC_MAC + b"\x08\0" + ip + header + payload


def connections(count: int, length: int, answer_to: str) -> list[bytes]:
    """Both directions of `count` connections; replies go to `answer_to`."""
    frames = []
    for n in range(count):
        sport = 1024 + n % 60000
        frames.append(udp(CLIENT, SERVER, sport, PORT, length))
        frames.append(udp(SERVER, answer_to, PORT, sport, length))
    return frames


def one_way(count: int, length: int) -> list[bytes]:
    """One direction of `count` flows."""
    return [udp(CLIENT, SERVER, 1024 + n % 60000, PORT, length) for n in range(count)]


def write(path: Path, frames: list[bytes], seed: int = 1) -> Path:
    """Writes the frames in random order."""
    frames = list(frames)
    random.Random(seed).shuffle(frames)
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for frame in frames:
            out.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)
    return path

"""Proxy protocol v2: what a target is told, read by a parser that others wrote."""

import subprocess
import sys

import crc32c
import proxyprotocol
import proxyprotocol.v2

from balancers import balancer, healthy, listen, world
from cloud import OTHER_ACCOUNT, check, wait
from endpoints import Consumer, needs_endpoints

PORT = 8080
# Prints the first stream that begins with a header about a client; health
# checks, whose header is about nobody, come and go.
READER = f"""
import socket
server = socket.create_server(("0.0.0.0", {PORT}))
print("ready", flush=True)
while True:
    connection, _ = server.accept()
    with connection:
        data = b""
        while len(data) < 100 and (more := connection.recv(4096)):
            data += more
        if data[12:13] == b"\\x21":
            print(data.hex(), flush=True)
            connection.sendall(b"seen.")
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)
"""
CRC32C, AWS = 0x03, 0xEA


def the_target_is_told_who_the_client_is(cloud):
    """proxy_protocol_v2.enabled by boto3; then the header of a real connection."""
    needs_endpoints(cloud)
    elb, _, subnet, _, (direct, server, _), group = world(cloud)
    arn = balancer(elb, subnet)["LoadBalancerArn"]
    done = elb.modify_target_group_attributes(TargetGroupArn=group, Attributes=[
        {"Key": "proxy_protocol_v2.enabled", "Value": "true"}])["Attributes"]
    check({"Key": "proxy_protocol_v2.enabled", "Value": "true"} in done, done)
    reader = cloud.lab.start(*cloud.lab.argv(server.name, sys.executable, "-I", "-c", READER),
                             stdout=subprocess.PIPE, text=True)
    check(reader.stdout.readline() == "ready\n", "no reader")
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": server.name, "Port": PORT}])
    listen(elb, arn, group)
    healthy(elb, group, server)
    service = cloud.ec2.create_vpc_endpoint_service_configuration(
        NetworkLoadBalancerArns=[arn], AcceptanceRequired=False)["ServiceConfiguration"]
    cloud.ec2.modify_vpc_endpoint_service_permissions(
        ServiceId=service["ServiceId"],
        AddAllowedPrincipals=[f"arn:aws:iam::{OTHER_ACCOUNT}:root"])
    consumer = Consumer(cloud)
    endpoint, ip = consumer.endpoint(service["ServiceName"])
    wait("the endpoint is available", lambda: consumer.state(endpoint) == "available")
    check(consumer.host.reaches(ip) == "seen.", "through the endpoint")
    found = header(reader, consumer.host.ip, ip)
    check(found.tlv[AWS] == b"\x01" + endpoint.encode(), found.tlv)
    node = elb.describe_load_balancers(LoadBalancerArns=[arn])["LoadBalancers"][0]["DNSName"]
    check(node.startswith("front-"), node)
    nodes = cloud.ec2.describe_network_interfaces(Filters=[
        {"Name": "description", "Values": ["ELB net/front/*"]}])["NetworkInterfaces"]
    ip = nodes[0]["PrivateIpAddress"]
    check(direct.reaches(ip) == "seen.", "without an endpoint")
    check(AWS not in header(reader, direct.ip, ip).tlv, "a client that called no endpoint")
    cloud.lab.stop(reader)


def parse(raw):
    """The parser sorts TLVs before it sums them, so it finds no header good whose
    padding comes last: not AWS's own example either. What it read is right."""
    try:
        return proxyprotocol.v2.ProxyProtocolV2().unpack(raw)
    except proxyprotocol.ProxyProtocolChecksumError as error:
        return error.result


def header(reader, client, called):
    """What the parser reads; another implementation says that the CRC is right."""
    raw = bytes.fromhex(reader.stdout.readline())
    check(len(raw) == 100, f"{len(raw)} bytes")
    found = parse(raw)
    check(found.proxied and str(found.source[0]) == client, found)
    check((str(found.dest[0]), found.dest[1]) == (called, 80), found)
    at = raw.index(bytes([CRC32C, 0, 4]), 28) + 3
    zeroed = raw[:at] + bytes(4) + raw[at + 4:]
    check(int.from_bytes(raw[at:at + 4]) == crc32c.crc32c(zeroed), raw.hex())
    return found


CHECKS = [the_target_is_told_who_the_client_is]

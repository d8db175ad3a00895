"""Requests that nobody should send: mutations of valid ones. Each is answered,
soon, with what AWS could answer; the lab goes on as if nothing had been."""

import http.client
import json
import random
import re
import time
import urllib.parse
import xml.etree.ElementTree as ElementTree

import refusals
from cloud import ACCOUNT, OTHER_ACCOUNT, REGION, check, filters, tcp

REQUESTS = 10_000
SEED = 5
# Of one answer; the machine may be busy.
SECONDS = 5.0
BODY_MAX = 1 << 20
FORM = "application/x-www-form-urlencoded; charset=utf-8"

TEXTS = ["", " ", "0", "-1", "1", "4294967296", "18446744073709551616", "9" * 400, "1e308", "NaN",
         "true", "null", "\0", "é", "\U0001f600", "\ufffe", "%", "%zz", "&=", "<a>&amp;", "]]>",
         "x" * 5000, "*" * 300, "\\", "*\\", "../../etc/passwd", "$(reboot)", "10.0.0.0/33",
         "0.0.0.0/0", "::/0", "10.0.0.0/16", "999.1.1.1", "fe80::1%eth0", "127.0.0.1", "224.0.0.1",
         "vpc-", "vpc-0", "i-é", "sg-" + "f" * 17, "eni-" + "0" * 500, "us-east-1é", "é",
         "2026-11-25T00:00:00Z", "allow", "tcp", "-2", "65536", "32767", "local", "available"]
NAMES = ["Filter.1.Name", "Filter.1.Value.1", "Filter.0.Value.0", "Filter.999999999999.Name", "A",
         "Filter", "", ".", "..", "Filter..Value", "Tag.1.Key", "DryRun", "ClientToken", "NextToken",
         "MaxResults", "VpcId.1", "VpcId.1.1", "TagSpecification.1.Tag.1.Key", "IpPermissions.1",
         "member.1", "NetworkInterface.1.DeviceIndex", "-1", "Version", "Action",
         ".".join(["Filter"] * 12), ".".join(["1"] * 100), "é.1"]
SERVICES = ["ec2", "sts", "elasticloadbalancing", "s3", "", "é"]
JSON_REQUESTS = 300
CONTENT_TYPES = [None, "application/json", "text/xml", "multipart/form-data; boundary=x", "é", "", "x" * 999]


def credential(account=ACCOUNT, region=REGION, service="ec2"):
    return (f"AWS4-HMAC-SHA256 Credential={account}/20261125/{region}/{service}/aws4_request, "
            "SignedHeaders=host, Signature=00")


class Sender:
    """Requests over a connection that is kept."""

    def __init__(self, url):
        self.address = urllib.parse.urlparse(url).netloc
        self.connection = http.client.HTTPConnection(self.address, timeout=30)

    def send(self, body, authorization, content_type):
        headers = {"Content-Type": content_type, "Authorization": authorization}
        headers = {k: v.encode("utf-8") for k, v in headers.items() if v is not None}
        try:
            self.connection.request("POST", "/", body, headers)
            answer = self.connection.getresponse()
            return answer.status, answer.read()
        except http.client.RemoteDisconnected:
            # An answer may end its connection.
            self.connection.close()
            self.connection.request("POST", "/", body, headers)
            answer = self.connection.getresponse()
            return answer.status, answer.read()


def in_shape(status, body):
    """What is wrong with an answer, if anything is."""
    if not (200 <= status < 300 or 400 <= status < 500):
        return f"status {status}"
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        return f"no XML: {error}"
    name = root.tag.rsplit("}", 1)[-1]
    if status < 300:
        return None if name.endswith("Response") and name != "Response" else f"<{name}>"
    codes = [element.text for element in root.iter() if element.tag.rsplit("}", 1)[-1] == "Code"]
    if name not in ("Response", "ErrorResponse") or len(codes) != 1 or not codes[0]:
        return f"an error without a code: <{name}>"
    return None


def a_world(cloud):
    """A bit of everything, so that mutations of ids hit what is there."""
    vpc = cloud.vpc()
    subnet, group = cloud.subnet(vpc), cloud.group(vpc)
    ec2 = cloud.ec2
    eni = ec2.create_network_interface(SubnetId=subnet, Groups=[group])["NetworkInterface"]
    eni = eni["NetworkInterfaceId"]
    cloud.gateway(vpc)
    cloud.elastic()
    table = cloud.main_table(vpc)["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="10.9.0.0/16", NetworkInterfaceId=eni)
    ec2.create_tags(Resources=[vpc, subnet, eni], Tags=[{"Key": "Name", "Value": "x"}])
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[tcp(80), tcp(81)])
    acl = ec2.create_network_acl(VpcId=vpc)["NetworkAcl"]["NetworkAclId"]
    ec2.create_network_acl_entry(NetworkAclId=acl, **refusals.ENTRY)
    ec2.assign_private_ip_addresses(NetworkInterfaceId=eni, SecondaryPrivateIpAddressCount=1)
    made = ec2.create_managed_prefix_list(
        PrefixListName="l", MaxEntries=5, AddressFamily="IPv4", Entries=[{"Cidr": "10.0.0.0/8"}])
    ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1, SubnetId=subnet,
                      SecurityGroupIds=[group])
    ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.2.0/24", AvailabilityZone="us-east-1b")
    ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.3.0/24", AvailabilityZoneId="use1-az3")
    for describe in ("vpcs", "subnets", "route_tables", "security_groups", "network_acls",
                     "network_interfaces", "internet_gateways", "instances", "tags", "regions",
                     "managed_prefix_lists", "security_group_rules", "availability_zones"):
        getattr(ec2, f"describe_{describe}")()
    ec2.describe_subnets(Filters=filters(vpc_id=vpc, state="avail*"), MaxResults=5)
    ec2.get_managed_prefix_list_entries(PrefixListId=made["PrefixList"]["PrefixListId"])
    # And at least one of each action.
    refusals.what_is_not_there(cloud)
    return {"VpcId": vpc, "SubnetId": subnet, "GroupId": group, "NetworkInterfaceId": eni,
            "RouteTableId": table, "NetworkAclId": acl}


class Mutator:
    def __init__(self, bodies, world):
        self.random = random.Random(SEED)
        self.world = world
        self.forms = {}  # of each action
        for body in bodies:
            form = urllib.parse.parse_qsl(body, keep_blank_values=True)
            self.forms.setdefault(dict(form)["Action"], []).append(form)
        self.actions = sorted(self.forms)

    def form(self):
        """A valid request, as names and values."""
        form = self.random.choice(self.forms[self.random.choice(self.actions)])
        return [list(pair) for pair in form]

    def request(self):
        """Body, authorization, content type."""
        pick = self.random
        form = self.form()
        if pick.random() < 0.7:
            form = [[name, self.world.get(name.split(".")[0], value)] for name, value in form]
        for _ in range(pick.choice([0, 1, 1, 1, 2, 3])):
            self.change(form)
        body = urllib.parse.urlencode([tuple(pair) for pair in form]).encode()
        if pick.random() < 0.1:
            body = self.bytes(body)
        authorization, content_type = credential(), FORM
        if pick.random() < 0.05:
            service, region = pick.choice(SERVICES), pick.choice([REGION, "", "é", "mars-1"])
            account = pick.choice([ACCOUNT, OTHER_ACCOUNT, "AKIA", "", "1" * 13])
            authorization = pick.choice(
                [credential(account, region, service), "", "Basic eDp5", "AWS4-HMAC-SHA256 ", None])
        if pick.random() < 0.05:
            content_type = pick.choice(CONTENT_TYPES)
        return tame(body), authorization, content_type

    def change(self, form):
        pick = self.random
        kind = pick.random()
        if kind < 0.6 and form:
            # The action and the version last: without them nothing else matters.
            at = pick.randrange(len(form))
            if form[at][0] in ("Action", "Version") and pick.random() < 0.9:
                at = pick.randrange(len(form))
            form[at][1] = pick.choice(TEXTS)
        elif kind < 0.7:
            form.append([pick.choice(NAMES), pick.choice(TEXTS)])
        elif kind < 0.78 and form:
            form.pop(pick.randrange(len(form)))
        elif kind < 0.8 and form:
            form.append(list(pick.choice(form)))
        elif kind < 0.83 and form:
            pick.choice(form)[0] = pick.choice(NAMES)
        elif kind < 0.9 and form:
            # An element of a list elsewhere in it.
            number = pick.choice(["0", "2", "-1", "01", "4294967296", "x"])
            it = pick.choice(form)
            it[0] = re.sub(r"\d+", number, it[0], count=1)
        elif kind < 0.995:
            # What belongs to another request.
            form.append(pick.choice(self.form()))
        elif kind < 0.997:
            form.extend([f"Filter.{n}.Name", "vpc-id"] for n in range(10_000))
        elif kind < 0.999:
            form.extend([f"Filter.1.Value.{n}", "*a" * 20] for n in range(190))
        else:
            form.append([".".join(["A"] * pick.choice([17, 1000, 30_000])), "deep"])

    def bytes(self, body):
        pick = self.random
        body = bytearray(body)
        for _ in range(pick.randrange(1, 8)):
            at = pick.randrange(len(body) + 1)
            what = pick.randrange(4)
            if what == 0:
                body[at:at] = bytes(pick.randrange(256) for _ in range(pick.randrange(1, 9)))
            elif what == 1:
                del body[at:at + pick.randrange(1, 20)]
            elif what == 2 and at < len(body):
                body[at] ^= 1 << pick.randrange(8)
            else:
                body[at:at] = body[:pick.randrange(len(body) + 1)]
        return bytes(body)


def tame(body):
    """Not a thousand instances: each is a namespace of this machine."""
    if b"RunInstances" in body:
        return re.sub(rb"(M(?:ax|in)Count=)0*[1-9]\d{0,3}(?!\d)", rb"\g<1>1", body)
    return body


def json_bodies(cloud):
    """Clients of services that speak JSON are refused as they understand it."""
    cloud.recording = False
    pick = random.Random(SEED)
    connection = http.client.HTTPConnection(urllib.parse.urlparse(cloud.url).netloc, timeout=30)
    whole = json.dumps({"TableName": "t", "Keys": [{"a": {"S": "é"}}] * 20, "n": -1.5e9}).encode()
    codes = set()
    for number in range(JSON_REQUESTS):
        body = whole[:pick.randrange(len(whole) + 1)] if number % 2 else whole
        if number % 3 == 0:
            body = b"[" * pick.randrange(200_000) + body
        headers = {"Content-Type": f"application/x-amz-json-1.{number % 2}",
                   "X-Amz-Target": pick.choice(["DynamoDB_20120810.GetItem", "", "x" * 2000]),
                   "Authorization": credential(service="dynamodb")}
        connection.request("POST", "/", body, headers)
        answer = connection.getresponse()
        said = json.loads(answer.read())
        check(answer.status == 400 and said["message"], f"{answer.status} {said}")
        codes.add(said["__type"])
    check(codes == {"SerializationException", "UnknownOperationException"}, f"{codes}")


def ten_thousand_mutated_requests(cloud):
    world = a_world(cloud)
    cloud.recording = False
    bodies = sorted({body if isinstance(body, str) else body.decode()
                     for _, body in cloud.requests if body})
    check(len(bodies) > 100, f"only {len(bodies)} requests were recorded")
    mutator = Mutator(bodies, world)
    sender = Sender(cloud.url)
    wrong, went_well, slowest = [], 0, 0.0
    for number in range(REQUESTS):
        request = mutator.request()
        start = time.monotonic()
        status, body = sender.send(*request)
        took = time.monotonic() - start
        slowest = max(slowest, took)
        went_well += status < 300
        why = in_shape(status, body) or (f"took {took:.1f} s" if took > SECONDS else None)
        if why:
            wrong.append(f"#{number}: {why}: {request[0][:300]!r} {request[1]} → {body[:300]!r}")
    check(not wrong, "\n  ".join([f"{len(wrong)} of {REQUESTS}", *wrong[:10]]))
    # Most mutations of requests must be refused, and some must not matter.
    check(REQUESTS / 50 < went_well < REQUESTS * 0.9, f"{went_well} of {REQUESTS} went well")
    check(cloud.ec2.describe_regions()["Regions"], "the lab does not answer afterwards")


def too_large_a_body_is_refused_in_awss_shape(cloud):
    sender = Sender(cloud.url)
    for size, statuses in ((BODY_MAX - 30, (400,)), (BODY_MAX + 1, (413,))):
        body = b"Action=DescribeVpcs&X=" + b"x" * (size - 22)
        status, answer = sender.send(body, credential(), FORM)
        check(status in statuses and not in_shape(status, answer), f"{size}: {status} {answer[:200]}")


CHECKS = [json_bodies, ten_thousand_mutated_requests, too_large_a_body_is_refused_in_awss_shape]

"""Labs that answer only whom a file of credentials names: signatures are verified, and
other addresses than 127.0.0.1 may be served."""

import datetime
import json
import os
import pathlib
import random
import socket
import sys
import urllib.error
import urllib.request

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions

import harness
from cloud import REGION, check

KEY, SECRET, ACCOUNT = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "222233334444"
FILE = f"""
[ours]
aws_access_key_id = {KEY}
aws_secret_access_key = {SECRET}
aws_account_id = {ACCOUNT}

[other]
aws_access_key_id = 444455556666
aws_secret_access_key = theirs
aws_session_token = short-lived
"""
TOPOLOGY = "name: signed\n"


def client(url, service, key=KEY, secret=SECRET, token=None):
    session = boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret,
                            aws_session_token=token, region_name=REGION)
    config = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=20)
    return session.client(service, endpoint_url=url, config=config)


def refused(code, status, call, **parameters):
    try:
        call(**parameters)
    except botocore.exceptions.ClientError as error:
        found = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        check(found == (code, status), f"{found}, not {code}")
    else:
        raise harness.Failed(f"it went well, not {code}")


def http(url, data=None, headers=()):
    """Status and body of a request that no SDK made."""
    request = urllib.request.Request(url, data, dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def signed_at(url, seconds, body=b"Action=DescribeVpcs&Version=2016-11-15"):
    """An EC2 request as botocore signs it, by a clock that is wrong by so many seconds."""
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    real = botocore.auth.get_current_datetime
    botocore.auth.get_current_datetime = lambda *_, **__: at.replace(tzinfo=None)
    try:
        request = botocore.awsrequest.AWSRequest("POST", url + "/", data=body)
        keys = botocore.credentials.Credentials(KEY, SECRET)
        botocore.auth.SigV4Auth(keys, "ec2", REGION).add_auth(request)
    finally:
        botocore.auth.get_current_datetime = real
    return http(url + "/", body, request.headers.items())


def keys_right_and_wrong(_cloud):
    with harness.temporary() as directory, harness.topology(TOPOLOGY) as file:
        keys = directory / "credentials"
        keys.write_text(FILE)
        lab = harness.Lab("signed", file)
        try:
            up = ("--http", "0", "--credentials", keys, "--allow-reset", "--json")
            url = json.loads(lab.up(*up))["http"]
            with_boto3(url)
            with_the_cli(url, keys)
            by_hand(url)
            broken_signatures(url)
            # The daemon that follows one that was killed is as strict.
            os.kill(lab.daemon(), 9)
            url = json.loads(lab.up(*up))["http"]
            refused("AuthFailure", 401, client(url, "ec2", secret="wrong").describe_vpcs)
            check(client(url, "sts").get_caller_identity()["Account"] == ACCOUNT, "not the file's")
            keys.with_name("others").write_text(FILE.replace(SECRET, "another"))
            done = harness.vpclab(
                "up", file, "--lab", lab.name, "--credentials", keys.with_name("others"))
            check(done.returncode == 2 and "cannot change" in done.stderr, done)
        finally:
            lab.down()


def with_boto3(url):
    check(client(url, "sts").get_caller_identity()["Account"] == ACCOUNT, "not the file's account")
    theirs = client(url, "sts", "444455556666", "theirs", "short-lived").get_caller_identity()
    check(theirs["Account"] == "444455556666", theirs)
    ec2 = client(url, "ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=[
        {"ResourceType": "vpc", "Tags": [{"Key": "é &+%", "Value": "ü / ~"}]}])["Vpc"]
    check(vpc["OwnerId"] == ACCOUNT, vpc)
    check(client(url, "elbv2").describe_load_balancers()["LoadBalancers"] == [], "balancers")
    for service, action, unknown, wrong in (
            ("ec2", "describe_vpcs", ("AuthFailure", 401), ("AuthFailure", 401)),
            ("elbv2", "describe_load_balancers", ("InvalidClientTokenId", 403),
             ("SignatureDoesNotMatch", 403)),
            ("sts", "get_caller_identity", ("InvalidClientTokenId", 403),
             ("SignatureDoesNotMatch", 403))):
        refused(*unknown, getattr(client(url, service, key="AKIANOBODY"), action))
        refused(*wrong, getattr(client(url, service, secret="wrong"), action))
    tokenless = client(url, "sts", "444455556666", "theirs")
    refused("InvalidClientTokenId", 403, tokenless.get_caller_identity)


def with_the_cli(url, keys):
    environment = {
        "PATH": os.environ["PATH"], "HOME": "/nonexistent", "AWS_ENDPOINT_URL": url,
        "AWS_SHARED_CREDENTIALS_FILE": str(keys), "AWS_PROFILE": "ours", "AWS_MAX_ATTEMPTS": "1",
        "AWS_DEFAULT_REGION": REGION, "AWS_DEFAULT_OUTPUT": "json",
    }
    aws = [sys.executable, pathlib.Path(sys.executable).with_name("aws")]
    done = harness.sh(*aws, "sts", "get-caller-identity", env=environment)
    check(done.returncode == 0 and ACCOUNT in done.stdout, done)
    wrong = {**environment, "AWS_PROFILE": "", "AWS_ACCESS_KEY_ID": KEY,
             "AWS_SECRET_ACCESS_KEY": "wrong"}
    del wrong["AWS_PROFILE"]
    done = harness.sh(*aws, "ec2", "describe-vpcs", env=wrong)
    check(done.returncode != 0 and "AuthFailure" in done.stderr, done)


def by_hand(url):
    for data in (b"Action=DescribeVpcs&Version=2016-11-15", b"", b"\xff"):
        status, body = http(url + "/", data)
        check(status == 403 and "MissingAuthenticationToken" in body, (status, body))
    for path in ("/_vpclab/reset", "/moto-api/reset"):
        status, body = http(url + path, b"")
        check(status == 403 and "MissingAuthenticationToken" in body, (status, body))
    status, _ = http(url + "/_vpclab/consistency")
    check(status == 403, status)
    check(http(url + "/_vpclab/health")[0] == 200, "health is anybody's")
    check(signed_at(url, 0)[0] == 200, signed_at(url, 0))
    for seconds in (-1200, 1200):
        status, body = signed_at(url, seconds)
        check(status == 400 and "RequestExpired" in body, (status, body))
    # Presigned, as for a cluster that asks who somebody is.
    signed = client(url, "sts").generate_presigned_url(
        "get_caller_identity", ExpiresIn=60, HttpMethod="GET")
    status, body = http(signed)
    check(status == 200 and ACCOUNT in body, (status, body))
    status, body = http(signed.replace("Action=GetCallerIdentity", "Action=GetSessionToken"))
    check(status == 403 and "SignatureDoesNotMatch" in body, (status, body))
    status, body = http(signed.replace("X-Amz-Expires=60", "X-Amz-Expires=604801"))
    check(status == 400 and "IncompleteSignature" in body, (status, body))


def broken_signatures(url):
    """Whatever a signature looks like, it is refused as AWS does, and never believed."""
    rng = random.Random(5)
    body = b"Action=DescribeVpcs&Version=2016-11-15"
    request = botocore.awsrequest.AWSRequest("POST", url + "/", data=body)
    keys = botocore.credentials.Credentials(KEY, SECRET)
    botocore.auth.SigV4Auth(keys, "ec2", REGION).add_auth(request)
    headers = dict(request.headers.items())
    whole = headers["Authorization"]
    check(http(url + "/", body, headers.items())[0] == 200, "it is refused unbroken")
    for _ in range(300):
        at = rng.randrange(len(whole))
        # Not a name that is left alone, nor a space.
        if whole[at] in " ,":
            continue
        broken = rng.choice([whole[:at], whole[:at] + whole[at + 1:],
                             whole[:at] + rng.choice("/=;,0aZé%") + whole[at + 1:]])
        if broken == whole:
            continue
        headers["Authorization"] = broken
        status, answer = http(url + "/", body, headers.items())
        check(400 <= status < 500 and "<Code>" in answer, f"{broken!r}: {status} {answer}")


def other_addresses_need_credentials(_cloud):
    with harness.temporary() as directory, harness.topology(TOPOLOGY) as file:
        keys = directory / "credentials"
        keys.write_text(FILE)
        lab = harness.Lab("signed", file)
        try:
            for wrong, why in ((("--http", "0.0.0.0:0"), "--credentials FILE"),
                               (("--http", "nowhere:0"), "write a port"),
                               (("--credentials", directory / "none"), "No such file"),
                               (("--http", "192.0.2.77:0", "--credentials", keys),
                                "no such address")):
                done = harness.vpclab("up", file, "--lab", lab.name, *wrong)
                check(done.returncode == 2 and why in done.stderr, f"{wrong}: {done}")
            answer = json.loads(lab.up("--http", "0.0.0.0:0", "--credentials", keys, "--json"))
            check(answer["http"].startswith("http://127.0.0.1:"), answer)
            # 127.0.0.2 is another address of the machine: 127.0.0.1 alone would not answer.
            other = answer["http"].replace("127.0.0.1", "127.0.0.2")
            check(client(other, "sts").get_caller_identity()["Account"] == ACCOUNT, other)
            refused("AuthFailure", 401, client(other, "ec2", secret="wrong").describe_vpcs)
            port = int(answer["http"].rsplit(":", 1)[1])
            with socket.create_connection(("127.0.0.2", port), timeout=5):
                pass
        finally:
            lab.down()


CHECKS = [keys_right_and_wrong, other_addresses_need_credentials]

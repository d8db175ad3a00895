"""AWS's services behind endpoints, asked by curl: the built-in echo, and an HTTP
server in the network of whoever started the lab."""

import http.server
import json
import threading

from harness import EXAMPLES, check, lab, replaced, topology, vpclab, wait
from onlink import short

FILE = EXAMPLES / "aws-services.yaml"
S3 = "bucket.s3.us-east-1.amazonaws.com"
SQS = "sqs.us-east-1.amazonaws.com"


def aws_services(report):
    with lab("aws-services", FILE, "--wait") as it:
        wait("SQS answers", lambda: it.curl("app", f"http://{SQS}/").returncode == 0)
        with report.part("aws_services the names lead to the endpoint, or to the usual address"):
            check(short(it, "app", SQS) == ["10.6.1.100"], "the private name")
            regional = said(it, "app", f"http://{SQS}/")["vpce"]
            check(regional.startswith("vpce-"), regional)
            check(short(it, "app", S3) == ["1.178.4.1"], "a bucket has S3's public address")
        with report.part("aws_services echo says by which endpoint and from where"):
            by_interface = said(it, "app", f"http://{SQS}/queue?a=b", "-H", "X-Vpclab-Vpce-Id: vpce-forged")
            check(by_interface["path"] == "/queue?a=b" and by_interface["method"] == "GET", by_interface)
            check(by_interface["client"] == "10.6.1.10", by_interface)
            check("forged" not in str(by_interface), by_interface)
            by_gateway = said(it, "app", f"http://{S3}/key", "-X", "PUT", "-d", "x" * 100_000)
            check(by_gateway["method"] == "PUT" and by_gateway["client"] == "10.6.1.10", by_gateway)
            check(by_gateway["vpc"] == by_interface["vpc"], by_gateway)
            check(by_gateway["vpce"] != by_interface["vpce"], "two endpoints")
            check(by_gateway["headers"]["host"] == S3, by_gateway)
        with report.part("aws_services the endpoint's group judges, and there is no TLS"):
            with it.drops("security_group"):
                it.no_way("guest", f"http://{SQS}/")
            done = it.curl("app", f"https://{S3}/")
            check(done.returncode == 7, f"port 443 is refused at once: {done}")
            done = it.exec("app", "ping", "-c", 1, "-W", 2, "1.178.4.1")
            check(done.returncode == 0, "a gateway endpoint takes pings")
            done = it.exec("app", "ping", "-c", 1, "-W", 1, "10.6.1.100")
            check(done.returncode != 0, "an interface endpoint takes none")
        with report.part("aws_services an upstream of yours is told the endpoint, a body comes whole"):
            upstream(it, by_interface)
        done = vpclab("test", FILE)
        check(done.returncode == 0, done.stdout)


def upstream(it, echo):
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, dict(self.headers), len(body)))
            self.send_response(201)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        place = f"http://127.0.0.1:{server.server_port}"
        with topology(replaced(FILE.read_text(), ("sqs: echo", f"sqs: {place}"))) as changed:
            done = vpclab("up", changed, "--lab", it.name)
        check(f"echo → {place}" in done.stdout, done.stdout)
        big = curl(it, "app", f"http://{SQS}/put", "-X", "PUT", "-d", "y" * 100_000)
        check(big.stdout == "y" * 100_000, f"{big.returncode}, {len(big.stdout)} bytes")
        path, headers, length = seen[0]
        check((path, length) == ("/put", 100_000), f"{path} {length}")
        headers = {name.lower(): value for name, value in headers.items()}
        check(headers["x-vpclab-vpce-id"] == echo["vpce"], headers)
        check(headers["x-vpclab-vpc-id"] == echo["vpc"], headers)
        check(headers["x-vpclab-source-ip"] == "10.6.1.10", headers)
        check(headers["host"] == SQS, headers)
    finally:
        server.shutdown()
        server.server_close()
    gone = curl(it, "app", f"http://{SQS}/", "-i")
    check("502" in gone.stdout and place in gone.stdout, gone.stdout)


def curl(it, host, url, *options):
    return it.exec(host, "curl", "-sS", "-m", 5, *options, url)


def said(it, host, url, *options):
    done = curl(it, host, url, *options)
    check(done.returncode == 0, f"{url}: {done}")
    return json.loads(done.stdout)


SCENARIOS = [aws_services]

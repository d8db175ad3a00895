"""A gateway endpoint with real programs: curl through a route, and nothing else."""

from harness import EXAMPLES, check, lab, traced

FILE = EXAMPLES / "s3-gateway.yaml"
S3 = "http://52.216.1.1/"


def s3_gateway(report):
    with lab("s3-gateway", FILE, "--wait") as it:
        with report.part("s3_gateway b061 the service sees the private address"):
            it.eventually_reaches("app", S3)
            it.logs("s3-server", "10.5.1.10 - -")
        with report.part("s3_gateway b071 a group that names the list lets only that out"):
            it.eventually_reaches("app2", "http://52.216.1.1:443/")
            with it.drops("security_group"):
                it.no_way("app2", S3)
        with report.part("s3_gateway a ping comes back, and a subnet without the route has no way"):
            done = it.exec("app", "ping", "-c", 1, "-W", 2, "52.216.1.1")
            check(done.returncode == 0, done.stdout)
            with it.drops("route.none"):
                it.no_way("box", S3)
        with report.part("s3_gateway the trace is that of docs/s3-gateway.md"):
            traced("docs/s3-gateway.md", FILE, "app", "52.216.1.1:80")


SCENARIOS = [s3_gateway]

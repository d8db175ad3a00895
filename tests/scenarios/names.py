"""examples/privatelink-ha.yaml: names of an endpoint in three zones, asked by dig
and used by curl while a zone fails."""

from harness import EXAMPLES, check, lab, vpclab, wait
from onlink import short

FILE = EXAMPLES / "privatelink-ha.yaml"
ALL = {f"10.0.{n}.100" for n in (1, 2, 3)}
NAME = "api.example.com"


def privatelink_ha(report):
    # A name leads everywhere while no zone is known to be healthy.
    with lab("privatelink-ha", FILE, "--wait") as it:
        wait("all zones are healthy", lambda: asked(it, NAME) == ALL, seconds=60)
        regional = endpoint_names(it)
        with report.part("privatelink-ha b084 the regional and the private name lead to all zones"):
            check(asked(it, regional["regional"]) == ALL, "the regional name")
            firsts = {short(it, "client-a", NAME)[0] for _ in range(6)}
            check(firsts == ALL, f"always first: {firsts}")
            check(it.curl("client-a", f"http://{NAME}/").returncode == 0, "curl by the name")
        with report.part("privatelink-ha b085 a zonal name leads to its zone"):
            for letter, address in zip("abc", sorted(ALL)):
                found = asked(it, regional[letter])
                check(found == {address}, f"{letter}: {found}")
                it.reaches("client-a", f"http://{regional[letter]}/")
        with report.part("privatelink-ha: a zone that is down is left out, and comes back"):
            fault(it, "az", "b", "--down")
            others = ALL - {"10.0.2.100"}
            check(asked(it, NAME) == others, "b is still named")
            for _ in range(3):
                it.reaches("client-a", f"http://{NAME}/")
            it.no_way("client-a", f"http://{regional['b']}/")
            fault(it, "az", "b", "--up")
            wait("b is back", lambda: asked(it, NAME) == ALL, seconds=60)
        with report.part("privatelink-ha: a target that stops answering takes its zone out"):
            fault(it, "host", "web-c", "--pause")
            wait("c is left out", lambda: asked(it, NAME) == ALL - {"10.0.3.100"}, seconds=60)
            fault(it, "host", "web-c", "--restore")
            wait("c is back", lambda: asked(it, NAME) == ALL, seconds=60)


def asked(it, name):
    return set(short(it, "client-a", name))


def fault(it, *words):
    done = vpclab("fault", *words, "--lab", it.name)
    check(done.returncode == 0, f"fault {words}: {done.stdout}{done.stderr}")


def endpoint_names(it):
    """The endpoint's names by zone letter, as AWS's API says them."""
    found = it.json("inspect", "api-endpoint")
    text = str(found)
    names = [word.strip("',[]{}") for word in text.split() if "vpce.amazonaws.com" in word]
    by_zone = {}
    for name in names:
        head = name.split(".", 1)[0]
        by_zone[head[-1] if "us-east-1" in head else "regional"] = name
    check(set(by_zone) == {"regional", "a", "b", "c"}, f"{names}")
    return by_zone


SCENARIOS = [privatelink_ha]

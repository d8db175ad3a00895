"""An example: what the PrivateLink topology promises, with real programs."""

import pytest

from vpclab_pytest import VpclabError

TOPOLOGY = "../privatelink.yaml"
SERVICE = "http://10.0.1.100/"


def test_the_service_answers_at_the_endpoint(lab):
    done = lab.exec("client", "curl", "-sS", "-m", "5", "-w", "%{remote_ip}", "-o", "/dev/null",
                    SERVICE)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "10.0.1.100"


def test_the_provider_starts_nothing_toward_the_consumer(lab):
    assert lab.exec("server", "curl", "-sS", "-m", "1", SERVICE).returncode == 28
    assert lab.trace("server", "10.0.1.100:80")["code"] == "ENI_ADDRESS_RESTRICTION"


def test_a_trace_says_which_rule_denies_and_what_to_change(lab):
    answer = lab.trace("client", "service:443")
    assert not answer["reachable"]
    assert answer["code"] == "ENI_SG_RULES_MISMATCH"
    assert "add an outbound rule" in answer["fix"]


def test_the_server_meets_the_load_balancer_not_the_client(lab):
    with lab.capture("server") as packets:
        assert lab.exec("client", "curl", "-sS", "-m", "5", SERVICE).returncode == 0
    recorded = packets.read_bytes()
    assert bytes([10, 0, 2, 50]) in recorded
    assert bytes([10, 0, 1, 10]) not in recorded


def test_targets_are_healthy(lab):
    (group,) = lab.ps()["target_groups"]
    assert [target["health"] for target in group["targets"]] == ["healthy"]


def test_mistakes_are_explained(lab):
    with pytest.raises(VpclabError, match="no host or ENI is named `nobody`"):
        lab.trace("nobody", "service:80")

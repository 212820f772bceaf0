"""Resources of manifests, and their faults with their places."""

import pytest

from tests.builders import domain, identity
from troth.resources.faults import FaultyManifests
from troth.resources.manifests import is_ours, parse_resource


def test_fault_names_file_object_field_and_fix() -> None:
    wrong = identity(ports=["HTTPS"], unheardOf=1)
    with pytest.raises(FaultyManifests) as refusal:
        parse_resource(wrong, "shop.yaml")
    here = "shop.yaml: ServiceIdentity shop/payments: "
    unknown, misspelt = sorted(str(fault) for fault in refusal.value.faults)
    assert unknown == here + "spec.unheardOf: unknown field; remove it or correct its spelling"
    assert misspelt.startswith(here + "spec.workload.ports[0].name: write a port name: up to 15")


def test_unknown_kind_is_reported_with_the_known_ones() -> None:
    with pytest.raises(
        FaultyManifests, match=r"unknown; did you mean TrustDomain\? write one of TrustDomain, Serv"
    ):
        parse_resource({**domain(), "kind": "TrustDomaine"})


def test_only_resources_of_the_api_group_are_troths() -> None:
    assert is_ours(domain())
    assert not is_ours({"apiVersion": "v1", "kind": "Service"})
    assert not is_ours({"apiVersion": "other.troth.dev/v1", "kind": "TrustDomain"})

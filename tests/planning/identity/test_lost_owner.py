"""An owned object without its owner, as backup tools restore it."""

import copy

import pytest

from tests.builders import Cluster, authority_secret, domain, identity, namespace
from troth.planning.owned_objects import policy_ref, secret_ref
from troth.resources.references import Ref
from troth.world.keys import identity_key

PAYMENTS = Ref("shop", "payments")


@pytest.mark.parametrize(
    ("kind", "ref", "condition"),
    [
        ("Secret", secret_ref(PAYMENTS), "CertificateIssued"),
        ("NetworkPolicy", policy_ref(PAYMENTS), "NetworkEnforced"),
    ],
)
def test_object_without_its_owner_is_kept_and_the_message_says_how_to_restore_it(
    kind: str, ref: Ref, condition: str
) -> None:
    usual = namespace("shop", domain="production"), domain(), authority_secret()
    cluster = Cluster.of(*usual, identity("payments")).settle()
    restored = copy.deepcopy(cluster.objects[kind, ref])
    restored["metadata"]["ownerReferences"] = []
    cluster.put(restored)
    stored = copy.deepcopy(cluster.objects[kind, ref])
    cluster.settle()
    assert cluster.objects[kind, ref] == stored
    told = cluster.condition(identity_key(PAYMENTS), condition)
    assert (told["status"], told["reason"]) == ("False", "Conflict")
    assert told["message"] == (
        f"{kind} {ref} has another owner, or lost its owner in a restore, so Troth does not change "
        "it; run `troth restore` after a restore, or delete it"
    )

"""Reviews of dead letters for the tests: manifests as users write them, valid and invalid."""

from typing import Any

from tests.builders import Manifest
from tests.changed_manifests import GONE


def dead_letter_review(
    name: str = "schema-is-fixed",
    namespace: str = "shop",
    *,
    policy: str = "orders",
    action: str = "Redrive",
    requested_by: str = "alice",
    approved_by: str = "",
    **spec: Any,
) -> Manifest:
    """Return a review of the schema failures of a policy, approved if somebody approves it."""
    approval = {"approval": {"approvedBy": approved_by}} if approved_by else {}
    return {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "DeadLetterReview",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "policy": {"name": policy},
            "select": {"reason": "SchemaInvalid", "limit": 100},
            "action": action,
            "reason": "the consumer accepts the new schema since release 42",
            "requestedBy": requested_by,
        }
        | approval
        | spec,
    }


# Valid and invalid manifests

BASES: dict[str, Manifest] = {
    "whole": dead_letter_review(
        select={
            "ids": ["0b7c_-", "Zq9"],
            "reason": "SchemaInvalid",
            "consumer": {"name": "fulfilment"},
            "producer": {"name": "checkout", "namespace": "web"},
            "tenant": "Straße 1",
            "since": "2026-11-24T12:00:00Z",
            "until": "2026-11-24T13:30:00+01:00",
            "limit": 1_000_000,
        },
        rate="600/m",
        approval={"approvedBy": "oidc:bob@example.com", "selection": "A" * 43},
        withdrawal={"withdrawnBy": "Ærin Müller", "reason": "the consumer is not fixed after all"},
    ),
    "bare": dead_letter_review(select={}, action="Discard"),
    "approved": dead_letter_review(action="Quarantine", approved_by="bob"),
}
UNPRINTABLE_USERS = ("alice\n", "al\tice", "al\x00ice", "\u200balice", "\u202eecila", "al\u2028ice")
WRONG: list[tuple[str, str, Any, str, str]] = [
    # base, changed path, value, path of the error, words of the message
    ("bare", "spec.policy", GONE, "spec.policy", "required; add it"),
    ("bare", "spec.policy.name", "a_b", "spec.policy.name", "write a Kubernetes name"),
    ("bare", "spec.policy.namespace", "shop", "", "unknown field; remove it"),
    ("bare", "spec.action", GONE, "spec.action", "required; add it"),
    ("bare", "spec.action", "Delete", "spec.action", "'Redrive', 'Discard' or 'Quarantine'"),
    ("bare", "spec.reason", GONE, "spec.reason", "required; add it"),
    ("bare", "spec.reason", "...", "spec.reason", "write plain words"),
    ("bare", "spec.requestedBy", GONE, "spec.requestedBy", "required; add it"),
    ("bare", "spec.requestedBy", "", "spec.requestedBy", "at least 1 character"),
    ("bare", "spec.requestedBy", "a" * 257, "spec.requestedBy", "at most 256 characters"),
    ("bare", "spec.requestedBy", ["alice"], "spec.requestedBy", "write text; put it in quotes"),
    ("bare", "spec.select.ids", [], "spec.select.ids", "at least 1 item"),
    ("bare", "spec.select.ids", ["a"] * 2, "", "once; it is listed twice"),
    ("bare", "spec.select.ids", [f"a{n}" for n in range(257)], "", "at most 256 items"),
    ("bare", "spec.select.ids", ["a b"], "", "write the ID of a dead letter"),
    ("bare", "spec.select.ids", ["a" * 65], "", "at most 64 characters"),
    ("bare", "spec.select.reason", "schemaInvalid", "", "write a reason in CamelCase"),
    ("bare", "spec.select.reason", "Schema Invalid", "", "write a reason in CamelCase"),
    ("bare", "spec.select.consumer", {}, "spec.select.consumer.name", "required; add it"),
    ("bare", "spec.select.producer.name", "a_b", "", "write a Kubernetes name"),
    ("bare", "spec.select.producer", {"name": "a", "namespace": "a.b"}, "", "write a namespace"),
    ("bare", "spec.select.tenant", "acme\n", "", "write a tenant in printable characters"),
    ("bare", "spec.select.since", "yesterday", "", "write an RFC 3339 time"),
    ("bare", "spec.select.until", "2026-02-29T00:00:00Z", "", "write an RFC 3339 time"),
    ("whole", "spec.select.since", "2026-11-24T12:30:01Z", "spec.select", "choose a since that is"),
    ("bare", "spec.select.limit", 0, "spec.select.limit", "write a number of at least 1"),
    ("bare", "spec.select.limit", 1_000_001, "spec.select.limit", "write a number of at most"),
    ("bare", "spec.select.limit", "10", "spec.select.limit", "write a whole number"),
    ("bare", "spec.select.everything", True, "", "unknown field; remove it"),
    ("bare", "spec.rate", "0/s", "spec.rate", "write letters per second, minute or hour"),
    ("bare", "spec.rate", "50", "spec.rate", "write letters per second, minute or hour"),
    ("bare", "spec.rate", "100000/s", "spec.rate", "write letters per second, minute or hour"),
    ("bare", "spec.approval", {}, "spec.approval.approvedBy", "required; add it"),
    ("approved", "spec.approval.approvedBy", "alice", "spec", "let another user approve"),
    ("approved", "spec.requestedBy", "bob", "spec", "let another user approve"),
    ("approved", "spec.approval.selection", "", "", "write the value of status.selection.digest"),
    ("approved", "spec.approval.selection", "A" * 42, "", "write the value of status.selection"),
    ("approved", "spec.approval.selection", "+" * 43, "", "write the value of status.selection"),
    ("bare", "spec.withdrawal", {"withdrawnBy": "a"}, "spec.withdrawal.reason", "required; add it"),
    ("bare", "spec.withdrawal", {"reason": "wrong"}, "spec.withdrawal.withdrawnBy", "required"),
    ("bare", "spec.approvals", 1, "", "unknown field; did you mean approval?"),
    *(
        (base, path, each, path, "write the name of a user as kubectl auth whoami shows it")
        for base, path in (
            ("bare", "spec.requestedBy"),
            ("approved", "spec.approval.approvedBy"),
            ("whole", "spec.withdrawal.withdrawnBy"),
        )
        for each in UNPRINTABLE_USERS
    ),
]

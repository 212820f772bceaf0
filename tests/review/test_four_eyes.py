"""Whether the policy in the cluster is the chart's, and whether a review may run."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from tests.builders import Manifest
from tests.changed_manifests import GONE, changed
from tests.reviews import dead_letter_review
from troth.documents.identity.document import Messages
from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.review.four_eyes import (
    PROPAGATION,
    Admission,
    Decision,
    Verdict,
    admission_of,
    expected_spec,
    fault,
    verdict_of,
)

NAME = "troth-dead-letter-reviews"
MADE = "2026-11-24T12:00:00Z"
CREATED = datetime(2026, 11, 24, 13, tzinfo=UTC)
DIGEST, OTHER_DIGEST = "A" * 43, "B" * 43
IN_FORCE = Admission(None, CREATED - timedelta(minutes=1))


def policy() -> Manifest:
    """Return the policy as an API server returns it, with its defaults."""
    spec = copy.deepcopy(dict(expected_spec()))
    constraints = spec["matchConstraints"]
    constraints |= {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}
    constraints["resourceRules"][0]["scope"] = "*"
    spec["variables"][0]["expression"] = '["system:serviceaccount:troth-system:troth-review"]'
    return {"metadata": {"name": NAME, "creationTimestamp": MADE}, "spec": spec}


def binding() -> Manifest:
    metadata = {"name": NAME, "creationTimestamp": MADE}
    return {"metadata": metadata, "spec": {"policyName": NAME, "validationActions": ["Deny"]}}


def test_policy_of_the_chart_has_no_fault() -> None:
    assert fault(policy(), binding()) is None
    allowed = changed(policy(), "spec.variables.1.expression", "true")
    assert fault(allowed, binding()) is None


def test_policy_that_also_audits_has_no_fault() -> None:
    assert fault(policy(), changed(binding(), "spec.validationActions", ["Deny", "Audit"])) is None


def test_missing_policy_or_binding_is_a_fault() -> None:
    assert "ValidatingAdmissionPolicy of DeadLetterReviews is missing" in str(fault(None, None))
    assert "is missing" in str(fault(None, binding()))
    assert f"ValidatingAdmissionPolicyBinding {NAME} is missing" in str(fault(policy(), None))


@pytest.mark.parametrize("at", range(len(expected_spec()["validations"])))
def test_removed_or_changed_rule_is_a_fault(at: int) -> None:
    message = expected_spec()["validations"][at]["message"]
    removed = policy()
    del removed["spec"]["validations"][at]
    assert f'the rule "{message}" is missing' in str(fault(removed, binding()))
    for field, value in (("expression", "true"), ("message", "no"), ("reason", GONE)):
        weak = changed(policy(), f"spec.validations.{at}.{field}", value)
        assert f'the rule "{message}" is missing or differs' in str(fault(weak, binding()))


@pytest.mark.parametrize("at", range(2, len(expected_spec()["variables"])))
def test_changed_variable_is_a_fault(at: int) -> None:
    weak = changed(policy(), f"spec.variables.{at}.expression", "false")
    assert "the variable" in str(fault(weak, binding()))


def test_more_rules_or_variables_are_a_fault() -> None:
    more = policy()
    more["spec"]["validations"].append({"expression": "true", "message": "always"})
    assert "has more rules" in str(fault(more, binding()))
    more = policy()
    more["spec"]["variables"].append({"name": "user", "expression": '"bob"'})
    assert "spec.variables has other names" in str(fault(more, binding()))


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("spec.failurePolicy", "Ignore", 'spec.failurePolicy is "Ignore", not "Fail"'),
        ("spec.failurePolicy", GONE, "spec.failurePolicy is null"),
        (
            "spec.matchConditions",
            [{"name": "never", "expression": "false"}],
            "spec.matchConditions is",
        ),
        ("spec.paramKind", {"apiVersion": "v1", "kind": "ConfigMap"}, "spec.paramKind is"),
        ("spec.matchConstraints.matchPolicy", "Exact", "spec.matchConstraints selects other"),
        ("spec.matchConstraints.namespaceSelector.matchLabels", {"a": "b"}, "spec.matchCon"),
        ("spec.matchConstraints.objectSelector.matchLabels", {"a": "b"}, "spec.matchConstraints"),
        ("spec.matchConstraints.excludeResourceRules", [{"resources": ["*"]}], "spec.matchCon"),
        ("spec.matchConstraints.resourceRules.0.operations", ["CREATE"], "spec.matchConstraints"),
        ("spec.matchConstraints.resourceRules.0.resourceNames", ["a"], "spec.matchConstraints"),
        ("spec.matchConstraints.resourceRules.0.resources", ["deadletterreviews"], "spec.match"),
        ("spec.matchConstraints.resourceRules.0.scope", "Cluster", "spec.matchConstraints"),
        ("spec.variables.0.expression", "[variables.user]", "the variable workers is"),
        ("spec.variables.0.expression", '"anybody"', "the variable workers is"),
        ("spec.variables.1.expression", "true || false", "the variable serviceAccountsMayApprove"),
        ("metadata.deletionTimestamp", MADE, "is being deleted"),
    ],
)
def test_changed_policy_is_a_fault(path: str, value: Any, complaint: str) -> None:
    found = fault(changed(policy(), path, value), binding())
    assert complaint in str(found)
    assert "install the chart of this version" in str(found)


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("spec.validationActions", ["Audit"], 'spec.validationActions is ["Audit"] and lacks Deny'),
        ("spec.validationActions", ["Warn"], "lacks Deny"),
        ("spec.policyName", "other", 'spec.policyName is "other"'),
        ("spec.matchResources", {"namespaceSelector": {"matchLabels": {"a": "b"}}}, "excludes"),
        ("spec.matchResources", {"excludeResourceRules": [{"resources": ["*"]}]}, "excludes"),
        ("spec.paramRef", {"name": "a"}, "spec.paramRef is set"),
        ("metadata.deletionTimestamp", MADE, "is being deleted"),
    ],
)
def test_changed_binding_is_a_fault(path: str, value: Any, complaint: str) -> None:
    assert complaint in str(fault(policy(), changed(binding(), path, value)))


def test_names_are_proven_from_the_younger_of_policy_and_binding_on() -> None:
    later = changed(binding(), "metadata.creationTimestamp", "2026-11-24T12:30:00Z")
    since = admission_of(policy(), later).since
    assert since == datetime(2026, 11, 24, 12, 30, tzinfo=UTC) + PROPAGATION
    assert admission_of(policy(), None).fault is not None


# Verdicts


def review(
    created: datetime = CREATED, change: Callable[[Manifest], Any] | None = None, **spec: Any
) -> DeadLetterReview:
    manifest = dead_letter_review(**spec)
    manifest["metadata"]["creationTimestamp"] = created.isoformat()
    if change is not None:
        change(manifest)
    return DeadLetterReview.parse(manifest)


def entry(approvals: int) -> Messages:
    """Return the entry of a policy whose reviews need this many approvals."""
    dead_letter = {"topic": "prod.dead", "review": "Required", "approvals": approvals}
    document: Manifest = {
        "policy": "shop/orders",
        "action": "Review",
        "broker": "messaging/main",
        "type": "kafka",
        "topic": "prod.orders.v1",
        "principal": "troth-review",
        "environment": "production",
        "context": {"require": []},
        "deadLetter": dead_letter,
    }
    return Messages.model_validate(document)


def verdict(
    reviewed: DeadLetterReview,
    *,
    approvals: int = 1,
    admission: Admission = IN_FORCE,
    selection: str | None = DIGEST,
) -> Verdict:
    return verdict_of(reviewed, entry(approvals), admission, selection)


def test_review_waits_for_the_approval_of_another_user() -> None:
    found = verdict(review())
    assert (found.decision, found.reason) == (Decision.AWAIT_APPROVAL, "ApprovalRequired")
    assert "other than alice" in found.message
    assert "TopicPolicy shop/orders" in found.message


def test_approved_review_runs() -> None:
    found = verdict(review(approved_by="bob"))
    assert found == Verdict(Decision.RUN, "Approved", "bob approved the review")


def test_review_runs_on_request_alone_if_the_policy_asks_for_no_approval() -> None:
    found = verdict(review(), approvals=0)
    assert (found.decision, found.reason) == (Decision.RUN, "Requested")
    assert "TopicPolicy shop/orders" in found.message


@pytest.mark.parametrize("approvals", [0, 1])
def test_nothing_runs_while_the_policy_of_the_cluster_has_a_fault(approvals: int) -> None:
    found = verdict(
        review(approved_by="bob"), approvals=approvals, admission=admission_of(policy(), None)
    )
    assert (found.decision, found.reason) == (Decision.WAIT, "AdmissionPolicyMissing")
    assert f"ValidatingAdmissionPolicyBinding {NAME} is missing" in found.message


@pytest.mark.parametrize("approvals", [0, 1])
def test_review_from_before_the_policy_is_refused(approvals: int) -> None:
    """Nobody has checked its names, which the policy now protects from changes."""
    since = admission_of(policy(), binding()).since
    assert since is not None
    early = review(since - timedelta(seconds=1), approved_by="bob")
    found = verdict(early, approvals=approvals, admission=Admission(None, since))
    assert (found.decision, found.reason) == (Decision.REFUSE, "NamesNotProven")
    assert "2026-11-24T12:00:04Z" in found.message
    assert verdict(review(since), approvals=0, admission=Admission(None, since)).decision is (
        Decision.RUN
    )


def test_approval_of_another_selection_is_refused() -> None:
    seen = {"approvedBy": "bob", "selection": DIGEST}
    assert verdict(review(approval=seen)).decision is Decision.RUN
    found = verdict(review(approval=seen), selection=OTHER_DIGEST)
    assert (found.decision, found.reason) == (Decision.REFUSE, "SelectionChanged")
    assert DIGEST in found.message
    assert OTHER_DIGEST in found.message
    assert verdict(review(approval=seen), selection=None).decision is Decision.WAIT


def test_withdrawn_or_deleted_review_ends_even_without_the_policy() -> None:
    withdrawal = {"withdrawnBy": "carol", "reason": "wrong letters"}
    gone = review(approved_by="bob", withdrawal=withdrawal)
    found = verdict(gone, admission=Admission("missing"))
    assert found == Verdict(
        Decision.WITHDRAW, "Withdrawn", "carol withdrew the review: wrong letters"
    )
    deleted = review(
        approved_by="bob", change=lambda each: each["metadata"].update(deletionTimestamp=MADE)
    )
    assert verdict(deleted, admission=Admission("missing")).decision is Decision.WITHDRAW


def test_own_approval_is_no_review_at_all() -> None:
    with pytest.raises(ValidationError, match="nobody approves an own request"):
        review(approved_by="alice")

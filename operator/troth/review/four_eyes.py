"""Four eyes: whether the API server has proven the names in a review, and whether it may run.

A ValidatingAdmissionPolicy of the chart holds each name to the user who writes it. The names count
only if the cluster has the rules of `admission.yaml`, all of them and unchanged.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any

import yaml

from troth.documents.identity.document import Messages
from troth.resources.metadata import is_terminating
from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.resources.schema.scalars import format_time

Manifest = Mapping[str, Any]

PROPAGATION = timedelta(seconds=5)
"""Time until each API server enforces a new policy. It takes a second or two, and times have
whole seconds."""

_MATCH_DEFAULTS: Manifest = {
    "matchPolicy": "Equivalent",
    "namespaceSelector": {},
    "objectSelector": {},
}
_KIND = "ValidatingAdmissionPolicy"
_REMEDY = "install the chart of this version with review.admissionPolicy"


@dataclass(frozen=True, slots=True)
class Admission:
    """What the cluster has of the policy: what is wrong with it, or since when it is in force."""

    fault: str | None = None
    since: datetime | None = None


class Decision(StrEnum):
    """What the worker does with a review."""

    RUN = "Run"
    WAIT = "Wait"
    AWAIT_APPROVAL = "AwaitApproval"
    REFUSE = "Refuse"
    WITHDRAW = "Withdraw"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Decision about a review, with the reason and the message of its condition."""

    decision: Decision
    reason: str
    message: str


@cache
def expected_spec() -> Manifest:
    """Return the spec of the policy, with the chart's values as the file has them."""
    text = resources.files("troth.review").joinpath("admission.yaml").read_text("utf-8")
    spec: Manifest = yaml.safe_load(text)
    return spec


def admission_of(policy: Manifest | None, binding: Manifest | None) -> Admission:
    """Return what the cluster has of the policy; both are None if the cluster lacks them."""
    found = fault(policy, binding)
    if found is not None or policy is None or binding is None:
        return Admission(found)
    return Admission(None, max(map(_created, (policy, binding))) + PROPAGATION)


def fault(policy: Manifest | None, binding: Manifest | None) -> str | None:
    """Return how the policy or its binding differs from the chart's, None if both are unchanged."""
    if policy is None:
        return f"the {_KIND} of DeadLetterReviews is missing; {_REMEDY}"
    name = policy["metadata"]["name"]
    if binding is None:
        return f"{_KIND}Binding {name} is missing, so no rule is in force; {_REMEDY}"
    for manifest, kind in ((policy, _KIND), (binding, f"{_KIND}Binding")):
        if manifest["metadata"].get("deletionTimestamp"):
            return f"{kind} {manifest['metadata']['name']} is being deleted; {_REMEDY}"
    difference = _difference_of_policy(policy["spec"])
    if difference:
        return f"{_KIND} {name} is not the chart's: {difference}; {_REMEDY}"
    difference = _difference_of_binding(binding["spec"], name)
    if difference:
        bound = binding["metadata"]["name"]
        return f"{_KIND}Binding {bound} is not the chart's: {difference}; {_REMEDY}"
    return None


def _difference_of_policy(spec: Manifest) -> str:
    expected = expected_spec()
    for field in sorted({*expected, *spec} - {"validations", "variables", "matchConstraints"}):
        if spec.get(field) != expected.get(field):
            return f"spec.{field} is {_shown(spec.get(field))}, not {_shown(expected.get(field))}"
    if _matches(spec.get("matchConstraints", {})) != _matches(expected["matchConstraints"]):
        return "spec.matchConstraints selects other resources or operations"
    found = spec.get("validations", [])
    for rule in expected["validations"]:
        if rule not in found:
            return f'the rule "{rule["message"]}" is missing or differs'
    if found != expected["validations"]:
        return "it has more rules, or another order of them"
    return _difference_of_variables(spec.get("variables", []), expected["variables"])


def _difference_of_variables(found: Sequence[Manifest], expected: Sequence[Manifest]) -> str:
    if [each["name"] for each in found] != [each["name"] for each in expected]:
        return "spec.variables has other names, or another order of them"
    for each, wanted in zip(found, expected, strict=True):
        allowed = _OF_THE_CHART.get(each["name"])
        value = each.get("expression")
        if not (allowed(value) if allowed else value == wanted["expression"]):
            return f"the variable {each['name']} is {_shown(value)}"
    return ""


def _is_list_of_users(text: object) -> bool:
    try:
        users = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return False
    return isinstance(users, list) and all(isinstance(each, str) for each in users)


_OF_THE_CHART: Mapping[str, Callable[[object], bool]] = {
    "workers": _is_list_of_users,
    "serviceAccountsMayApprove": lambda text: text in ("true", "false"),
}
"""Variables whose values the chart sets, with the check of a value."""


def _difference_of_binding(spec: Manifest, policy: str) -> str:
    if spec.get("policyName") != policy:
        return f"spec.policyName is {_shown(spec.get('policyName'))}, not {_shown(policy)}"
    if "Deny" not in (actions := spec.get("validationActions", [])):
        return f"spec.validationActions is {_shown(actions)} and lacks Deny"
    if _matches(spec.get("matchResources") or {}) != _matches({}):
        return "spec.matchResources excludes some DeadLetterReviews"
    if unknown := sorted(set(spec) - {"policyName", "validationActions", "matchResources"}):
        return f"spec.{unknown[0]} is set"
    return ""


def _matches(selected: Manifest) -> Manifest:
    """Return what a policy or a binding selects, with the defaults that the API server adds."""
    rules = [{"scope": "*"} | rule for rule in selected.get("resourceRules", [])]
    return {**_MATCH_DEFAULTS, **selected, "resourceRules": rules}


def _shown(value: object) -> str:
    return json.dumps(value)[:100]


def _created(manifest: Manifest) -> datetime:
    return datetime.fromisoformat(manifest["metadata"]["creationTimestamp"])


def withdrawal_of(review: DeadLetterReview) -> Verdict | None:
    """Return the verdict of a review that is withdrawn or being deleted, None for others."""
    if review.spec.withdrawal is not None:
        user, why = review.spec.withdrawal.withdrawn_by, review.spec.withdrawal.reason
        return Verdict(Decision.WITHDRAW, "Withdrawn", f"{user} withdrew the review: {why}")
    if is_terminating(review):
        return Verdict(Decision.WITHDRAW, "Deleted", "the review is being deleted")
    return None


def verdict_of(
    review: DeadLetterReview, entry: Messages, admission: Admission, selection: str | None
) -> Verdict:
    """Return whether a review may run.

    `entry` is that of the policy in `identity.json`. `selection` is the digest of the letters that
    the review selects now, None if they are not known yet.
    """
    withdrawal = withdrawal_of(review)
    if withdrawal is not None:
        return withdrawal
    if admission.fault is not None:
        return Verdict(Decision.WAIT, "AdmissionPolicyMissing", admission.fault)
    created, since = review.metadata.creation_timestamp, admission.since
    if created is None or since is None or created < since:
        return Verdict(Decision.REFUSE, "NamesNotProven", _unproven(created, since))
    return _verdict_of_approval(review, entry, selection)


def _unproven(created: datetime | None, since: datetime | None) -> str:
    at, then = (format_time(each) if each else "an unknown time" for each in (created, since))
    return (
        f"the review was created at {at}, and the API server proves its names since {then}; "
        "create a new DeadLetterReview"
    )


def _verdict_of_approval(
    review: DeadLetterReview, entry: Messages, selection: str | None
) -> Verdict:
    approval = review.spec.approval
    if approval is None and (entry.dead_letter is None or entry.dead_letter.approvals):
        return Verdict(
            Decision.AWAIT_APPROVAL,
            "ApprovalRequired",
            f"a user other than {review.spec.requested_by}, with the verb approve on TopicPolicy "
            f"{review.policy}, must approve the review; use troth deadletters approve",
        )
    if approval is not None and approval.selection is not None:
        if selection is None:
            return Verdict(Decision.WAIT, "NotSelected", "the letters are not selected yet")
        if approval.selection != selection:
            return Verdict(
                Decision.REFUSE,
                "SelectionChanged",
                f"{approval.approved_by} approved the selection {approval.selection}, and the "
                f"review selects {selection} now; create a new DeadLetterReview",
            )
    if approval is None:
        return Verdict(
            Decision.RUN, "Requested", f"TopicPolicy {review.policy} asks for no approval"
        )
    return Verdict(Decision.RUN, "Approved", f"{approval.approved_by} approved the review")

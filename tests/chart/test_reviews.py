"""Reviews of dead letters in the chart: the policy of four eyes, and the roles of users."""

import json
from typing import Any

import pytest
import yaml

from tests.chart.rendering import CHART, REPOSITORY, one, rendered
from troth.review.four_eyes import fault

NAME = "troth-dead-letter-reviews"


def policy_and_binding(*values: str) -> tuple[dict[str, Any], dict[str, Any]]:
    objects = rendered(*values)
    return (
        one(objects, "ValidatingAdmissionPolicy", NAME),
        one(objects, "ValidatingAdmissionPolicyBinding", NAME),
    )


def variables(policy: dict[str, Any]) -> dict[str, Any]:
    return {
        each["name"]: json.loads(each["expression"]) for each in policy["spec"]["variables"][:2]
    }


def test_rules_of_the_chart_and_of_the_package_are_the_same_file() -> None:
    packaged = REPOSITORY / "operator" / "troth" / "review" / "admission.yaml"
    assert (CHART / "files" / "review-admission.yaml").read_text() == packaged.read_text()


@pytest.mark.parametrize(
    "values",
    [
        (),
        ("review.serviceAccountsMayApprove=true", "review.identity=dead-letters"),
        ("fullnameOverride=troth", "namespaces={shop}"),
    ],
    ids=["defaults", "other values", "of some namespaces"],
)
def test_worker_finds_no_fault_in_the_policy_of_the_chart(values: tuple[str, ...]) -> None:
    assert fault(*policy_and_binding(*values)) is None


def test_policy_names_the_worker_and_excludes_service_accounts() -> None:
    worker = "system:serviceaccount:troth-system:troth-review"
    assert variables(policy_and_binding()[0]) == {
        "workers": [worker],
        "serviceAccountsMayApprove": False,
    }
    other, _ = policy_and_binding("review.identity=a", "review.serviceAccountsMayApprove=true")
    assert variables(other) == {
        "workers": ["system:serviceaccount:troth-system:a"],
        "serviceAccountsMayApprove": True,
    }


def test_policy_can_be_left_out() -> None:
    names = {each["metadata"]["name"] for each in rendered("review.admissionPolicy=false")}
    assert NAME not in names


def test_messages_of_the_policy_fit_into_one_line() -> None:
    rules = yaml.safe_load((CHART / "files" / "review-admission.yaml").read_text())["validations"]
    for rule in rules:
        assert "\n" not in rule["message"]
        assert rule["reason"] == "Forbidden"


# Roles of users


def role(name: str, *values: str, kind: str = "ClusterRole") -> dict[tuple[str, ...], list[str]]:
    """Return the verbs of a role by resources."""
    rules = one(rendered(*values), kind, f"troth-{name}")["rules"]
    return {tuple(rule["resources"]): rule["verbs"] for rule in rules}


def aggregated_to(name: str) -> set[str]:
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    labels = one(rendered(), "ClusterRole", f"troth-{name}")["metadata"]["labels"]
    return {label.removeprefix(prefix) for label in labels if label.startswith(prefix)}


def test_approvers_may_see_letters_approve_and_change_reviews_and_nothing_else() -> None:
    assert role("approve") == {
        ("topicpolicies",): ["get", "list", "watch", "approve"],
        ("topicpolicies/deadletters",): ["get", "list"],
        ("deadletterreviews",): ["get", "list", "watch", "update", "patch"],
    }


def test_no_role_of_a_team_includes_approval_or_payload() -> None:
    assert aggregated_to("approve") == set()
    assert aggregated_to("deadletters-payload") == set()
    for each in (each for each in rendered() if each["kind"] == "ClusterRole"):
        name = each["metadata"]["name"]
        verbs = {verb for rule in each["rules"] for verb in rule["verbs"]}
        assert ("approve" in verbs) == (name == "troth-approve")
        assert ("payload" in verbs) == (name == "troth-deadletters-payload")


def test_editors_and_not_viewers_see_dead_letters() -> None:
    assert role("deadletters") == {("topicpolicies/deadletters",): ["get", "list"]}
    assert aggregated_to("deadletters") == {"edit", "admin"}
    assert role("deadletters-payload") == {
        ("topicpolicies/deadletters",): ["get", "list", "payload"]
    }


def test_role_to_reach_the_worker_is_of_its_namespace_alone_and_bound_to_nobody() -> None:
    enabled = "review.enabled=true"
    assert role("review-reach", enabled, kind="Role") == {
        ("serviceidentities",): ["get"],
        ("configmaps",): ["list"],
        ("pods",): ["list"],
        ("pods/portforward",): ["get", "create"],
    }
    objects = rendered(enabled)
    reach = one(objects, "Role", "troth-review-reach")
    assert reach["metadata"]["namespace"] == "troth-system"
    assert reach["rules"][0]["resourceNames"] == ["troth-review"]
    bound = [each["roleRef"]["name"] for each in objects if "roleRef" in each]
    assert "troth-review-reach" not in bound
    for values in ((enabled, "rbac.userRoles=false"), ()):
        names = {each["metadata"]["name"] for each in rendered(*values)}
        assert "troth-review-reach" not in names


def test_no_role_of_users_writes_a_status() -> None:
    for name in ("view", "edit", "approve", "rotate", "except", "deadletters"):
        assert not any("status" in each for resources in role(name) for each in resources)

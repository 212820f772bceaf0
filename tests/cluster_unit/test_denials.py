"""Requests that RBAC denies: the log and the conditions name the right and the chart value."""

import pytest

from troth.cluster.denials import denial, logged
from troth.cluster.errors import ApiError

OPERATOR = "system:serviceaccount:troth-system:troth"
FOUND = f'User "{OPERATOR}" cannot list resource "secrets" in API group "" at the cluster scope'


@pytest.mark.parametrize(
    ("message", "right", "value"),
    [
        (
            f"secrets is forbidden: {FOUND}",
            "list secrets at the cluster scope",
            "rbac.create",
        ),
        (
            (
                f'networkpolicies.networking.k8s.io "web" is forbidden: User "{OPERATOR}" cannot '
                'patch resource "networkpolicies" in API group "networking.k8s.io" in the '
                'namespace "shop": RBAC: clusterrole.rbac.authorization.k8s.io "troth" not found'
            ),
            "patch networkpolicies.networking.k8s.io in the namespace shop",
            "rbac.create",
        ),
        (
            (
                f'User "{OPERATOR}" cannot patch resource "trustdomains/status" in API group '
                '"troth.dev" at the cluster scope'
            ),
            "patch trustdomains.troth.dev/status at the cluster scope",
            "rbac.create",
        ),
        (
            (
                f'deployments.apps "web" is forbidden: User "{OPERATOR}" cannot patch resource '
                '"deployments" in API group "apps" in the namespace "shop"'
            ),
            "patch deployments.apps in the namespace shop",
            "rollouts.enabled",
        ),
    ],
)
def test_denial_names_account_right_and_chart_value(message: str, right: str, value: str) -> None:
    told = denial(ApiError(403, "Forbidden", message))
    assert told == (
        f"ServiceAccount troth-system/troth has no right to {right}; set the chart value {value} "
        "to true, or grant the right in a role of your own"
    )


@pytest.mark.parametrize(
    "error",
    [
        ApiError(404, "NotFound", f"secrets is forbidden: {FOUND}"),
        ApiError(403, "Forbidden", "unable to create new content in namespace shop"),
        ApiError(403, "Forbidden", f'admission webhook "guard" denied the request: {FOUND}'),
        ApiError(403, "Forbidden", FOUND.replace("secrets", "se crets")),
    ],
)
def test_other_errors_are_no_denials(error: ApiError) -> None:
    assert not denial(error)
    assert logged(error) == {"status": error.status, "reason": error.reason}


def test_denied_user_who_is_no_service_account_is_named() -> None:
    told = denial(ApiError(403, "Forbidden", FOUND.replace(OPERATOR, "ann@example.com")))
    assert told.startswith("user ann@example.com has no right to list secrets")

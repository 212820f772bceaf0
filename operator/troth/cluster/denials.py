"""Requests that RBAC denies: which right the ServiceAccount lacks, and what grants it.

The API server checks rights that a request does not name, such as create for a server-side apply,
so only its message tells which one is missing.
"""

import re

from troth.cluster.errors import ApiError

FORBIDDEN = 403
ROLES, ROLLOUTS = "rbac.create", "rollouts.enabled"
"""Chart values that add rules to the roles."""
_OF_ROLLOUTS = frozenset({"apps", "policy"})
"""API groups in which only restarts of workloads need rights."""
_NAME = "[A-Za-z0-9.:@_/-]{1,500}"
_DENIED = re.compile(
    rf'(?:[a-z0-9.-]{{1,300}} (?:"{_NAME}" )?is forbidden: )?'
    rf'User "(?P<user>{_NAME})" cannot (?P<verb>[a-z]{{1,20}}) '
    rf'resource "(?P<resource>{_NAME})" in API group "(?P<group>[a-z0-9.-]{{0,253}})" '
    rf'(?:at the cluster scope|in the namespace "(?P<namespace>[a-z0-9-]{{1,63}})")'
)
"""`forbiddenMessage` of kubernetes/apiserver, pkg/endpoints/handlers/responsewriters/errors.go."""
_ACCOUNT = "system:serviceaccount:"


def denial(error: ApiError) -> str:
    """Return which right is missing and which chart value grants it, "" for any other error.

    It quotes only names, never the request.
    """
    found = _DENIED.match(error.message) if error.status == FORBIDDEN else None
    if found is None:
        return ""
    user, group = found["user"], found["group"]
    if user.startswith(_ACCOUNT):
        user = f"ServiceAccount {user.removeprefix(_ACCOUNT).replace(':', '/', 1)}"
    else:
        user = f"user {user}"
    resource, _, subresource = found["resource"].partition("/")
    named = f"{resource}.{group}" if group else resource
    named += f"/{subresource}" if subresource else ""
    place = (
        f"in the namespace {found['namespace']}" if found["namespace"] else "at the cluster scope"
    )
    value = ROLLOUTS if group in _OF_ROLLOUTS else ROLES
    return (
        f"{user} has no right to {found['verb']} {named} {place}; set the chart value {value} to "
        "true, or grant the right in a role of your own"
    )


def logged(error: ApiError) -> dict[str, object]:
    """Return the fields of a log line about an error; `denied` says which right is missing."""
    denied = denial(error)
    fields: dict[str, object] = {"status": error.status, "reason": error.reason}
    return fields | ({"denied": denied} if denied else {})

"""The objects that the auditor lists and watches."""

from collections.abc import Iterable

from troth.audit.rule import Rule
from troth.cluster.discovery import Served
from troth.cluster.resources import resource_of
from troth.cluster.selection import Selection
from troth.resources.kinds import KINDS

SECRETS_NOT_READ = (
    "the auditor lists no Secrets; set the chart value audit.secretMetadata to true to let it read "
    "their metadata"
)
"""Why Secrets are hidden, as a clause."""
_ALWAYS = frozenset(
    {
        *(each.name for each in KINDS),
        *("Namespace", "Service", "EndpointSlice", "NetworkPolicy", "FindingException"),
        *("Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"),
    }
)
"""Kinds besides those without which a rule is blind: for owners, exceptions and verdicts about
traffic."""
_FORMER_GROUPS = {"Middleware": "traefik.containo.us"}
"""Groups in which earlier versions of a project served a kind."""
_API_SERVER = Selection("EndpointSlice", "default", labels="kubernetes.io/service-name=kubernetes")


def selections(rules: Iterable[Rule], *, secret_metadata: bool) -> dict[str, Selection]:
    """Return what the auditor lists and watches for these rules, by kind.

    Of Secrets it reads only the metadata, and nothing without `secret_metadata`.
    """
    kinds = _ALWAYS.union(*(rule.reads for rule in rules)) - {"Secret"}
    found = {kind: Selection(kind) for kind in sorted(kinds)}
    found["EndpointSlice"] = _API_SERVER
    if secret_metadata:
        found["Secret"] = Selection("Secret", metadata_only=True)
    return found


def is_served(kind: str, api: Served) -> bool:
    """Return whether an API server serves a kind."""
    resource = resource_of(kind)
    return (resource.group_version, resource.name) in api


def other_version(kind: str, api: Served) -> str:
    """Return why the objects of a kind cannot be read though a cluster may have some, as a clause.

    It is empty if the kind is served in the version that rules read, or in none.
    """
    if is_served(kind, api):
        return ""
    resource = resource_of(kind)
    groups = {resource.group, _FORMER_GROUPS.get(kind, resource.group)}
    found = sorted(
        version
        for version, plural in api
        if plural == resource.name and version.rpartition("/")[0] in groups
    )
    if not found:
        return ""
    only, wanted = ", ".join(found), resource.group_version
    return f"the cluster serves {resource.name} only in version {only}, and Troth reads {wanted}"

"""ServiceAccount tokens in Secrets, which do not expire."""

import re
from collections.abc import Collection, Iterator
from typing import Any

from troth.audit.commands import command
from troth.audit.facts.members import member
from troth.audit.finding import Evidence, Finding, Fix, Object, Patch
from troth.audit.rule import Rule
from troth.audit.scene import Scene
from troth.resources.references import Ref
from troth.resources.reported import Severity

TYPE = "kubernetes.io/service-account-token"
ACCOUNT = "kubernetes.io/service-account.name"
"""Annotation of such a Secret. A controller sets it back, so it stands for the type where only
metadata is read."""

_GENERATED = re.compile(r"-token-[bcdfghjklmnpqrstvwxz2456789]{5}")
"""End of the name of a token Secret that Kubernetes created before release 1.24."""


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    tokens = dict(_token_secrets(scene, namespace))
    seen = frozenset(tokens)
    for name, listed in _legacy_tokens(scene, namespace, seen):
        tokens.setdefault(name, []).append(listed)
    if tokens:
        for workload in scene.running_in(namespace):
            for use in workload.spec.secrets:
                if use.name in tokens:
                    field = f"{workload.path}.{use.field}" if workload.path else ""
                    shows = f"uses the Secret {use.name}"
                    tokens[use.name].append(Evidence(workload.object, field, shows))
    for name, evidence in sorted(tokens.items()):
        yield Finding(
            RULE.id,
            Object("Secret", Ref(namespace, name)) if name in seen else evidence[0].object,
            "it keeps a ServiceAccount token that does not expire and works from everywhere; "
            "let its users request short-lived tokens, and delete the Secret",
            tuple(dict.fromkeys(evidence)),
            about="" if name in seen else name,
        )


def _token_secrets(scene: Scene, namespace: str) -> Iterator[tuple[str, list[Evidence]]]:
    for secret in scene.objects("Secret", namespace):
        account = (secret["metadata"].get("annotations") or {}).get(ACCOUNT)
        if secret.get("type") == TYPE or account:
            place = Object("Secret", Ref.of(secret))
            shows = f"is a token of ServiceAccount {account}" if account else "is a token"
            yield place.ref.name, [Evidence(place, "type", shows)]


def _legacy_tokens(
    scene: Scene, namespace: str, seen: Collection[str]
) -> Iterator[tuple[str, Evidence]]:
    """Yield the token Secrets that ServiceAccounts list.

    A Secret that is not among those seen counts if its name is one that Kubernetes generated.
    """
    for account in scene.objects("ServiceAccount", namespace):
        place = Object("ServiceAccount", Ref.of(account))
        for number, name in _listed(account):
            ending = name.removeprefix(place.ref.name)
            if name in seen or (ending != name and _GENERATED.fullmatch(ending)):
                yield name, Evidence(place, f"secrets[{number}]", f"lists the Secret {name}")


def _listed(account: dict[str, Any]) -> list[tuple[int, str]]:
    listed = account.get("secrets")
    return [
        (number, each["name"])
        for number, each in enumerate(listed if isinstance(listed, list) else ())
        if isinstance(each, dict) and isinstance(each.get("name"), str)
    ]


def _fix(scene: Scene, finding: Finding) -> Fix:
    namespace = finding.subject.ref.namespace
    name = finding.about or finding.subject.ref.name
    patches = []
    for each in finding.evidence:
        if each.object.kind == "ServiceAccount":
            account = scene.object("ServiceAccount", each.object.ref) or {}
            kept = [one for one in account.get("secrets") or () if member(one, "name") != name]
            patches.append(Patch(each.object, {"secrets": kept or None}))
    steps = [
        f"Mount a projected volume with a serviceAccountToken in {each.object} instead, or use a "
        "ServiceIdentity with authentication.token."
        for each in finding.evidence
        if each.object.kind not in ("Secret", "ServiceAccount")
    ]
    delete = command("kubectl", "delete", f"secret/{name}", f"--namespace={namespace}")
    steps += [
        "Give users outside the cluster tokens of `kubectl create token`, or their own identity.",
        f"Delete the Secret with {delete}, which revokes the token.",
    ]
    return Fix(patches=tuple(patches), steps=tuple(dict.fromkeys(steps)))


RULE = Rule(
    id="TR703",
    name="LongLivedToken",
    title="A Secret has a ServiceAccount token that does not expire.",
    severity=Severity.MEDIUM,
    reads=frozenset({"Secret", "ServiceAccount"}),
    find=_find,
    fix=_fix,
)

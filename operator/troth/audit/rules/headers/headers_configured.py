"""Workloads whose configuration names identity headers, at ports that do not verify callers."""

from collections.abc import Iterator
from itertools import islice

from troth.audit.exposure.reach import accepted_at, enforced_identities, opening
from troth.audit.exposure.running import running
from troth.audit.exposure.targets import service_ports
from troth.audit.facts.members import member
from troth.audit.facts.pods.workloads import Workload
from troth.audit.facts.words import vocabulary, words
from troth.audit.finding import Evidence, Finding, Fix, Object
from troth.audit.rule import Rule
from troth.audit.rules.declared import entries, identity_patch
from troth.audit.rules.headers.gateway_draft import default_step
from troth.audit.scene import Scene
from troth.audit.skeletons import (
    ENFORCE_STEP,
    identity_name,
    identity_of,
    identity_skeleton,
    observing_step,
    ports_of,
    selector_of,
    ungoverned_step,
)
from troth.resources.references import Ref
from troth.resources.reported import Severity

MOST_EVIDENCE = 8
_NOT_TRUSTED = vocabulary(
    "cors allow allowed expose exposed log logs logging trace redact requestheader"
)
"""Words of variables and options that list headers and do not believe them. Those of Kubernetes'
API servers, with `requestheader`, hold for a client certificate alone."""
_OF_SERVERS = (".conf", ".cfg", ".ini", ".lua", ".vcl", ".template", "Caddyfile", ".sh")
_SERVERS = vocabulary("nginx envoy haproxy traefik caddy apache httpd proxy kong prometheus")
"""Files and words of ConfigMaps of proxies, which add such headers and do not rely on them."""
_ASIDE = vocabulary("metrics prometheus health healthz probe probes admin-metrics")


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    for workload in running(scene, namespace):
        named = list(islice(_named(scene, workload), MOST_EVIDENCE))
        if not named or workload.spec.proxies:
            continue
        reached = _reached(scene, workload)
        if reached is not None:
            who, evidence = reached
            yield Finding(
                RULE.id,
                workload.object,
                f"its configuration names headers that say who calls, and {who} can send them; "
                "accept only callers that have an identity, and verify tokens",
                (*named, evidence),
            )


def _named(scene: Scene, workload: Workload) -> Iterator[Evidence]:
    """Yield the places that name identity headers."""
    for each in workload.spec.headers:
        if _NOT_TRUSTED.isdisjoint(words(each.variable)):
            field = f"{workload.path}.{each.field}"
            yield Evidence(workload.object, field, f"names the header {each.header}")
    seen: set[tuple[str, str]] = set()
    for use in workload.spec.config_maps:
        place = Ref(workload.object.ref.namespace, use.name)
        headers = member(scene.object("ConfigMap", place) or {}, "headers")
        for key, found in sorted(headers.items()) if isinstance(headers, dict) else ():
            wanted = use.key in ("", key) and (use.name, key) not in seen
            variable = "" if use.variable == "*" else use.variable
            names = _NOT_TRUSTED.isdisjoint(words(key, variable))
            if found and wanted and names and not _is_of_server(use.name, key):
                seen.add((use.name, key))
                shows = f"names the header {found[0]}"
                yield Evidence(Object("ConfigMap", place), f"data[{key}]", shows)


def _is_of_server(*names: str) -> bool:
    return any(each.endswith(_OF_SERVERS) for each in names) or not _SERVERS.isdisjoint(
        words(*names)
    )


def _reached(scene: Scene, workload: Workload) -> tuple[str, Evidence] | None:
    """Return who without an identity reaches the workload; None if nobody, or if it has no port."""
    for number in sorted(_ports(scene, workload)):
        found = opening(scene, workload, number)
        if found is not None:
            return found.who, found.evidence
        for identity in enforced_identities(scene, workload):
            for position, each in accepted_at(identity, number):
                if each.unverified is not None:
                    place = Object("ServiceIdentity", identity.ref)
                    shows = "accepts a peer without an identity"
                    field = f"spec.accepts[{position}].unverified"
                    return "a peer without an identity", Evidence(place, field, shows)
    return None


def _ports(scene: Scene, workload: Workload) -> set[int]:
    declared = {
        each.number
        for each in workload.spec.ports
        if each.protocol == "TCP" and _ASIDE.isdisjoint(words(each.name))
    }
    return declared | service_ports(scene, workload, _ASIDE)


def _fix(scene: Scene, finding: Finding) -> Fix:
    here = finding.subject.ref.namespace
    workload = next(each for each in running(scene, here) if each.object == finding.subject)
    identity = identity_of(scene, workload)
    verify = (
        "Take the caller from a verified token (troth.edge, docs/tokens.md), and remove the "
        "headers from the configuration."
    )
    if identity is None:
        ref, account = identity_name(workload), workload.spec.service_account
        skeleton = identity_skeleton(
            ref,
            ref.name if account == "default" else account,
            selector_of(scene, [workload]),
            ports_of(workload),
            accepts=[],
        )
        steps = (*default_step(workload), *ungoverned_step(scene, here), ENFORCE_STEP, verify)
        return Fix((skeleton,), steps=steps)
    kept = [each for each in entries(scene, identity.ref, "accepts") if "unverified" not in each]
    patch = identity_patch(identity.ref, accepts=kept, enforcement="Enforce")
    peers = (
        "Before that, give each unverified peer that still has to call a ServiceIdentity, and "
        "accept it with from; the patch closes the network to them."
    )
    steps = (*ungoverned_step(scene, here), *observing_step(identity), peers, verify)
    return Fix(patches=(patch,), steps=steps)


RULE = Rule(
    id="TR402",
    name="HeadersConfigured",
    title="A workload is configured with identity headers, and unverified callers reach it.",
    severity=Severity.MEDIUM,
    reads=frozenset(
        {"Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"}
        | {
            "ConfigMap",
            "NetworkPolicy",
            "Service",
            "ServiceIdentity",
            "TrustDomain",
            "Namespace",
            "AuthorizationPolicy",
        }
    ),
    find=_find,
    fix=_fix,
)

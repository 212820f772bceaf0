"""Drafts the identity of a workload that only its gateway may call."""

from typing import Any

from troth.audit.exposure.injection import Injection
from troth.audit.exposure.reach import accepted_at, wide
from troth.audit.facts.pods.workloads import Workload
from troth.audit.finding import Fix
from troth.audit.rules.declared import entries, identity_patch
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

_NAMESPACES = {
    "Ingress": "ingress-nginx",
    "Middleware": "traefik",
    "RequestAuthentication": "istio-system",
    "SecurityPolicy": "envoy-gateway-system",
}
"""Namespace in which the gateway that an object configures usually runs."""
_NAME = "kubernetes.io/metadata.name"


def fix(scene: Scene, injection: Injection) -> Fix:
    """Return an identity that accepts the gateway, or the patch of one that accepts more."""
    workload = injection.workload
    namespace = workload.object.ref.namespace
    identity = identity_of(scene, workload)
    peer, step = _peer(scene, injection)
    beside = injection.proxy is not None and injection.proxy.object == workload.object
    if identity is not None:
        position = {number for number, each in accepted_at(identity, injection.port) if wide(each)}
        declared = {each.port: each.name for each in identity.spec.workload.ports}
        port = declared.get(injection.port, next(iter(declared.values()), ""))
        kept = [
            each
            for number, each in enumerate(entries(scene, identity.ref, "accepts"))
            if number not in position
        ]
        gateway = [] if beside or not port else [{**peer, "ports": [port]}]
        patch = identity_patch(identity.ref, accepts=[*kept, *gateway], enforcement="Enforce")
        steps = (*ungoverned_step(scene, namespace), step, *observing_step(identity), _FOREIGN)
        return Fix(patches=(patch,), steps=steps)
    ref, account = identity_name(workload), workload.spec.service_account
    ports = ports_of(workload, injection.port)
    if beside:  # the proxy reaches it through the loopback interface, so nobody else has to
        ports = [each for each in ports if each["port"] != injection.port]
    names = [each["name"] for each in ports if each["port"] == injection.port]
    accepts = [{**peer, "ports": names}] if names else []
    labels = selector_of(scene, [workload])
    skeleton = identity_skeleton(
        ref, ref.name if account == "default" else account, labels, ports, accepts=accepts
    )
    steps = (*default_step(workload), *ungoverned_step(scene, namespace), step, ENFORCE_STEP)
    return Fix((skeleton,), steps=tuple(each for each in steps if each))


_FOREIGN = "Remove the NetworkPolicies of others that admit more; policies add up."


def default_step(workload: Workload) -> tuple[str, ...]:
    """Return the step that a workload needs which runs as the ServiceAccount `default`."""
    if workload.spec.service_account != "default":
        return ()
    return ("Give the workload a ServiceAccount of its own (TR701).",)


def _peer(scene: Scene, injection: Injection) -> tuple[dict[str, Any], str]:
    """Return the entry of `accepts` for a gateway, and what a person has to decide about it."""
    here, proxy = injection.workload.object.ref.namespace, injection.proxy
    reason = "the gateway passes requests of users on"
    if proxy is not None:
        identity = identity_of(scene, proxy)
        if identity is not None:
            place = {"name": identity.ref.name}
            if identity.ref.namespace != here:
                place["namespace"] = identity.ref.namespace
            step = (
                f"Add the call to {injection.workload.object.ref.name} to the calls of the "
                f"ServiceIdentity {identity.ref}."
            )
            return {"from": place}, step
        chosen: dict[str, Any] = {"podSelector": {"matchLabels": selector_of(scene, [proxy])}}
        if proxy.object.ref.namespace != here:
            chosen["namespaceSelector"] = {"matchLabels": {_NAME: proxy.object.ref.namespace}}
        step = f"Give {proxy.object} a ServiceIdentity, and accept it with from."
        return {"unverified": {**chosen, "reason": reason}}, step
    if injection.headers[0].startswith("x-amzn-"):
        step = "Replace 192.0.2.0/24 by the subnets of the load balancer."
        return {"unverified": {"cidrs": ["192.0.2.0/24"], "reason": reason}}, step
    namespace = _NAMESPACES.get(injection.gateway.kind, injection.gateway.ref.namespace)
    selector = {"matchLabels": {_NAME: namespace}}
    step = f"Replace {namespace} by the namespace in which the gateway runs, if it is another one."
    return {"unverified": {"namespaceSelector": selector, "reason": reason}}, step

"""Part of a trust domain's plan for its bundles, the ConfigMaps with its roots and token keys."""

from collections.abc import Iterator

from troth.documents.secret_keys import ROOTS
from troth.planning import verdicts
from troth.planning.certificates.anchors import bundle_text
from troth.planning.owned_objects import differs, metadata_of, rechecks, taken
from troth.planning.parts import Part, fails_closed, unplanned
from troth.planning.steps.objects import Apply, Remove
from troth.planning.steps.step import Step
from troth.planning.trust_domain.facts import DomainView
from troth.planning.trust_domain.retired import is_full
from troth.planning.trust_domain.spiffe_bundles import bundle_files
from troth.planning.trust_domain.tokens import creates_key
from troth.resources.conditions import Verdict
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.edges.federation import UNCONFINED, unconfined_message
from troth.world.facts.objects import Content, Manifest

TYPE = "BundleDistributed"


@fails_closed(unplanned(TYPE))
def plan_bundles(view: DomainView) -> Part:
    """Return the part that writes and removes a domain's bundles.

    A new bundle waits for the first token key. A workload that has read one without the key may
    not read it again for `bundle.propagation`, for which the issuer would have to wait.
    """
    domain = view.domain
    if not view.anchors:
        message = "no bundle is written or changed, because the authority cannot be used"
        verdict = verdicts.false(TYPE, "AuthorityNotReady", message)
        return Part((verdict,))
    wanted = [each for each in view.bundles if each.ref.namespace not in view.terminating]
    data = {ROOTS: bundle_text(view.anchors), **bundle_files(view)}
    steps: list[Step] = []
    foreign: list[Ref] = []
    missing, awaits_key = False, creates_key(view)
    for each in wanted:
        if taken(each, domain, view.moment.now) is not None:
            foreign.append(each.ref)
            continue
        manifest = _config_map(each.ref, domain, data)
        missing = missing or each.fact is None or differs(manifest, each.fact)
        if each.fact is not None or not awaits_key:
            steps.append(Apply(manifest))
    left_behind = _left_behind(view, {each.ref for each in wanted})
    steps += [Remove("ConfigMap", each.ref, each.uid) for each in left_behind]
    verdict = _verdict(view, foreign, missing=missing)
    dues = tuple(due for each in wanted for due in rechecks(each))
    return Part((verdict,), tuple(steps), dues)


def _verdict(view: DomainView, foreign: list[Ref], *, missing: bool) -> Verdict:
    registry = view.registry
    contested = registry.contested(view.domain.metadata.name)
    if contested is not None:
        governance = registry.governance(contested)
        return verdicts.false(TYPE, governance.reason, governance.message)
    if foreign:
        message = (
            f"ConfigMap {foreign[0]} is not managed by Troth, so it was not changed; rename or "
            "delete it, or choose another bundle.configMapName"
        )
        return verdicts.false(TYPE, "Conflict", message)
    for other in view.federated:
        if other.domain.metadata.name in registry.unconfined_domains:
            return verdicts.false(TYPE, UNCONFINED, unconfined_message(other.domain, "here"))
    fault = next(filter(None, (each.write_fault for each in view.bundles)), None)
    if fault is not None:
        return verdicts.false(TYPE, fault.reason, fault.message)
    if missing:
        return verdicts.false(TYPE, "Distributing", "the bundle is being written")
    if is_full(view.rotation):
        message = (
            "every governed namespace has the bundle, but Troth keeps no more retired roots or "
            "token keys for events, so consumers reject events of older ones; rotate less often, "
            "or set a shorter maxAge in TopicPolicies"
        )
        return verdicts.true(TYPE, "TooManyRetired", message)
    return verdicts.true(TYPE, "Distributed", "every governed namespace has the bundle")


def _left_behind(view: DomainView, wanted: set[Ref]) -> Iterator[Content]:
    """Yield bundles in namespaces that the domain certainly no longer governs."""
    for fact in view.written.bundles:
        namespace = fact.ref.namespace
        settled = view.registry.governance(namespace).settled
        if fact.ref not in wanted and settled and namespace not in view.terminating:
            yield fact


def _config_map(ref: Ref, domain: TrustDomain, data: dict[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata_of(ref, domain),
        "data": data,
    }

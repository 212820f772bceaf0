"""Updates of an identity's Secret without a new certificate, and what it still has to narrow."""

from dataclasses import dataclass, replace

from troth.documents.identity.reading import parsed
from troth.documents.secret_keys import IDENTITY_JSON, ROOTS
from troth.planning import verdicts
from troth.planning.certificates.anchors import bundle_text, roots_in
from troth.planning.identity.facts import View
from troth.planning.identity.secret.manifest import in_force, secret_manifest
from troth.planning.identity.secret.narrowing import Peering, pending_narrowing
from troth.planning.owned_objects import is_child
from troth.planning.parts import Part
from troth.planning.steps.certificates import UpdatePublic
from troth.resources.conditions import Verdict
from troth.resources.identity.status import EdgeState
from troth.resources.schema.scalars import format_time
from troth.trust.declarations.narrowing import NOTHING, Narrowing
from troth.trust.edges.evaluation import CALLEE_NOT_NARROWED, CALLER_NOT_NARROWED, Edge
from troth.world.facts.objects import REPLACED_AT, IdentitySecret, Manifest

TYPE = "CertificateIssued"


@dataclass(frozen=True, slots=True)
class SecretPart(Part):
    """The part of an identity's Secret; `narrowing` is the pending one of the document in it."""

    narrowing: Narrowing = NOTHING


def document_alone(view: View, verdict: Verdict, *, keep_roots: bool = True) -> SecretPart:
    """Return the part with the declared document and the existing certificate.

    A narrowing must wait neither for an authority nor for the end of a conflict. The workload's own
    SPIFFE ID stays unchanged, and so do the roots unless the declared ones are known.
    """
    secret = view.secret
    if secret is None or not is_child(secret, view.identity):
        return SecretPart((verdict,))
    own_id = parsed(secret.public.get(IDENTITY_JSON, "")).get("spiffeID")
    if not isinstance(own_id, str):
        if secret.leaf is None:
            return SecretPart((verdict,))
        own_id = secret.leaf.spiffe_id
    manifest = secret_manifest(view, own_id)
    if keep_roots:
        manifest = _with_current_roots(view, manifest)
    steps = update(view, secret, dated_for_roots(view, secret, manifest))
    if steps and view.owned_secret.write_fault:
        verdict = verdicts.faulty(verdict.type, view.owned_secret.write_fault) or verdict
    return SecretPart((verdict,), steps, narrowing=pending(view, manifest, own_id))


def _with_current_roots(view: View, manifest: Manifest) -> Manifest:
    current = view.secret.public if view.secret else {}
    roots = {name: text for name, text in current.items() if name == ROOTS}
    return {**manifest, "stringData": manifest["stringData"] | roots}


def pending(view: View, manifest: Manifest, own_id: str) -> Narrowing:
    """Return the narrowing that is still pending: grants in the Secret that are not declared.

    An edge that is closed only because of this narrowing counts as live.
    """
    if view.secret is None or not is_child(view.secret, view.identity):
        return Narrowing()
    declared = manifest["stringData"]
    if any(_closed_by_own(edge, view) for edge in view.edges):
        view = _with_own_closed(view, EdgeState.LIVE)
        live = secret_manifest(view, own_id)["stringData"]
        declared = {**live, ROOTS: declared[ROOTS]}
    assert view.secret is not None
    if view.secret.public == declared:
        return Narrowing()
    current = parsed(view.secret.public.get(IDENTITY_JSON, ""))
    edges, ids = in_force(view, current)
    return pending_narrowing(view.secret.public, declared, Peering(view.identity.ref, edges, ids))


def as_declared(view: View) -> View:
    """Return a view in which no edge is closed because the document is not yet narrowed.

    Such an edge is suspended instead, so the document keeps its entry, narrowed to what is
    declared.
    """
    return _with_own_closed(view, EdgeState.SUSPENDED)


def _with_own_closed(view: View, state: EdgeState) -> View:
    edges = [
        replace(edge, state=state) if _closed_by_own(edge, view) else edge for edge in view.edges
    ]
    return replace(view, edges=tuple(edges))


def _closed_by_own(edge: Edge, view: View) -> bool:
    """Return whether an edge is closed because this identity's document cannot be narrowed."""
    own = (CALLEE_NOT_NARROWED, edge.callee), (CALLER_NOT_NARROWED, edge.caller)
    return (edge.reason, view.identity.ref) in own


def update(view: View, secret: IdentitySecret, manifest: Manifest) -> tuple[UpdatePublic, ...]:
    """Return the update of a Secret's public part, none if it is current.

    A declared truststore gets the domain's own roots of them. One of an older version may also have
    federated roots. If it is not intact, only a new leaf restores it.
    """
    keystores = view.certificate is not None and view.certificate.keystores
    roots = manifest["stringData"].get(ROOTS)
    current = secret.public.get(ROOTS) == roots
    mixed = secret.truststore_mixed and roots == bundle_text(view.anchors)
    if not keystores or not secret.keystore_intact or (current and not mixed):
        return public_update(secret, manifest, view.kept_from(secret))
    return public_update(secret, manifest, secret.resource_version, view.own_anchors)


def public_update(
    secret: IdentitySecret, manifest: Manifest, over: str, truststore: tuple[bytes, ...] = ()
) -> tuple[UpdatePublic, ...]:
    """Return the update of a Secret to the public part in `manifest`, none if it is current.

    `over` is the resource version that the update requires, empty for any. `truststore` is as in
    `UpdatePublic`.
    """
    if not _stale(secret, manifest) and not (truststore and secret.truststore_mixed):
        return ()
    drops = tuple(sorted(secret.public.keys() - manifest["stringData"].keys()))
    return (UpdatePublic(manifest, secret.uid, over, drops, truststore),)


def dated(manifest: Manifest, replaced_at: str) -> Manifest:
    """Return the Secret with an annotation for the time of its last replacement."""
    metadata = {**manifest["metadata"], "annotations": {REPLACED_AT: replaced_at}}
    return {**manifest, "metadata": metadata}


def dated_for_roots(view: View, secret: IdentitySecret, manifest: Manifest) -> Manifest:
    """Return the Secret, dated if it gets roots that it does not have."""
    declared = manifest["stringData"].get(ROOTS, "")
    if not roots_in(declared) - roots_in(secret.public.get(ROOTS, "")):
        return manifest
    return dated(manifest, format_time(view.moment.now))


def _stale(secret: IdentitySecret, manifest: Manifest) -> bool:
    labels = manifest["metadata"]["labels"]
    return secret.public != manifest["stringData"] or any(
        secret.labels.get(key) != value for key, value in labels.items()
    )

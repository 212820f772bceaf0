"""Peers that an identity accepts without an identity of their own."""

import hashlib
from collections.abc import Iterator

from troth.audit.exposure.reach import wide
from troth.audit.finding import Evidence, Finding, Fix
from troth.audit.rule import Rule
from troth.audit.rules.declared import entries, identities_in, identity_object, identity_patch
from troth.audit.scene import Scene
from troth.planning.identity.edge_status import describe_unverified
from troth.resources.identity.peers import Accepts, Unverified
from troth.resources.reported import Severity
from troth.resources.schema.scalars import format_time

_ENTRY = "spec.accepts["


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    for identity in identities_in(scene, namespace):
        if identity.spec.serves_webhooks is not None:
            continue  # a gateway is there for senders without an identity, and verifies signatures
        subject = identity_object(identity.ref)
        for number, accepted in enumerate(identity.spec.accepts):
            peer = accepted.unverified
            if peer is None or not peer.is_open(scene.now):
                continue
            field = f"{_ENTRY}{number}].unverified"
            end = peer.expires_at
            until = f"until {format_time(end)}" if end is not None else "without an end"
            everybody = wide(accepted)
            who = everybody or f"a peer without an identity, {_who(peer)},"
            yield Finding(
                RULE.id,
                subject,
                f"the network is open to {who} on {', '.join(accepted.ports)}; give the peer a "
                "ServiceIdentity, or narrow the entry and set unverified.expiresAt",
                (Evidence(subject, field, f"accepts {_who(peer)} {until}"),),
                about=about(accepted, peer),
                severity=Severity.HIGH if end is None or everybody else None,
            )


def about(accepted: Accepts, peer: Unverified) -> str:
    """Return what distinguishes an entry from those of its identity with another peer or ports."""
    whole = hashlib.sha256(describe_unverified(peer).encode()).hexdigest()[:16]
    return f"{_who(peer)} ({whole}) on {','.join(sorted(accepted.ports))}"


def _who(peer: Unverified) -> str:
    return describe_unverified(peer)[:200]


def without_entry(scene: Scene, finding: Finding) -> Fix:
    """Return the patch that removes the `accepts` entries that a finding's evidence names."""
    identity = finding.subject.ref
    named = {
        int(each.field.removeprefix(_ENTRY).partition("]")[0])
        for each in finding.evidence
        if each.object == finding.subject and each.field.startswith(_ENTRY)
    }
    written = entries(scene, identity, "accepts")
    kept = [each for number, each in enumerate(written) if number not in named]
    return Fix(patches=(identity_patch(identity, accepts=kept),))


def _fix(scene: Scene, finding: Finding) -> Fix:
    steps = (
        (
            "Declare a ServiceIdentity for each peer that runs in the cluster, let it call this "
            "identity, and accept it with `from`."
        ),
        "Verify deliveries of senders outside the cluster with a WebhookEndpoint.",
        (
            "Keep the entry, with expiresAt and a narrow selector or CIDR, while a peer has no "
            "identity. The patch closes the network to it."
        ),
    )
    return Fix(patches=without_entry(scene, finding).patches, steps=steps)


RULE = Rule(
    id="TR502",
    name="UnverifiedPeer",
    title="An identity accepts a peer that has no identity.",
    severity=Severity.MEDIUM,
    reads=frozenset({"ServiceIdentity"}),
    find=_find,
    fix=_fix,
)

"""Public facts of Kubernetes objects. No private key is kept here on purpose.

What is taken from a Secret as it stands there is left out of every `repr`: people put keys in the
wrong place.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic_core import from_json

from troth.pki import base64url
from troth.pki.authorities import Authority
from troth.pki.certificates import Leaf
from troth.resources.references import Ref
from troth.resources.selectors import LabelSelector
from troth.world.facts.webhook_listed import Listed

MANAGED_BY = "app.kubernetes.io/managed-by"
OWNER_KIND = "troth.dev/owner-kind"
OWNER_NAME = "troth.dev/owner-name"
KEYSTORE_DIGEST = "troth.dev/keystore-digest"
REPLACED_AT = "troth.dev/replaced-at"
RESTARTED_WITH = "troth.dev/restarted-with"
LIVE_PEERS = "troth.dev/live-peers"
"""On a NetworkPolicy: the peers and ports that live edges and grants opened."""
FIELD_MANAGER = "troth"
SECRET_SUFFIX, POLICY_SUFFIX = "-identity", "-troth"
"""What the names of an identity's children add to its own."""
DENY_SUFFIX = "-troth-deny"
"""What the name of an identity's second NetworkPolicy adds, which only denies."""
BROKER_POLICY_SUFFIX = "-troth-broker"
"""What the name of a broker's NetworkPolicy adds to its own: no identity's has this ending."""

UNREADABLE = "troth.dev/unreadable"
"""A member that Troth's client adds to an object that it cannot read whole: a sentence that says
why. The API server stores no member of this name, so that nobody can write one."""

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why something cannot be used: a CamelCase reason, and a sentence that says what to mend."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A resource whose spec cannot be understood, as it came, and why."""

    manifest: Manifest
    because: str


@dataclass(frozen=True, slots=True)
class Fact:
    """What every written object has: where it is, which one it is, and whose."""

    ref: Ref
    uid: str
    resource_version: str
    labels: Mapping[str, str]
    owner_uids: frozenset[str]


@dataclass(frozen=True, slots=True)
class IdentitySecret(Fact):
    """An identity's Secret: its leaf, what is wrong with it, and what else it says in public.

    `keystore_intact` is whether there are keystores, made for just this leaf and these roots.
    `roots_since` and `leaf_since` are since when, in seconds of this process's uptime, its roots
    and its leaf are known to be what they are; `webhooks_since` and `webhook_keys_since` since when
    it is known to list each delivery of a gateway, and each key of one by its ID. `replaced_at` is
    when a leaf or a root in it last took the place of another, None while it has what it began
    with.
    """

    leaf: Leaf | None
    fault: Fault | None
    public: Mapping[str, str] = field(repr=False)
    keystore_intact: bool
    replaced_at: datetime | None = None
    roots_since: float = 0.0
    leaf_since: float = 0.0
    webhooks_since: Mapping[Listed, float] = field(default_factory=dict)
    webhook_keys_since: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuthoritySecret(Fact):
    """A CA's Secret: its certificates as they stand there, and what is wrong with its key.

    `prepared` is the next one and `retiring` the last one, empty where there is none; `roots` and
    its like are the anchors beside them, None for a root of Troth's own, which is its own anchor.
    `active_since` and `prepared_since` are since when, in seconds of this process's uptime, the
    certificates are known to be there.
    """

    certificates: bytes = field(repr=False)
    roots: bytes | None = field(repr=False)
    key_fault: Fault | None
    prepared: bytes = field(default=b"", repr=False)
    prepared_roots: bytes | None = field(default=None, repr=False)
    prepared_fault: Fault | None = None
    retiring: bytes = field(default=b"", repr=False)
    retiring_roots: bytes | None = field(default=None, repr=False)
    active_since: float = 0.0
    prepared_since: float = 0.0


@dataclass(frozen=True, slots=True)
class KnownAuthority:
    """A CA's Secret judged for one trust domain: the authority, or why it cannot serve.

    `prepared` is the root to come and `retiring` the one before, while a rotation is under way.
    """

    secret: AuthoritySecret
    authority: Authority | None
    fault: Fault | None
    prepared: Authority | None = None
    retiring: Authority | None = None

    @property
    def slots(self) -> tuple[Authority, ...]:
        """The CAs that are there: the active one, the one to come, and the one before."""
        return tuple(each for each in (self.authority, self.prepared, self.retiring) if each)

    @property
    def anchors(self) -> tuple[bytes, ...]:
        """Every root to trust, as PEM; none while the authority cannot be used."""
        if self.authority is None:
            return ()
        return tuple(anchor for slot in self.slots for anchor in slot.anchors)


@dataclass(frozen=True, slots=True)
class TokenKey:
    """The public half of an ES256 key that signs tokens.

    `kid` is its RFC 7638 thumbprint, `x` and `y` its coordinates in base64url; `made_at` is when it
    was made, None where that cannot be told.
    """

    kid: str
    x: str
    y: str
    made_at: datetime | None = field(default=None, compare=False)

    @property
    def jwk(self) -> dict[str, str]:
        """The key as a JWK."""
        return {"kty": "EC", "crv": "P-256", "x": self.x, "y": self.y, "kid": self.kid}

    @property
    def fingerprint(self) -> str:
        """The SHA-256 that the `kid` is, in hexadecimal."""
        return base64url.decode(self.kid).hex()


@dataclass(frozen=True, slots=True)
class SigningSecret(Fact):
    """A Secret with a key that signs tokens: the public halves of the keys in it.

    `prepared` is the key to come and `retiring` the one before, while a handover is under way.
    `spoilt` names data that is of no use: half of a key to come, a key before that cannot be read.
    `active_since` and `prepared_since` are since when, in seconds of this process's uptime, the
    keys are known to be there.
    """

    active: TokenKey | None
    fault: Fault | None
    prepared: TokenKey | None
    retiring: TokenKey | None
    spoilt: tuple[str, ...]
    active_since: float = field(default=0.0, kw_only=True)
    prepared_since: float = field(default=0.0, kw_only=True)

    @property
    def keys(self) -> tuple[TokenKey, ...]:
        """Every key to publish."""
        return tuple(each for each in (self.active, self.prepared, self.retiring) if each)


@dataclass(frozen=True, slots=True)
class TokensSecret(SigningSecret):
    """What an issuer of tokens works from: the public halves of its keys, and its view.

    `view` and `bundle` are as they stand there, empty where they are not. `replaced_at` is when it
    took the place of one that was lost, None of one that did not or does not tell. `narrowed` is
    whether the view has not all it should, for want of room.
    """

    view: bytes = field(repr=False)
    bundle: bytes = field(repr=False)
    replaced_at: datetime | None = None
    narrowed: bool = False


@dataclass(frozen=True, slots=True)
class Content(Fact):
    """A NetworkPolicy's spec or a ConfigMap's data, as the API server holds it.

    `since` is since when, in seconds of this process's uptime, it is known to be so.
    """

    text: bytes
    """`canonical`, in which ten thousand policies take a tenth of the room that they take open."""
    since: float = 0.0
    live_peers: str = ""
    """The annotation `LIVE_PEERS` of a NetworkPolicy, as it stands there."""

    @property
    def content(self) -> Mapping[str, Any]:
        """What it says."""
        said: Mapping[str, Any] = from_json(self.text)
        return said

    def says(self, content: Mapping[str, Any]) -> bool:
        """Whether it says just that."""
        return self.text == canonical(content)


def canonical(content: Mapping[str, Any]) -> bytes:
    """Return JSON as one text, whatever the order of its keys."""
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a Secret held when a workload was restarted, as fingerprints of 16 digits each."""

    leaf: str
    roots: frozenset[str]

    def __str__(self) -> str:
        return f"{self.leaf} {','.join(sorted(self.roots))}"

    @classmethod
    def read(cls, text: str) -> "Evidence":
        """Return what an annotation says; nothing that a Secret holds where it is not of ours."""
        leaf, _, roots = text.partition(" ")
        return cls(leaf, frozenset(filter(None, roots.split(","))))


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment, StatefulSet or DaemonSet, so far as its restarts are concerned.

    `labels` are its pods'; `evidence` is what they were restarted with, and `replaced` whether none
    is left that was not. `pods` is whether it has any, and `complete` whether all that are wanted
    are of its present template and available. `since` is since when, in seconds of this process's
    uptime, `evidence` and `replaced` are known to be so.
    """

    kind: str
    ref: Ref
    uid: str
    resource_version: str
    created: datetime
    labels: Mapping[str, str]
    evidence: Evidence | None
    paused: bool
    pods: bool
    replaced: bool
    complete: bool
    since: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} {self.ref}"


@dataclass(frozen=True, slots=True)
class Budget:
    """A PodDisruptionBudget: which pods it protects, and whether one may be disrupted now."""

    ref: Ref
    selector: LabelSelector | None
    allows: bool


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a Service, and the pods' port behind it: its number, or the name it has there."""

    port: int
    target: int | str


@dataclass(frozen=True, slots=True)
class Service:
    """A Service's pod selector, and its TCP ports.

    A `headless` one has no address of its own: who asks for it comes to the pods' ports directly.
    """

    ref: Ref
    selector: Mapping[str, str]
    ports: tuple[ServicePort, ...] = ()
    headless: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One address and port of the API server."""

    address: str
    port: int

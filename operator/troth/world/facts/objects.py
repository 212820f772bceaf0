"""Public facts of Kubernetes objects. They never contain a private key.

Values that are copied from a Secret are not in any `repr`, because people put keys in wrong places.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic_core import from_json

from troth.documents.identity.deliveries import ListedDelivery
from troth.pki.certificates.authorities import Authority
from troth.pki.certificates.leaf import Leaf
from troth.pki.encodings import base64url
from troth.resources.references import Ref
from troth.resources.selectors import LabelSelector

MANAGED_BY = "app.kubernetes.io/managed-by"
OWNER_KIND = "troth.dev/owner-kind"
OWNER_NAME = "troth.dev/owner-name"
KEYSTORE_DIGEST = "troth.dev/keystore-digest"
REPLACED_AT = "troth.dev/replaced-at"
RESTARTED_WITH = "troth.dev/restarted-with"
LIVE_PEERS = "troth.dev/live-peers"
"""Annotation of a NetworkPolicy: the peers and ports that live edges and grants opened."""
FIELD_MANAGER = "troth"
FIGHTING = "Fighting"
"""Reason of an object that another client changes each time Troth restores it."""
SECRET_SUFFIX, POLICY_SUFFIX = "-identity", "-troth"
"""Suffixes of the names of an identity's owned objects."""
DENY_SUFFIX = "-troth-deny"
"""Suffix of the name of an identity's second NetworkPolicy, which only denies."""
BROKER_POLICY_SUFFIX = "-troth-broker"
"""Suffix of the name of a broker's NetworkPolicy. No identity's has this ending."""

ISOLATION_POLICY = "troth-isolation"
"""Name of the NetworkPolicy that isolates a namespace. No identity's policy has this name, because
those end in `POLICY_SUFFIX`, and a broker's in `BROKER_POLICY_SUFFIX`."""
TRUST_RECORD_KEY = "firstAccepted"
"""Key of the ConfigMap that records when an identity's gateway-only trust was first accepted."""
SCHEMAS_SUFFIX = "-schemas"
"""Suffix of the name of the ConfigMap with schemas that do not fit into an identity's Secret."""

UNREADABLE = "troth.dev/unreadable"
"""Member that Troth's client adds to an object that it cannot read completely; its value says why.
Nobody else can set it, because the API server stores no member of this name."""

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """Reason why something is unusable: a CamelCase word, and a message with the change to make."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Resource with an invalid spec, as received, and the reason."""

    manifest: Manifest
    because: str


@dataclass(frozen=True, slots=True)
class Fact:
    """Base of the facts of a written object: its place, identity, version and owner."""

    ref: Ref
    uid: str
    resource_version: str
    labels: Mapping[str, str]
    owner_uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IdentitySecret(Fact):
    """Secret of an identity: its leaf, what is wrong with it, and its other public content.

    `keystore_intact` is whether it has keystores that were made for this leaf and these roots, and
    `truststore_mixed` whether an older version made them, which put federated roots there.
    `roots_since` and `leaf_since` are the times since which its roots and its leaf are known to be
    the same. `webhooks_since` and `webhook_keys_since` are those of each delivery from a gateway
    and of each gateway key by ID. All are in seconds of this process's uptime. `replaced_at` is the
    last replacement of a leaf or root, None if it still has its first ones.
    """

    leaf: Leaf | None
    fault: Fault | None
    public: Mapping[str, str] = field(repr=False)
    keystore_intact: bool
    truststore_mixed: bool = False
    replaced_at: datetime | None = None
    roots_since: float = 0.0
    leaf_since: float = 0.0
    webhooks_since: Mapping[ListedDelivery, float] = field(default_factory=dict)
    webhook_keys_since: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RetiredRoot:
    """CA that was retired in a normal rotation: its fingerprint, its anchors as PEM, and when."""

    fingerprint: str
    retired_at: datetime
    anchors: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class AuthoritySecret(Fact):
    """Secret of a CA: its certificates as written, and what is wrong with its key.

    `prepared` is the next CA and `retiring` the previous one, empty if there is none. `roots` and
    the similar fields are their anchors, None for a root of Troth's own, which is its own anchor.
    `plain` and the similar fields are the plain certificate of such a root, empty if there is none.
    `retired` are the earlier ones, which verify events only, None if their records are unreadable.
    `active_since` and `prepared_since` are the times since which the certificates are known, in
    seconds of this process's uptime.
    """

    certificates: bytes = field(repr=False)
    roots: bytes | None = field(repr=False)
    key_fault: Fault | None
    prepared: bytes = field(default=b"", repr=False)
    prepared_roots: bytes | None = field(default=None, repr=False)
    prepared_fault: Fault | None = None
    retiring: bytes = field(default=b"", repr=False)
    retiring_roots: bytes | None = field(default=None, repr=False)
    plain: bytes = field(default=b"", repr=False)
    prepared_plain: bytes = field(default=b"", repr=False)
    retiring_plain: bytes = field(default=b"", repr=False)
    retired: tuple[RetiredRoot, ...] | None = ()
    active_since: float = 0.0
    prepared_since: float = 0.0


@dataclass(frozen=True, slots=True)
class KnownAuthority:
    """Secret of a CA for one trust domain: the authority, or why it is unusable.

    During a rotation, `prepared` is the next root and `retiring` the previous one.
    """

    secret: AuthoritySecret
    authority: Authority | None
    fault: Fault | None
    prepared: Authority | None = None
    retiring: Authority | None = None

    @property
    def slots(self) -> tuple[Authority, ...]:
        """The existing CAs: the active, the next and the previous one."""
        return tuple(each for each in (self.authority, self.prepared, self.retiring) if each)

    @property
    def anchors(self) -> tuple[bytes, ...]:
        """Roots that the trust domain itself trusts, as PEM; none without a usable authority."""
        if self.authority is None:
            return ()
        return tuple(anchor for slot in self.slots for anchor in slot.anchors)


@dataclass(frozen=True, slots=True)
class TokenKey:
    """Public part of an ES256 key that signs tokens.

    `kid` is its RFC 7638 thumbprint. `x` and `y` are its coordinates in base64url. `made_at` is the
    time of its creation, None if unknown.
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
        """SHA-256 of the `kid`, shortened, in hexadecimal."""
        return base64url.decode(self.kid).hex()


@dataclass(frozen=True, slots=True)
class RetiredKey:
    """Token key that was retired in a normal rotation, and when."""

    key: TokenKey
    retired_at: datetime

    @property
    def fingerprint(self) -> str:
        """The key's fingerprint."""
        return self.key.fingerprint


@dataclass(frozen=True, slots=True)
class SigningSecret(Fact):
    """Secret with keys that sign tokens, as their public parts.

    During a rotation, `prepared` is the next key and `retiring` the previous one. `spoilt` names
    unusable data: a part of a next key, or an unreadable previous key. `active_since` and
    `prepared_since` are the times since which the keys are known, in seconds of this process's
    uptime.
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
        """All keys to publish."""
        return tuple(each for each in (self.active, self.prepared, self.retiring) if each)


class Cutoff(NamedTuple):
    """Place of an identity among those of its namespace, oldest first."""

    created: datetime
    name: str


@dataclass(frozen=True, slots=True)
class TokensSecret(SigningSecret):
    """Secret of a token issuer: the public parts of its keys, and its configuration.

    `view` and `bundle` are as written, empty if absent. `replaced_at` is the time at which it
    replaced a lost Secret, None if it did not or if this is unknown. `narrowed` is whether the view
    is incomplete, for lack of space, and `cutoffs` are the oldest identities without a part in it,
    by namespace; later ones of the namespace have none either. `retired` are earlier keys, which
    verify events only, None if their records are unreadable.
    """

    view: bytes = field(repr=False)
    bundle: bytes = field(repr=False)
    replaced_at: datetime | None = None
    narrowed: bool = False
    cutoffs: Mapping[str, Cutoff] = field(default_factory=dict)
    retired: tuple[RetiredKey, ...] | None = ()


@dataclass(frozen=True, slots=True)
class Content(Fact):
    """Spec of a NetworkPolicy or data of a ConfigMap, as the API server has it.

    `since` is the time since which it is known to be so, in seconds of this process's uptime.
    """

    text: bytes
    """Content in the form of `canonical`, which takes a tenth of the memory of the parsed form."""
    since: float = 0.0
    live_peers: str = ""
    """Annotation `LIVE_PEERS` of a NetworkPolicy, as written."""
    created: datetime | None = None
    """Time of creation of a ConfigMap, None if unknown."""

    @property
    def content(self) -> Mapping[str, Any]:
        """Parsed spec of a NetworkPolicy."""
        said: Mapping[str, Any] = from_json(self.text)
        return said

    @property
    def data(self) -> Mapping[str, str]:
        """Parsed data of a ConfigMap, one object for all with the same content."""
        return _data(self.text)

    def says(self, content: Mapping[str, Any]) -> bool:
        """Return whether the content is exactly this."""
        return self.text == canonical(content)


# The bundles of a trust domain are alike, so this holds a few.
@lru_cache(maxsize=64)
def _data(text: bytes) -> Mapping[str, str]:
    return MappingProxyType(from_json(text))


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))  # `json.dumps` makes one a call


def canonical(content: Mapping[str, Any]) -> bytes:
    """Return JSON as one text, independent of the order of keys."""
    return _ENCODER.encode(content).encode()


@dataclass(frozen=True, slots=True)
class RestartRecord:
    """Content of a Secret when a workload was restarted, as fingerprints of 16 digits each."""

    leaf: str
    roots: frozenset[str]

    def __str__(self) -> str:
        return f"{self.leaf} {','.join(sorted(self.roots))}"

    @classmethod
    def read(cls, text: str) -> "RestartRecord":
        """Return the evidence in an annotation; one that is not Troth's matches no Secret."""
        leaf, _, roots = text.partition(" ")
        return cls(leaf, frozenset(filter(None, roots.split(","))))


@dataclass(frozen=True, slots=True)
class Workload:
    """Deployment, StatefulSet or DaemonSet, as far as restarts need it.

    `labels` are those of its pods. `evidence` is that of its last restart, and `replaced` is
    whether all older pods are gone. `pods` is whether it has any, and `complete` whether all
    desired pods are of the current template and available. `since` is the time since which
    `evidence` and `replaced` are known to be so, in seconds of this process's uptime.
    """

    kind: str
    ref: Ref
    uid: str
    resource_version: str
    created: datetime
    labels: Mapping[str, str]
    evidence: RestartRecord | None
    paused: bool
    pods: bool
    replaced: bool
    complete: bool
    since: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} {self.ref}"


@dataclass(frozen=True, slots=True)
class Budget:
    """PodDisruptionBudget: the pods it protects, and whether one may be disrupted now."""

    ref: Ref
    selector: LabelSelector | None
    allows: bool


@dataclass(frozen=True, slots=True)
class ServicePort:
    """Port of a Service, and its target on the pods: a number or a name."""

    port: int
    target: int | str


@dataclass(frozen=True, slots=True)
class Service:
    """Pod selector and TCP ports of a Service.

    A `headless` one has no address of its own: its clients connect to the pods' ports directly.
    """

    ref: Ref
    selector: Mapping[str, str]
    ports: tuple[ServicePort, ...] = ()
    headless: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """Address and port of the API server."""

    address: str
    port: int

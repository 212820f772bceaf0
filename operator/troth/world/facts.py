"""Public facts of Kubernetes objects. No private key is ever kept here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from troth.pki.authorities import Authority
from troth.pki.certificates import Leaf
from troth.resources.references import Ref

MANAGED_BY = "app.kubernetes.io/managed-by"
OWNER_KIND = "troth.dev/owner-kind"
OWNER_NAME = "troth.dev/owner-name"
KEYSTORE_DIGEST = "troth.dev/keystore-digest"
FIELD_MANAGER = "troth"
SECRET_SUFFIX, POLICY_SUFFIX = "-identity", "-troth"
"""What the names of an identity's children add to its own."""

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why something cannot be used: a CamelCase reason, and a sentence that says what to mend."""

    reason: str
    message: str


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
    """

    leaf: Leaf | None
    fault: Fault | None
    public: Mapping[str, str]
    keystore_intact: bool


@dataclass(frozen=True, slots=True)
class AuthoritySecret(Fact):
    """A CA's Secret: its certificates as they stand there, and what is wrong with its key."""

    certificates: bytes
    roots: bytes | None
    key_fault: Fault | None


@dataclass(frozen=True, slots=True)
class KnownAuthority:
    """A CA's Secret judged for one trust domain: the authority, or why it cannot serve."""

    secret: AuthoritySecret
    authority: Authority | None
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class Content(Fact):
    """A NetworkPolicy's spec or a ConfigMap's data, as the API server holds it."""

    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Service:
    """A Service's pod selector."""

    ref: Ref
    selector: Mapping[str, str]


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One address and port of the API server."""

    address: str
    port: int

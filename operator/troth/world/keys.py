"""Keys: which resource's plan must be made."""

from typing import NamedTuple

from troth.resources.references import Ref


class Key(NamedTuple):
    """Names one resource whose plan must be made."""

    kind: str
    ref: Ref

    def __str__(self) -> str:
        return f"{self.kind} {self.ref}"


def domain_key(name: str) -> Key:
    """Return the key of a TrustDomain."""
    return Key("TrustDomain", Ref("", name))


def identity_key(ref: Ref) -> Key:
    """Return the key of a ServiceIdentity."""
    return Key("ServiceIdentity", ref)


Keys = set[Key]

"""Public facts of the Secrets of webhooks: which keys they have, without any key material."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from troth.resources.references import Ref
from troth.resources.webhooks.schemes import SchemeName
from troth.webhooks.schemes.scheme import LONGEST_KEY
from troth.world.facts.objects import Fact

TOO_LARGE = f"it is larger than {LONGEST_KEY} bytes"


@dataclass(frozen=True, slots=True)
class KnownKey:
    """Key of a sender: its ID, its fingerprint, and the schemes that can use it.

    `made_at` is the time at which Troth created it, None if a person did. `flaw` says why it is
    unusable: it is too large, or a PEM that the scheme HTTPSignatures cannot use. A key that is too
    large has no fingerprint.
    """

    id: str
    fingerprint: str
    usable_for: frozenset[SchemeName]
    made_at: datetime | None = None
    flaw: str = ""


@dataclass(frozen=True, slots=True)
class KeysSecret(Fact):
    """Secret with the keys of a sender, sorted by ID.

    `since` is the time since which its newest key is known, in seconds of this process's uptime.
    `unread` is the number of its entries if they are too many to be read. Then it has no `keys`.
    """

    keys: tuple[KnownKey, ...]
    since: float = 0.0
    unread: int = 0


@dataclass(frozen=True, slots=True)
class CompiledSecret(Fact):
    """Secret with the configuration of an endpoint for a gateway.

    `keys` are the fingerprints of its keys by ID. `names` are those of all its data, and `intact`
    is whether the data is as Troth wrote it. `listed` is the fingerprint of what the target has
    listed for at least the propagation delay, otherwise empty.
    """

    endpoint: Ref
    document: str = field(repr=False)
    keys: Mapping[str, str]
    names: frozenset[str]
    intact: bool
    listed: str

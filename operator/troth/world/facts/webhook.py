"""Public facts of the Secrets of webhooks: which keys there are, and nothing of any key."""

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
    """One key of a sender: its id, what tells it from another, and which schemes can use it.

    `made_at` is when Troth made it, None of one that somebody else has put there. `flaw` says why
    it is of no use: it is too large, or a PEM that the scheme HTTPSignatures cannot use. A key that
    is too large has no fingerprint.
    """

    id: str
    fingerprint: str
    usable_for: frozenset[SchemeName]
    made_at: datetime | None = None
    flaw: str = ""


@dataclass(frozen=True, slots=True)
class KeysSecret(Fact):
    """A Secret with the keys of a sender, in the order of their ids.

    `since` is since when, in seconds of this process's uptime, its newest key is known to be there.
    `unread` is the number of its entries where these are too many to be read; it has no `keys`
    then.
    """

    keys: tuple[KnownKey, ...]
    since: float = 0.0
    unread: int = 0


@dataclass(frozen=True, slots=True)
class CompiledSecret(Fact):
    """An endpoint as a gateway has it.

    `keys` are the fingerprints of the keys that it was compiled with, by their ids. `names` are
    those of all its data, and `intact` is whether that is as Troth has left it. `listed` is the
    fingerprint of what the target has been listing for long enough, empty while it has not.
    """

    endpoint: Ref
    document: str = field(repr=False)
    keys: Mapping[str, str]
    names: frozenset[str]
    intact: bool
    listed: str

"""Public facts of the Secrets of webhooks: which keys there are, and nothing of any key."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from troth.resources.references import Ref
from troth.resources.webhook_schemes import SchemeName
from troth.world.facts import Fact


@dataclass(frozen=True, slots=True)
class KnownKey:
    """One key of a sender: its id, what tells it from another, and which schemes can use it.

    `made_at` is when Troth made it, None of one that somebody else has put there.
    """

    id: str
    fingerprint: str
    usable_for: frozenset[SchemeName]
    made_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class KeysSecret(Fact):
    """A Secret with the keys of a sender, in the order of their ids.

    `since` is since when, in seconds of this process's uptime, its newest key is known to be there.
    """

    keys: tuple[KnownKey, ...]
    since: float = 0.0


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

"""Name by which a client with the guard for events introduces itself to its broker.

It is the client ID at Kafka and the connection name at NATS: `troth-events/`, the version of the
library, and the policies that the client validates, such as `troth-events/0.1.0 shop/orders`. If
the policies do not fit, the name ends with ` +`.

The name is a claim of the client. It shows how the client is configured, and proves nothing.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import metadata

PRODUCT = "troth-events"
LONGEST = 240
"""Maximum length of a name in characters, below Kafka's limit of 249 for other names."""
MORE = "+"
"""Last word of a name that lacks policies."""

_VERSION = r"[0-9A-Za-z][0-9A-Za-z.+!_-]{0,63}"
_LABEL = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_POLICY = rf"{_LABEL}/{_LABEL}(?:\.{_LABEL})*"
_IS_POLICY = re.compile(_POLICY)
_FORM = re.compile(rf"{PRODUCT}/({_VERSION})((?: {_POLICY})*)( \+)?")


@dataclass(frozen=True, slots=True)
class ClientName:
    """Version of the library, and the policies that it validates, each as namespace/name.

    `complete` is whether the name has all policies.
    """

    version: str
    policies: tuple[str, ...]
    complete: bool = True


def client_name(policies: Iterable[str], version: str = "") -> str:
    """Return the name of a client that validates by policies, each given as namespace/name.

    `version` is that of the library, by default the installed one. Raises `ValueError` if there is
    no policy, or for an invalid one.
    """
    named = sorted(set(policies))
    if not named:
        raise ValueError("a client validates by at least one policy; name it")
    for policy in named:
        if _IS_POLICY.fullmatch(policy) is None:
            raise ValueError(f"{policy[:LONGEST]!r} is not a policy; write namespace/name")
    whole = " ".join((f"{PRODUCT}/{version or _installed()}", *named))
    if len(whole) <= LONGEST:
        return whole
    # a policy of its own length plus a space, and at the end the mark with its space
    kept = whole[: LONGEST - len(MORE)].rpartition(" ")[0]
    return f"{kept} {MORE}"


def read_client_name(text: str) -> ClientName | None:
    """Return what a client's name says, None for the name of a client without the guard."""
    if len(text) > LONGEST:
        return None
    found = _FORM.fullmatch(text)
    if found is None or not (found[2] or found[3]):
        return None
    return ClientName(found[1], tuple(found[2].split()), complete=found[3] is None)


@cache
def _installed() -> str:
    return metadata.version("troth")

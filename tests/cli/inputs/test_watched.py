"""The statuses of TrustDomains say which namespaces Troth watches."""

import pytest

from tests import builders
from troth.cli.inputs.watched import watched_in
from troth.resources.trust_domain.status import NAMESPACES
from troth.trust.declarations.watched import EVERYWHERE

FULL = [f"team-{number:03}" for number in range(NAMESPACES)]


def told(*lists: list[str] | None) -> frozenset[str] | None:
    """Return the namespaces that TrustDomains with these lists tell; None for all."""
    return watched_in(
        builders.domain(f"domain-{number}")
        | ({} if each is None else {"status": {"watchedNamespaces": each}})
        for number, each in enumerate(lists)
    ).names


@pytest.mark.parametrize("lists", [(), (None,), ([],), (["shop"], FULL)])
def test_all_are_watched_unless_a_complete_list_says_otherwise(
    lists: tuple[list[str] | None, ...],
) -> None:
    assert told(*lists) is EVERYWHERE.names


def test_namespace_that_any_status_names_is_watched() -> None:
    assert told(["shop"], ["shop", "legal"], None) == frozenset({"shop", "legal"})

"""Conditions of a selection of letters, as SQL."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from troth.resources.references import Ref, Reference
from troth.resources.reviews.dead_letter_review import Letters


def conditions(
    select: Letters,
    until: datetime | None,
    namespace: str,
    identities: Mapping[Ref, Collection[str]],
) -> tuple[str, list[Any]]:
    """Return the conditions on a letter, to be added to others, and their values.

    `namespace` is that of the policy. `identities` are the SPIFFE IDs of ServiceIdentities. One
    that is missing there has the ServiceAccount of its own name.
    """
    terms: list[str] = []
    values: list[Any] = []

    def add(term: str, *given: object) -> None:
        terms.append(f" AND {term}")
        values.extend(given)

    if select.ids is not None:
        add(f"id IN ({', '.join('?' * len(select.ids))})", *select.ids)
    if select.reason is not None:
        add("reason = ?", select.reason)
    for column, reference in (("consumer", select.consumer), ("producer", select.producer)):
        if reference is not None:
            term, given = _workload(column, reference, namespace, identities)
            add(term, *given)
    if select.tenant is not None:
        add("tenant = ?", select.tenant)
    if select.since is not None:
        add("time >= ?", select.since.timestamp())
    ends = [each for each in (select.until, until) if each is not None]
    if ends:
        add("time <= ?", min(ends).timestamp())
    return "".join(terms), values


def _workload(
    column: str, reference: Reference, namespace: str, identities: Mapping[Ref, Collection[str]]
) -> tuple[str, list[str]]:
    ref = reference.seen_from(namespace)
    known = identities.get(ref)
    if known is not None:
        return f"{column} IN ({', '.join('?' * len(known))})", list(known)
    path = f"/ns/{ref.namespace}/sa/{ref.name}"
    # a SPIFFE ID is `spiffe://`, a trust domain without a slash, and this path
    return f"substr({column}, 10 + instr(substr({column}, 10), '/') - 1) = ?", [path]

"""Parts of the `messages` member of `identity.json` that are about reviews of dead letters."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from troth.planning.identity.facts import View
from troth.resources.messaging.dead_letter import DeadLetter, RetryTopic
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.messaging.topic_policy_status import Action, GrantState
from troth.resources.references import Ref
from troth.resources.schema.bounded_json import objects_in, texts_in
from troth.trust.declarations.topics.grant_entries import Purpose, retry_of
from troth.trust.edges.spiffe_ids import spiffe_ids_of
from troth.trust.topics.evaluation import TopicGrant

Entry = Mapping[str, Any]


def consumer_rights(policy: TopicPolicy, identity: Ref, group: str) -> dict[str, Any]:
    """Return the tenants and the retry topic of a consumer; empty members are omitted."""
    tenants, retry = _tenants(policy, identity, group), retry_of(policy, identity, group)
    return {
        **({"tenants": sorted(tenants)} if tenants is not None else {}),
        **({"retry": _retry(retry)} if retry is not None else {}),
    }


def review_rules(letters: DeadLetter) -> dict[str, Any]:
    """Return what a reviewer must know of a dead-letter topic besides its name."""
    return {
        **({"stream": letters.stream} if letters.stream is not None else {}),
        "approvals": letters.approvals,
        "redriveLimit": letters.redrive_limit,
        "retention": int(letters.retention.total_seconds()),
    }


def reviewed_consumers(
    policy: Ref, grants: Iterable[TopicGrant], view: View, before: Entry
) -> Iterator[Entry]:
    """Yield the consumers whose dead letters a worker reviews, sorted by identity and group.

    These are the identities that may consume, and those with a suspended grant that the current
    entry lists already. If the policy cannot be read, those of the current entry stay. The same
    applies to the retry topic of each.
    """
    declared = view.messaging.policies.get(policy)
    listed = objects_in(before.get("consumers"))
    grants = sorted(grants, key=lambda each: each.entry)
    consuming = [
        each
        for each in grants
        if (each.entry.action, each.entry.purpose) == (Action.CONSUME, Purpose.MESSAGES)
    ]
    if declared is None:
        kept = {
            name for each in consuming for name in spiffe_ids_of(each.entry.identity, view.registry)
        }
        yield from (each for each in listed if kept.issuperset(texts_in(each.get("spiffeIDs"))))
        return
    for each in consuming:
        identity, group = each.entry.identity, each.entry.group
        names = spiffe_ids_of(identity, view.registry)
        if each.state is GrantState.SUSPENDED:
            names &= _listed(listed, group)
        elif each.state is not GrantState.LIVE:
            continue
        if names:
            rights = consumer_rights(declared, identity, group)
            earlier = (each.get("retry") for each in _alike(listed, group, names))
            if "retry" in rights and not _is_received(
                each, grants, listed=rights["retry"] in earlier
            ):
                del rights["retry"]
                rights["retryMissing"] = True
            yield {"spiffeIDs": sorted(names), **({"group": group} if group else {}), **rights}


def _is_received(consuming: TopicGrant, grants: Iterable[TopicGrant], *, listed: bool) -> bool:
    """Return whether a consumer may read its retry topic, which is `listed` in the current entry.

    Its grant there may also be suspended if the topic is listed.
    """
    whose = (consuming.entry.identity, consuming.entry.group, Purpose.RETRY)
    states = {
        each.state
        for each in grants
        if (each.entry.identity, each.entry.group, each.entry.purpose) == whose
    }
    return GrantState.LIVE in states or (listed and GrantState.SUSPENDED in states)


def _alike(consumers: Iterable[Entry], group: str, names: frozenset[str]) -> Iterator[Entry]:
    """Yield the consumers of the current entry with a group and any of these SPIFFE IDs."""
    for each in consumers:
        if each.get("group", "") == group and not names.isdisjoint(texts_in(each.get("spiffeIDs"))):
            yield each


def _listed(consumers: Iterable[Entry], group: str) -> frozenset[str]:
    """Return the SPIFFE IDs of the consumers with a group."""
    alike = (each for each in consumers if each.get("group", "") == group)
    return frozenset(name for each in alike for name in texts_in(each.get("spiffeIDs")))


def _retry(declared: RetryTopic) -> dict[str, str]:
    stream = {} if declared.stream is None else {"stream": declared.stream}
    return {"topic": declared.topic, **stream}


def _tenants(policy: TopicPolicy, identity: Ref, group: str) -> frozenset[str] | None:
    """Return the tenants whose messages a consumer accepts, None for all.

    A policy may list the consumer several times with one group. Then an entry without tenants does
    not widen the others.
    """
    here = policy.ref.namespace
    found = {
        tenant
        for each in policy.spec.consumers
        if (each.identity.seen_from(here), each.group or "") == (identity, group)
        for tenant in each.tenants or ()
    }
    return frozenset(found) or None

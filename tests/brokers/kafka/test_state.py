"""The adapter observes what it applied, and changes no foreign state."""

import pytest

from tests.brokers.waiting import becomes, observed
from troth.brokers.kafka.driver import Kafka
from troth.brokers.kafka.rules import rules
from troth.brokers.protocol import Batch, Credential, Failure, Login
from troth.trust.grants import Action, Grant, Observed, Rule, Slot, Topic


def of(mine: str, seen: Observed) -> Observed:
    """Return the part of an observation that belongs to one test."""
    return Observed(
        frozenset(pair for pair in seen.credentials if pair[0].startswith(mine)),
        frozenset(rule for rule in seen.rules if rule.principal.startswith(mine)),
    )


def grants(mine: str) -> list[Grant]:
    return [
        Grant(f"{mine}checkout", Action.PUBLISH, Topic(f"{mine}orders")),
        Grant(f"{mine}checkout", Action.PUBLISH, Topic(f"{mine}audit.", prefix=True)),
        Grant(f"{mine}packing", Action.CONSUME, Topic(f"{mine}orders"), f"{mine}packing"),
    ]


def whole(mine: str) -> Batch:
    return Batch(
        credentials=(
            Credential(f"{mine}checkout", Slot.FIRST, "one"),
            Credential(f"{mine}checkout", Slot.SECOND, "two"),
            Credential(f"{mine}packing", Slot.SECOND, "three"),
        ),
        additions=tuple(rules(grants(mine))),
    )


def held(batch: Batch) -> Observed:
    return Observed(
        frozenset((each.principal, each.slot) for each in batch.credentials),
        frozenset(batch.additions),
    )


async def test_applied_batch_is_observed(kafka: Kafka, mine: str) -> None:
    batch = whole(mine)
    assert await kafka.apply(batch) == ()
    await observed(kafka, lambda seen: of(mine, seen) == held(batch))


async def test_batch_applied_twice_changes_nothing_more(kafka: Kafka, mine: str) -> None:
    batch = whole(mine)
    await kafka.apply(batch)
    first = await observed(kafka, lambda seen: of(mine, seen) == held(batch))
    assert await kafka.apply(batch) == ()
    again = await kafka.observe()
    assert of(mine, again) == of(mine, first)

    removed = Batch(removals=batch.additions)
    for _ in range(2):
        assert await kafka.apply(removed) == ()
        await observed(kafka, lambda seen: not of(mine, seen).rules)


async def test_removal_removes_only_its_rule(kafka: Kafka, mine: str) -> None:
    batch = whole(mine)
    await kafka.apply(batch)
    gone, *stays = sorted(batch.additions)
    assert await kafka.apply(Batch(removals=(gone,))) == ()
    await observed(kafka, lambda seen: of(mine, seen).rules == frozenset(stays))


async def test_revoked_credential_is_not_observed_until_it_is_added_again(
    kafka: Kafka, mine: str
) -> None:
    batch = whole(mine)
    await kafka.apply(batch)
    await observed(kafka, lambda seen: of(mine, seen) == held(batch))
    (revoked, *others) = sorted(held(batch).credentials)
    await kafka.apply(Batch(revocations=(revoked,)))
    await observed(kafka, lambda seen: of(mine, seen).credentials == frozenset(others))
    await kafka.apply(Batch(credentials=batch.credentials))
    await observed(kafka, lambda seen: of(mine, seen) == held(batch))


async def test_possible_changes_of_a_batch_are_applied_and_the_rest_named(
    kafka: Kafka, mine: str
) -> None:
    good = Rule(f"{mine}a", "TOPIC", "LITERAL", f"{mine}t", "WRITE", host="*")
    of_kafka = Rule(f"{mine}a", "CLUSTER", "LITERAL", "another", "ALTER", host="*")
    of_ours = Rule(f"{mine}a", "TOPIC", "MATCH", f"{mine}t", "WRITE", host="*")
    failures = await kafka.apply(Batch(additions=(of_ours, good, of_kafka), removals=(of_ours,)))
    assert [failure.change for failure in failures] == [of_ours, of_kafka, of_ours]
    assert failures[1].message == "The only valid name for the CLUSTER resource is kafka-cluster"
    await observed(kafka, lambda seen: of(mine, seen).rules == {good})


async def test_failed_credential_holds_back_its_principals_rules(kafka: Kafka, mine: str) -> None:
    bad = Credential(f"{mine}a\0b", Slot.FIRST, "password")
    good = Credential(f"{mine}b", Slot.FIRST, "password")
    held_back = Rule(bad.principal, "TOPIC", "LITERAL", f"{mine}t", "WRITE", host="*")
    made = Rule(good.principal, "TOPIC", "LITERAL", f"{mine}t", "WRITE", host="*")
    failures = await kafka.apply(Batch(credentials=(bad, good), additions=(held_back, made)))
    assert failures == (
        Failure((bad.principal, bad.slot), "invalid principal name or password"),
        Failure(held_back, "not applied, because its credential failed"),
    )
    await observed(
        kafka,
        lambda seen: (
            of(mine, seen) == Observed(frozenset({(f"{mine}b", Slot.FIRST)}), frozenset({made}))
        ),
    )


@pytest.mark.parametrize("ending", ["\0b", "\n", "x" * 40_000])
async def test_name_that_kafka_would_receive_changed_is_applied_nowhere(
    kafka: Kafka, mine: str, ending: str
) -> None:
    hostile = Rule(f"{mine}a", "TOPIC", "PREFIXED", f"{mine}{ending}", "WRITE", host="*")
    good = Rule(f"{mine}a", "TOPIC", "LITERAL", f"{mine}t", "WRITE", host="*")
    (failure,) = await kafka.apply(Batch(additions=(hostile, good)))
    assert failure.change == hostile
    await observed(kafka, lambda seen: of(mine, seen).rules == {good})


async def test_many_rules_and_the_longest_names_are_applied(kafka: Kafka, mine: str) -> None:
    longest = (mine + "x" * 249)[:249]
    additions = rules(
        [Grant(f"{mine}a", Action.CONSUME, Topic(longest), longest)]
        + [Grant(f"{mine}a", Action.PUBLISH, Topic(f"{mine}{n}")) for n in range(500)]
    )
    assert await kafka.apply(Batch(additions=tuple(additions))) == ()
    await observed(kafka, lambda seen: of(mine, seen).rules == additions)
    assert await kafka.apply(Batch(removals=tuple(additions))) == ()


async def test_last_of_two_passwords_for_one_slot_is_valid(kafka: Kafka, mine: str) -> None:
    twice = tuple(Credential(mine, Slot.FIRST, password) for password in ("before", "after"))
    assert await kafka.apply(Batch(credentials=twice)) == ()
    await becomes(lambda: kafka.admits(Login(mine, Slot.FIRST, "after")))
    assert not await kafka.admits(Login(mine, Slot.FIRST, "before"))


async def test_rule_both_added_and_removed_is_removed(kafka: Kafka, mine: str) -> None:
    both, added = (Rule(mine, "TOPIC", "LITERAL", f"{mine}{n}", "WRITE", host="*") for n in "ab")
    assert await kafka.apply(Batch(additions=(both, added), removals=(both,))) == ()
    await observed(kafka, lambda seen: of(mine, seen).rules == {added})

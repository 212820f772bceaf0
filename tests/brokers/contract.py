"""What every adapter keeps to, whichever its broker is; the real server is the judge.

An adapter comes with a `Harness`, and with a test class that inherits `Contract` and has a fixture
`opened`. What is special to one broker is tested beside its adapter.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.brokers.waiting import becomes, observed
from tests.patience import PATIENCE
from troth.brokers.protocol import Batch, Broker, Credential, Login, Observed, Slot
from troth.planning.brokers.changes import Brake, Wanted, broker_changes
from troth.planning.grants.dialects import rules_of
from troth.resources.messaging.message_broker import BrokerType
from troth.trust.grants import Action, Grant, Rule, Topic


class Operation(NamedTuple):
    """Something a principal does with a name at the broker: `what` is the broker's own word."""

    principal: str
    what: str
    name: str
    group: str = ""


class Harness(Protocol):
    """An adapter at its server, and the server's own clients and tools.

    `principals` are two, of whom the server knows nothing yet. `names` are topics that are there:
    the second begins with the first and a dot, and the last has 249 characters.
    """

    @property
    def type(self) -> BrokerType: ...

    @property
    def broker(self) -> Broker: ...

    @property
    def principals(self) -> tuple[str, str]: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    def group(self, principal: str, /) -> str:
        """Return one that a principal may consume by, if it is granted."""

    def grants(self) -> st.SearchStrategy[Grant]:
        """Return whatever may be granted to the principals."""

    def meant(self, grants: Iterable[Grant]) -> set[Operation]:
        """Return which operations grants allow, said again without the table that is on trial."""

    async def succeeding(self, logins: Collection[Login]) -> set[Operation]:
        """Try every operation with real clients, and return those that succeed.

        Who is not let in at all succeeds in none.
        """

    def issue(self, principal: str, slot: Slot) -> tuple[Credential, Login]:
        """Return a new credential."""

    async def make_foreign(self) -> Observed:
        """Make principals and rules as others do, and return what is to be observed of them."""

    async def foreign(self) -> object:
        """Return all that is not Troth's, in full and in its order, by the broker's own tools."""

    def writes(self) -> Awaitable[int]:
        """Return how often rules were written at the server, each time more than before."""


Opened = Callable[[], AbstractAsyncContextManager[Harness]]


def table(harness: Harness, grants: Iterable[Grant]) -> frozenset[Rule]:
    """The rules of grants, none of which is refused."""
    found: set[Rule] = set()
    for grant in grants:
        rules = rules_of(harness.type, grant)
        assert not isinstance(rules, str), rules
        found |= rules
    return frozenset(found)


def publish(harness: Harness, principal: str, number: int = 0) -> Grant:
    return Grant(principal, Action.PUBLISH, Topic(harness.names[number]))


def consume(harness: Harness, principal: str, number: int = 0) -> Grant:
    return Grant(principal, Action.CONSUME, Topic(harness.names[number]), harness.group(principal))


async def tell(harness: Harness, batch: Batch) -> None:
    """Apply, and wait until the server has it all."""
    given_ = {(each.principal, each.slot) for each in batch.credentials}
    revoked, added, removed = map(set, (batch.revocations, batch.additions, batch.removals))

    def is_there(seen: Observed) -> bool:
        return (
            added <= seen.rules
            and not removed & seen.rules
            and given_ <= seen.credentials
            and not revoked & seen.credentials
        )

    assert await harness.broker.apply(batch) == ()
    await observed(harness.broker, is_there)


async def admit(
    harness: Harness, grants: Iterable[Grant] = (), *, slots: Iterable[Slot] = (Slot.FIRST,)
) -> Mapping[tuple[str, Slot], Login]:
    """Give the principals credentials, and grants."""
    issued = [harness.issue(principal, slot) for slot in slots for principal in harness.principals]
    await tell(
        harness,
        Batch(tuple(credential for credential, _ in issued), tuple(table(harness, grants))),
    )
    return {(login.principal, login.slot): login for _, login in issued}


def hostile(name: str) -> list[str]:
    """Names by which more could be meant than themselves, somewhere."""
    widening = [
        "*",
        ">",
        "#",
        "+",
        "?",
        "%",
        "|",
        "$",
        ".*",
        ".>",
        ".+",
        " *",
        ",",
        "\n",
        "\0",
        "\\",
    ]
    longest = name + "x" * (249 - len(name))
    return [
        *widening,
        *(name + end for end in widening),
        *("", ".", "..", "[a-z.]+", "(a|b)", "^", "{{name()}}", "$JS.API.>", "$SYS.>", "_INBOX.>"),
        *(
            "é",
            "\u0435",
            "\u202e" + name,
            name + "\u200b",
            name.replace("a", "\uff41"),
            name.upper(),
        ),
        *(longest, longest + "x", longest[:-1]),
    ]


class Contract:
    """The suite."""

    # Each takes the server seconds; a failure is short enough as it is found.
    @settings(max_examples=3, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def test_exactly_what_is_granted_succeeds_whatever_was_before(
        self, opened: Opened, data: st.DataObject
    ) -> None:
        async def judge() -> None:
            async with opened() as harness:
                some = st.lists(harness.grants(), min_size=1, max_size=5)
                before, after = data.draw(some), data.draw(some)
                logins = await admit(harness, before)
                assert await harness.succeeding(logins.values()) == harness.meant(before)
                old, new = table(harness, before), table(harness, after)
                await tell(harness, Batch((), tuple(new - old), tuple(old - new)))
                assert await harness.succeeding(logins.values()) == harness.meant(after)

        asyncio.run(asyncio.wait_for(judge(), PATIENCE))

    async def test_who_has_a_credential_and_no_grant_can_do_nothing(self, opened: Opened) -> None:
        async with opened() as harness:
            logins = await admit(harness)
            assert await harness.succeeding(logins.values()) == set()

    async def test_what_is_removed_is_denied_and_the_rest_stays(self, opened: Opened) -> None:
        async with opened() as harness:
            one, other = harness.principals
            gone = [publish(harness, one), consume(harness, other)]
            stay = [consume(harness, one, 1), publish(harness, other)]
            logins = await admit(harness, gone + stay)
            assert await harness.succeeding(logins.values()) == harness.meant(gone + stay)
            removed = table(harness, gone) - table(harness, stay)
            await tell(harness, Batch(removals=tuple(removed)))
            assert await harness.succeeding(logins.values()) == harness.meant(stay)

    async def test_what_is_not_troths_is_observed_and_stays_as_it_is(self, opened: Opened) -> None:
        async with opened() as harness:
            theirs = await harness.make_foreign()
            await observed(harness.broker, lambda seen: _within(theirs, seen))
            before = await harness.foreign()
            one, other = harness.principals
            grants = [publish(harness, one), consume(harness, one, 1), publish(harness, other)]
            await admit(harness, grants, slots=Slot)
            assert await harness.foreign() == before
            await tell(harness, Batch(removals=tuple(table(harness, grants[:1]))[:1]))
            everything = Batch(
                removals=tuple(table(harness, grants)),
                revocations=tuple((each, slot) for each in harness.principals for slot in Slot),
            )
            await tell(harness, everything)
            assert await harness.foreign() == before
            assert _within(theirs, await harness.broker.observe())

    async def test_what_is_applied_twice_is_written_once(self, opened: Opened) -> None:
        """Of credentials the ledger knows which are told: not every broker can compare them."""
        async with opened() as harness:
            await harness.make_foreign()
            one, other = harness.principals
            await admit(harness)
            rules = table(harness, [publish(harness, one), consume(harness, other)])
            absent = table(harness, [publish(harness, one, 1)]) - rules
            at_first = await harness.writes()
            await tell(harness, Batch((), tuple(rules)))
            once = await harness.writes()
            assert once > at_first
            await tell(harness, Batch((), tuple(rules), tuple(absent)))
            assert await harness.writes() == once
            changes = broker_changes(
                Wanted(rules),
                (await harness.broker.observe()).rules,
                rules,
                principal_prefix=one,
                principals=frozenset(harness.principals),
                brake=Brake(0),
            )
            assert changes.in_sync
            assert changes.foreign

    async def test_both_credentials_are_good_at_once_and_one_is_revoked_without_the_other(
        self, opened: Opened
    ) -> None:
        async with opened() as harness:
            one, other = harness.principals
            grants = [publish(harness, one), consume(harness, other)]
            logins = await admit(harness, grants, slots=Slot)
            first, second = ([logins[each, slot] for each in (one, other)] for slot in Slot)
            for of_one_slot in (first, second):
                assert await harness.succeeding(of_one_slot) == harness.meant(grants)
                assert [await harness.broker.admits(login) for login in of_one_slot] == [True, True]

            await tell(harness, Batch(revocations=((one, Slot.FIRST), (other, Slot.FIRST))))

            async def turned_away() -> bool:
                return not any([await harness.broker.admits(login) for login in first])

            await becomes(turned_away)
            assert await harness.succeeding(first[:1]) == set()
            assert [await harness.broker.admits(login) for login in second] == [True, True]
            assert await harness.succeeding(second) == harness.meant(grants)

    async def test_a_credential_that_is_replaced_in_its_slot_is_good_no_more(
        self, opened: Opened
    ) -> None:
        async with opened() as harness:
            one, _ = harness.principals
            grants = [publish(harness, one)]
            before = (await admit(harness, grants))[one, Slot.FIRST]
            replacement, after = harness.issue(one, Slot.FIRST)
            await tell(harness, Batch((replacement,)))
            await becomes(lambda: harness.broker.admits(after))
            assert not await harness.broker.admits(before)
            assert await harness.succeeding([after]) == harness.meant(grants)
            assert await harness.succeeding([before]) == set()

    async def test_a_hostile_name_is_refused_with_a_sentence_or_granted_to_the_letter(
        self, opened: Opened
    ) -> None:
        async with opened() as harness:
            one, other = harness.principals
            name, group = harness.names[0], harness.group(one)
            declared = [
                *(Grant(one, Action.PUBLISH, Topic(each)) for each in hostile(name)),
                *(Grant(one, Action.CONSUME, Topic(each), group) for each in hostile(name)),
                *(Grant(one, Action.CONSUME, Topic(name), each) for each in hostile(group) if each),
                *(Grant(other, Action.PUBLISH, Topic(each, True)) for each in hostile(name)),
                *(Grant(each, Action.PUBLISH, Topic(name)) for each in hostile(other)),
            ]
            taken = [
                each for each in declared if isinstance(rules_of(harness.type, each), frozenset)
            ]
            for refused in set(declared) - set(taken):
                assert str(rules_of(harness.type, refused)).strip()
            assert 0 < len(taken) < len(declared)
            logins = await admit(harness)
            names = sorted({each.principal for each in taken} - set(harness.principals))
            others = [harness.issue(each, Slot.FIRST)[0] for each in names]
            await tell(harness, Batch(tuple(others), tuple(table(harness, taken))))
            assert await harness.succeeding(logins.values()) == {
                each for each in harness.meant(taken) if each.principal in harness.principals
            }


def _within(part: Observed, whole: Observed) -> bool:
    return part.rules <= whole.rules and part.credentials <= whole.credentials

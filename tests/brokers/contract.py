"""Contract that every broker's model, dialect and driver meet; the real server is the judge.

A broker provides a `Harness`, and a test class that inherits `Contract` and has a fixture `opened`.
Behaviour that is special to one broker is tested in its own modules.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, NamedTuple, Protocol

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.broker_builders import orders, publisher, subscriber
from tests.brokers.waiting import becomes, observed
from tests.builders import Manifest, domain, namespace
from tests.messaging import broker, consumer
from tests.patience import PATIENCE
from tests.reconcile.brokers.at_work import (
    CHECKOUT,
    EVERY,
    FULFILMENT,
    MAIN,
    ORDERS,
    Working,
    working,
)
from tests.reconcile.serving import Server
from troth.brokers.clients import Client
from troth.brokers.protocol import Batch, Credential, Driver, Login
from troth.documents.client_name import client_name
from troth.planning.grants.changes import Brake, Wanted, broker_changes
from troth.planning.grants.dialects import rules_of
from troth.reconcile.apply.secrets.credential_data import login
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.messaging.observed_broker import Aspect
from troth.trust.grants import Action, Grant, Observed, Rule, Slot, Topic
from troth.world.facts.broker import Ledger
from troth.world.index.brokers import credential_ref
from troth.world.observation.objects import decoded

SHOP = (CHECKOUT, FULFILMENT)
SECONDS = 60.0
"""Timeout of an example."""


class Operation(NamedTuple):
    """Operation of a principal on a name at the broker; `what` is the broker's own term."""

    principal: str
    what: str
    name: str
    group: str = ""


class Harness(Protocol):
    """A driver at its server, and the server's own clients and tools.

    `principals` are two names that the server does not have yet. `names` are existing topics: the
    second begins with the first and a dot, and the last has 249 characters.
    """

    @property
    def type(self) -> BrokerType: ...

    @property
    def broker(self) -> Driver: ...

    @property
    def principals(self) -> tuple[str, str]: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def described(self) -> Manifest:
        """Member of a MessageBroker's spec that describes the server."""

    @property
    def secrets(self) -> list[Manifest]:
        """Secrets that `described` names."""

    @property
    def prefix(self) -> str:
        """Prefix of principals that the server does not have yet."""

    def group(self, principal: str, /) -> str:
        """Return a consumer group that a principal may use if it is granted."""

    def grants(self) -> st.SearchStrategy[Grant]:
        """Return a strategy for all grants that the principals may get."""

    def meant(self, grants: Iterable[Grant]) -> set[Operation]:
        """Return the operations that grants allow, derived without the rules under test."""

    async def succeeding(self, logins: Collection[Login]) -> set[Operation]:
        """Try every operation with real clients, and return those that succeed.

        None succeeds for a login that the server rejects.
        """

    def issue(self, principal: str, slot: Slot) -> tuple[Credential, Login]:
        """Return a new credential."""

    async def make_foreign(self) -> Observed:
        """Create foreign principals and rules; return the expected observation of them."""

    async def foreign(self) -> object:
        """Return all foreign state, in full and in its order, from the broker's own tools."""

    def connected(
        self, login: Login, topic: str, group: str, *names: str
    ) -> AbstractAsyncContextManager[None]:
        """Keep consumers of a topic in one group connected, each with a name of its own.

        All are of the same principal. They are connected once the server shows all of them.
        """

    def writes(self) -> Awaitable[int]:
        """Return the number of writes of rules at the server, which only grows."""


GUARDED = client_name([str(ORDERS)])
BARE = "a client of somebody's"
Opened = Callable[[], AbstractAsyncContextManager[Harness]]


def table(harness: Harness, grants: Iterable[Grant]) -> frozenset[Rule]:
    """Return the rules of grants, none of which is rejected."""
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


async def apply_and_wait(harness: Harness, batch: Batch) -> None:
    """Apply a batch, and wait until the server shows all of it."""
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
    """Give the principals credentials and grants; return the logins."""
    issued = [harness.issue(principal, slot) for slot in slots for principal in harness.principals]
    await apply_and_wait(
        harness,
        Batch(tuple(credential for credential, _ in issued), tuple(table(harness, grants))),
    )
    return {(login.principal, login.slot): login for _, login in issued}


def hostile(name: str) -> list[str]:
    """Return names that could mean more than themselves in some syntax."""
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


async def clients(harness: Harness, principal: str, group: str) -> set[Client]:
    """Return the clients of a principal or of its group, after an observation."""
    await harness.broker.observe()
    found = await harness.broker.clients({group})
    assert not found.hidden
    return {each for each in found.seen if each.principal == principal or each.group == group}


def edges(it: Working) -> tuple[str, str, str]:
    return it.condition_of("TopicPolicy", ORDERS, "EdgesValidated")


def enforced(it: Working) -> str:
    """Return where the policy is enforced for its consumer."""
    grants = it.server.objects["TopicPolicy", ORDERS]["status"]["grants"]
    (found,) = (each["enforcement"] for each in grants if each["action"] == Action.CONSUME)
    return str(found)


def declared(harness: Harness, **spec: Any) -> list[Manifest]:
    """Return a shop at the broker: `checkout` publishes orders, and `fulfilment` consumes them."""
    topic, principal = harness.names[0], f"{harness.prefix}shop.fulfilment"
    described = broker(
        described=harness.described,
        owns=[topic],
        principals=harness.prefix,
        groups=[harness.group(principal)],
    )
    consumers = [consumer("fulfilment", harness.group(principal))]
    return [
        namespace("shop", domain="production"),
        namespace("messaging", domain="production"),
        domain(),
        *harness.secrets,
        described,
        publisher(),
        subscriber(),
        orders(topic={"name": topic}, consumers=consumers, **spec),
    ]


def logins_of(harness: Harness, it: Working) -> list[Login]:
    """Return the logins in the Secrets of the shop."""
    stored = (it.server.objects["Secret", credential_ref(each, MAIN)] for each in SHOP)
    return [login(harness.type, decoded(each), "current") for each in stored]


class Contract:
    """Tests that every broker passes."""

    async def test_clients_can_do_what_is_declared_until_it_is_deleted(
        self, opened: Opened
    ) -> None:
        """Covers the whole operator: manifests, plans, rules, Secrets, the server and back."""
        async with opened() as harness, working(Server(declared(harness))) as it:
            one, other = (f"{harness.prefix}shop.{name}" for name in ("checkout", "fulfilment"))
            grants = [publish(harness, one), consume(harness, other)]
            rules, logins = table(harness, grants), logins_of(harness, it)
            assert [each.principal for each in logins] == [one, other]
            assert {(who, state) for who, _, state, _ in it.grants()} == {
                (str(CHECKOUT), "InSync"),
                (str(FULFILMENT), "InSync"),
            }
            assert await harness.succeeding(logins) == harness.meant(grants)

            await apply_and_wait(harness, Batch(removals=tuple(rules)[:1]))
            await it.later(EVERY + timedelta(seconds=1))
            await observed(harness.broker, lambda seen: rules <= seen.rules)
            assert await harness.succeeding(logins) == harness.meant(grants)

            await it.delete("TopicPolicy", ORDERS)
            await observed(harness.broker, lambda seen: not _of({one, other}, seen))
            assert await harness.succeeding(logins) == set()
            assert it.ledger == Ledger()

    # Each example takes the server seconds; a failure is short enough without shrinking.
    @settings(max_examples=3, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def test_exactly_the_granted_operations_succeed_after_any_change(
        self, opened: Opened, data: st.DataObject
    ) -> None:
        async def judge() -> None:
            async with opened() as harness:
                some = st.lists(harness.grants(), min_size=1, max_size=5)
                before, after = data.draw(some), data.draw(some)
                logins = await admit(harness, before)
                assert await harness.succeeding(logins.values()) == harness.meant(before)
                old, new = table(harness, before), table(harness, after)
                await apply_and_wait(harness, Batch((), tuple(new - old), tuple(old - new)))
                assert await harness.succeeding(logins.values()) == harness.meant(after)

        asyncio.run(asyncio.wait_for(judge(), PATIENCE))

    async def test_credential_without_a_grant_allows_nothing(self, opened: Opened) -> None:
        async with opened() as harness:
            logins = await admit(harness)
            assert await harness.succeeding(logins.values()) == set()

    async def test_removed_grant_is_denied_and_the_rest_stays(self, opened: Opened) -> None:
        async with opened() as harness:
            one, other = harness.principals
            gone = [publish(harness, one), consume(harness, other)]
            stay = [consume(harness, one, 1), publish(harness, other)]
            logins = await admit(harness, gone + stay)
            assert await harness.succeeding(logins.values()) == harness.meant(gone + stay)
            removed = table(harness, gone) - table(harness, stay)
            await apply_and_wait(harness, Batch(removals=tuple(removed)))
            assert await harness.succeeding(logins.values()) == harness.meant(stay)

    async def test_foreign_state_is_observed_and_never_changed(self, opened: Opened) -> None:
        async with opened() as harness:
            theirs = await harness.make_foreign()
            await observed(harness.broker, lambda seen: _within(theirs, seen))
            before = await harness.foreign()
            one, other = harness.principals
            grants = [publish(harness, one), consume(harness, one, 1), publish(harness, other)]
            await admit(harness, grants, slots=Slot)
            assert await harness.foreign() == before
            await apply_and_wait(harness, Batch(removals=tuple(table(harness, grants[:1]))[:1]))
            everything = Batch(
                removals=tuple(table(harness, grants)),
                revocations=tuple((each, slot) for each in harness.principals for slot in Slot),
            )
            await apply_and_wait(harness, everything)
            assert await harness.foreign() == before
            assert _within(theirs, await harness.broker.observe())

    async def test_clients_are_observed_with_and_without_the_guard(self, opened: Opened) -> None:
        async with opened() as harness:
            one, _ = harness.principals
            grant = consume(harness, one)
            login = (await admit(harness, [grant]))[one, Slot.FIRST]
            before = await clients(harness, one, grant.group)
            assert before == set()
            async with harness.connected(login, grant.topic.name, grant.group, GUARDED, BARE):
                seen = await clients(harness, one, grant.group)
                assert {(each.policies, each.name) for each in seen} == {
                    ((str(ORDERS),), ""),
                    (None, BARE),
                }
                assert all(Action.CONSUME in each.actions for each in seen)

            async def gone() -> bool:
                return not await clients(harness, one, grant.group)

            await becomes(gone)

    async def test_exposure_shows_clients_by_login_or_says_that_it_cannot(
        self, opened: Opened
    ) -> None:
        async with opened() as harness:
            one, _ = harness.principals
            grant = consume(harness, one)
            login = (await admit(harness, [grant]))[one, Slot.FIRST]
            async with harness.connected(login, grant.topic.name, grant.group, BARE):
                await harness.broker.observe()
                found = await harness.broker.exposure({grant.group})
            (client,) = (
                each
                for each in found.clients
                if each.principal == one or (each.group and each.group == grant.group)
            )
            assert client.names == (BARE,)
            hides = Aspect.PRINCIPALS in {each.aspect for each in found.hidden}
            assert hides == (client.principal is None)

    async def test_unguarded_consumer_is_named_in_the_status_of_its_policy(
        self, opened: Opened
    ) -> None:
        """Covers the whole operator; a restarted one has no memory of earlier clients."""
        async with opened() as harness:
            objects = declared(harness, context={"require": ["Actor"]})
            async with working(Server(objects)) as it:
                assert edges(it)[:2] == ("Unknown", "NoConsumerSeen")
                (login,) = (
                    each for each in logins_of(harness, it) if each.principal.endswith("fulfilment")
                )
                topic, group = harness.names[0], harness.group(login.principal)
                async with harness.connected(login, topic, group, GUARDED):
                    await it.later(EVERY)
                    assert edges(it)[:2] == ("True", "AllConsumersValidate")
                    assert enforced(it) == "Edge"
                    ready = it.condition_of("TopicPolicy", ORDERS, "Ready")
                async with harness.connected(login, topic, group, GUARDED, BARE):
                    await it.later(EVERY)
                    status, reason, message = edges(it)
                    assert (status, reason) == ("False", "UnvalidatedConsumer")
                    assert str(FULFILMENT) in message
                    assert BARE in message
                    assert enforced(it) == "Broker"
                    assert it.condition_of("TopicPolicy", ORDERS, "Ready") == ready
                    assert len(it.notes("UnvalidatedConsumer")) == 1

    async def test_batch_applied_twice_is_written_once(self, opened: Opened) -> None:
        """Only for rules: not every broker can compare credentials, so the ledger records those."""
        async with opened() as harness:
            await harness.make_foreign()
            one, other = harness.principals
            await admit(harness)
            rules = table(harness, [publish(harness, one), consume(harness, other)])
            absent = table(harness, [publish(harness, one, 1)]) - rules
            at_first = await harness.writes()
            await apply_and_wait(harness, Batch((), tuple(rules)))
            once = await harness.writes()
            assert once > at_first
            await apply_and_wait(harness, Batch((), tuple(rules), tuple(absent)))
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

    async def test_both_credentials_work_and_one_is_revoked_without_the_other(
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

            await apply_and_wait(
                harness, Batch(revocations=((one, Slot.FIRST), (other, Slot.FIRST)))
            )

            async def turned_away() -> bool:
                return not any([await harness.broker.admits(login) for login in first])

            await becomes(turned_away)
            assert await harness.succeeding(first[:1]) == set()
            assert [await harness.broker.admits(login) for login in second] == [True, True]
            assert await harness.succeeding(second) == harness.meant(grants)

    async def test_credential_replaced_in_its_slot_no_longer_works(self, opened: Opened) -> None:
        async with opened() as harness:
            one, _ = harness.principals
            grants = [publish(harness, one)]
            before = (await admit(harness, grants))[one, Slot.FIRST]
            replacement, after = harness.issue(one, Slot.FIRST)
            await apply_and_wait(harness, Batch((replacement,)))
            await becomes(lambda: harness.broker.admits(after))
            assert not await harness.broker.admits(before)
            assert await harness.succeeding([after]) == harness.meant(grants)
            assert await harness.succeeding([before]) == set()

    async def test_hostile_name_is_rejected_with_a_message_or_granted_literally(
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
            await apply_and_wait(harness, Batch(tuple(others), tuple(table(harness, taken))))
            assert await harness.succeeding(logins.values()) == {
                each for each in harness.meant(taken) if each.principal in harness.principals
            }


def _of(principals: set[str], seen: Observed) -> bool:
    """Return whether a broker has rules or credentials of the principals."""
    having = {rule.principal for rule in seen.rules} | {each for each, _ in seen.credentials}
    return bool(principals & having)


def _within(part: Observed, whole: Observed) -> bool:
    return part.rules <= whole.rules and part.credentials <= whole.credentials

"""Random campaigns of users, tampering, faults and crashes against brokers.

In any order of events: the broker never allows an operation without a grant, foreign rules stay
as they are, and the ledger has everything that Troth made. At rest the broker has exactly what is
declared, and nothing is written any more.
"""

import asyncio
import copy
from datetime import timedelta
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from tests import builders, messaging
from tests.builders import HOUR, Manifest, stamp
from tests.campaign.broker import PREFIX, Adapter, Trouble
from tests.campaign.machine import Machine
from tests.campaign.stages.brokers import (
    DEAD,
    GROUPS,
    MAIN,
    NAMED,
    TOPICS,
    BrokerStage,
    Identity,
    principal_of,
)
from tests.campaign.stages.stage import MINUTE
from tests.reconcile.brokers.at_work import secret
from tests.strategies import campaign, more, subset
from troth.resources.references import Ref
from troth.trust.grants import Rule
from troth.world.index.brokers import credential_ref

CONNECT = "troth.reconcile.brokers.connections.connect"
IDENTITIES: tuple[Identity, ...] = (("north", "a"), ("south", "a"), ("south", "c"))
POLICIES: tuple[Identity, ...] = (("north", "p"), ("south", "p"), ("south", "q"))
THOROUGH = settings.get_current_profile_name() == "thorough"
FEW = settings(max_examples=10)
"""Each takes more than a second."""
WATCHED = ("MessageBroker", "TopicPolicy", "ServiceIdentity", "Namespace", "Secret", "ConfigMap")

identities = st.sampled_from(IDENTITIES)
policies = st.sampled_from(POLICIES)
troubles: tuple[Trouble, ...] = ("away", "lost", "cut", "refused")


def reference(place: Identity) -> Manifest:
    return builders.reference(place[1], place[0])


@st.composite
def users(draw: st.DrawFn, place: Identity) -> Manifest:
    publishes, consumes = (
        [{"policy": reference(each)} for each in draw(subset(POLICIES))] for _ in range(2)
    )
    return builders.identity(place[1], place[0], publishes=publishes, consumes=consumes)


@st.composite
def topic_policies(draw: st.DrawFn, place: Identity) -> Manifest:
    names = st.sampled_from(NAMED).map(lambda name: {"name": name})
    prefixes = st.sampled_from(({"prefix": "prod.b"},))
    spec: Manifest = {
        "topic": draw(st.one_of(names, prefixes)),
        "producers": [{"identity": reference(each)} for each in draw(subset(IDENTITIES))],
        "consumers": [
            {"identity": reference(each), "group": draw(st.sampled_from(GROUPS))}
            for each in draw(subset(IDENTITIES))
        ],
        "environment": draw(st.sampled_from(("red", "red", "red", "blue"))),
    }
    if draw(st.booleans()):
        spec["deadLetter"] = {"topic": DEAD}
    return messaging.policy(place[1], place[0], at=(MAIN.namespace, MAIN.name), **spec)


def main(mode: str = "Enforce", owns: tuple[str, ...] = ("prod.",)) -> Manifest:
    admitted = {"matchExpressions": [{"key": "domain", "operator": "Exists"}]}
    return messaging.broker(
        MAIN.name,
        MAIN.namespace,
        owns=owns,
        groups=GROUPS,
        environment="red",
        allowedNamespaces=admitted,
        mode=mode,
        brake={"maxRemovals": 1000},
    )


class MessagingCampaign(Machine[BrokerStage]):
    """Users and their broker."""

    watched = WATCHED

    def __init__(self, stage: BrokerStage | None = None) -> None:
        super().__init__(stage or BrokerStage())
        self.connecting = patch(CONNECT, lambda *_: Adapter(self.stage.broker))

    @initialize(
        declared=st.tuples(*map(users, IDENTITIES)), asked=st.tuples(*map(topic_policies, POLICIES))
    )
    def begin(self, declared: tuple[Manifest, ...], asked: tuple[Manifest, ...]) -> None:
        self.connecting.start()
        red = builders.domain("red", bundle={"propagation": "1m"})
        spaces = [builders.namespace(name, domain="red") for name in ("north", "south")]
        given = {"username": "admin", "password": "an administrator's", "ca.crt": "roots"}
        secrets = [secret(name, given, MAIN.namespace) for name in ("kafka-admin", "kafka-ca")]
        self.open(*secrets, red, *spaces, main(), *declared, *asked)

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            if self.stage.copies:
                self.connecting.stop()

    # Users

    @rule(manifest=st.one_of(*map(users, IDENTITIES)))
    def declare_identity(self, manifest: Manifest) -> None:
        self.declare(manifest)

    @rule(manifest=st.one_of(*map(topic_policies, POLICIES)))
    def declare_policy(self, manifest: Manifest) -> None:
        self.declare(manifest)

    @rule(
        mode=st.sampled_from(("Enforce", "Enforce", "Observe")),
        owns=st.sampled_from((("prod.",), ("prod.", "test."), ("prod.b",))),
    )
    def declare_broker(self, mode: str, owns: tuple[str, ...]) -> None:
        self.declare(main(mode, owns))

    @rule(policy=policies, identity=identities, consumes=st.booleans())
    def agree(self, policy: Identity, identity: Identity, consumes: bool) -> None:
        """Let both sides declare one more grant, if both exist."""
        objects = self.stage.server.objects
        asked = copy.deepcopy(objects.get(("TopicPolicy", Ref(*policy))))
        uses = copy.deepcopy(objects.get(("ServiceIdentity", Ref(*identity))))
        if asked is None or uses is None:
            return
        part, named = ("consumers", "consumes") if consumes else ("producers", "publishes")
        entry: Manifest = {"identity": reference(identity)}
        if not any(each["identity"] == entry["identity"] for each in asked["spec"][part]):
            asked["spec"][part].append(entry | ({"group": GROUPS[0]} if consumes else {}))
        if {"policy": reference(policy)} not in uses["spec"][named]:
            uses["spec"][named].append({"policy": reference(policy)})
        self.declare(asked)
        self.declare(uses)

    @rule(place=policies)
    def delete_policy(self, place: Identity) -> None:
        self.run(self.stage.drop(("TopicPolicy", Ref(*place))))

    @rule(place=identities, collected=st.booleans())
    def delete_identity(self, place: Identity, collected: bool) -> None:
        self.run(self.stage.drop(("ServiceIdentity", Ref(*place)), collected=collected))

    @rule()
    def delete_broker(self) -> None:
        self.run(self.stage.drop(("MessageBroker", MAIN)))

    @rule(name=st.sampled_from(("north", "south")), label=st.sampled_from(("red", "nobody")))
    def label_namespace(self, name: str, label: str) -> None:
        self.declare(builders.namespace(name, domain=label))

    @rule(place=identities)
    def rotate_credential(self, place: Identity) -> None:
        asked = stamp(self.stage.clock.now() + timedelta(seconds=1))
        self.declare(builders.rotation("ServiceIdentity", place[1], place[0], requestedAt=asked))

    # Tampering

    @rule(place=identities, gone=st.booleans())
    def tamper_with_a_credential(self, place: Identity, gone: bool) -> None:
        at = ("Secret", credential_ref(Ref(*place), MAIN))
        found = copy.deepcopy(self.stage.server.objects.get(at))
        if found is None:
            return
        if gone:
            self.run(self.stage.drop(at))
        else:
            found["data"]["password"] = "Zm9yZ2Vk"
            self.run(self.stage.tamper(found))

    @rule()
    def lose_the_ledger(self) -> None:
        self.run(self.stage.lose_ledger())

    @rule(
        principal=st.one_of(st.just("stranger"), identities.map(principal_of)),
        topic=st.sampled_from(TOPICS),
        effect=st.sampled_from(("ALLOW", "DENY")),
    )
    def a_stranger_allows(self, principal: str, topic: str, effect: str) -> None:
        self.stage.broker.put(Rule(principal, "TOPIC", "LITERAL", topic, "WRITE", effect, "*"))

    @rule(data=st.data())
    def a_stranger_takes(self, data: st.DataObject) -> None:
        broker = self.stage.broker
        mine = sorted(each for each in broker.rules if each.principal.startswith(PREFIX))
        if mine:
            broker.take(data.draw(st.sampled_from(mine)))

    @rule(data=st.data())
    def a_credential_is_lost(self, data: st.DataObject) -> None:
        if self.stage.broker.credentials:
            lost = data.draw(st.sampled_from(sorted(self.stage.broker.credentials)))
            del self.stage.broker.credentials[lost]

    # Time and faults

    @rule(length=st.sampled_from((MINUTE, 12 * MINUTE, HOUR)))
    def live(self, length: timedelta) -> None:
        self.run(self.stage.live(length, steps=6))

    @rule(away=st.booleans())
    def go_away(self, away: bool) -> None:
        self.stage.broker.away = away

    @rule(met=st.lists(st.sampled_from(troubles), min_size=1, max_size=4))
    def trouble(self, met: list[Trouble]) -> None:
        self.stage.broker.troubles += met

    @rule(behind=st.integers(0, 3), after=st.sampled_from((0.0, 0.05, 0.1, 0.2, 0.3)))
    def restart(self, behind: int, after: float) -> None:
        """Restart, perhaps in the middle of a change at the broker."""
        self.run(asyncio.sleep(after))
        self.run(self.stage.replace(self.stage.copies[0], behind))


TestMessagingCampaign = MessagingCampaign.TestCase
TestMessagingCampaign.settings = campaign(more(1) if THOROUGH else FEW)

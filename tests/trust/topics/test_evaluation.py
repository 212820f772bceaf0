"""Property: a broker permits exactly the grants to which all sides consent."""

from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.builders import NOW, Manifest
from tests.messaging import (
    ACCOUNT,
    OPERATOR,
    broker,
    consumer,
    in_state,
    messaging,
    policy,
    producer,
    review,
)
from tests.messaging_oracle import Brokers, Operation, Place, Uses
from tests.oracle import Declared
from tests.strategies import DOMAINS, NAMESPACES, half, more, often, sometimes
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy_status import Action, GrantState
from troth.resources.references import Ref
from troth.trust.grants import Grant
from troth.trust.topics.candidate import principal_of
from troth.trust.topics.evaluation import GrantCache, grants_of

NAMES = ("a", "b")
POLICIES = ("orders", "pays")
BROKERS = ("main", "other")
TOPICS = (
    {"name": "prod.orders"},
    {"name": "prod.orders"},
    {"prefix": "prod.or"},
    {"prefix": "prod."},
    {"name": "stage.x"},
)
DEAD = ("prod.dead", "stage.dead", "prod.orders.x")
RETRIES = ("prod.retry", "stage.retry", "prod.again")
TRIED = (
    *("prod.orders", "prod.orx", "prod.dead", "prod.orders.x", "stage.x", "stage.dead", "prod"),
    *RETRIES,
)
ROLES = ("produces", "consumes", "reviews")
GROUPS = ("", "g", "h")
STREAMS = ("", "S", "D")


@dataclass(frozen=True)
class DeclaredEntry:
    """One entry of a policy, and who declares it."""

    policy: Place
    identity: Place
    role: str
    group: str
    policy_says: bool
    identity_says: bool


usual = st.sampled_from((*["north"] * 2, *NAMESPACES))
wishes = st.builds(
    DeclaredEntry,
    st.tuples(usual, st.sampled_from(POLICIES)),
    st.tuples(usual, st.sampled_from(NAMES)),
    role=st.sampled_from(("produces", "consumes", "consumes", "reviews")),
    group=st.sampled_from(("g", "h", "g", "")),
    policy_says=often,
    identity_says=often,
)


@st.composite
def domains(draw: st.DrawFn, name: str) -> Manifest:
    """A domain of the environment `prod`, but for `blue`; now and then it selects too much."""
    environment = "prod" if name != "blue" or draw(half) else "stage"
    governed = [name, "blue"] if draw(sometimes) else [name]
    selector = {"matchExpressions": [{"key": "domain", "operator": "In", "values": governed}]}
    return builders.domain(name, environment=environment, namespaceSelector=selector)


@st.composite
def namespaces(draw: st.DrawFn, name: str) -> Manifest:
    domain = draw(st.sampled_from((*["red"] * 7, "blue", "blue", "none")))
    return builders.namespace(name, domain=domain)


@st.composite
def brokers(draw: st.DrawFn, name: str) -> Manifest:
    admin = {"adminSecretRef": {"name": "admin"}, "tls": {}}
    servers = ["a:1"] if draw(often) else ["b:1", "a:1"] if draw(half) else ["b:1"]
    clients = {"clients": "MTLS"} if draw(half) else {}
    described: Manifest = draw(
        st.sampled_from(
            (
                {"kafka": {"bootstrapServers": servers} | admin | clients},
                {
                    "nats": {"servers": servers, "account": ACCOUNT, "operator": OPERATOR}
                    | admin
                    | clients
                },
                {
                    "rabbitmq": {
                        "servers": servers,
                        "management": servers[0],
                        "virtualHost": draw(st.sampled_from(("/", "/", "v"))),
                    }
                    | admin
                },
                {"mqtt": {"servers": servers} | admin},
            )
        )
    )
    admitted = draw(st.sampled_from(([*DOMAINS, "none"], ["red", "blue"], ["red"], ["blue"])))
    return broker(
        name,
        "east",
        described,
        owns=draw(st.sampled_from((["prod."], ["prod."], ["prod.", "stage."], ["prod.orders"]))),
        principals=draw(st.sampled_from(("t-", "u-") if draw(half) else (f"{name}-", "main-x"))),
        groups=draw(st.sampled_from((["g", "h"], ["g", "h"], ["g"], []))),
        more={
            "sharedGroups": draw(st.sampled_from(([], [], ["g"]))),
            "streams": draw(st.sampled_from(([], ["S"], ["S", "D"]))),
        },
        environment="prod" if draw(often) else "stage",
        allowedNamespaces={
            "matchExpressions": [{"key": "domain", "operator": "In", "values": admitted}]
        },
    )


@st.composite
def dead_letters(draw: st.DrawFn, declared: list[DeclaredEntry]) -> Manifest:
    """A reviewer, if one is declared, and the stream of the dead letters."""
    reviewers = [wish.identity for wish in declared if wish.role == "reviews"]
    found: Manifest = {"stream": "D"} if draw(half) else {}
    if reviewers:
        namespace, name = reviewers[0]
        found["reviewer"] = {"name": name, "namespace": namespace}
        found["approvals"] = draw(st.sampled_from((1, 1, 0)))
    return found


@st.composite
def reviews(draw: st.DrawFn, place: Place) -> Manifest:
    """A review of a policy in any of its phases."""
    more: Manifest = {} if draw(often) else {"action": "Discard"}
    if draw(sometimes):
        more["withdrawal"] = {"withdrawnBy": "alice", "reason": "not needed"}
    made = review("fix", place[0], approved=draw(often), policy={"name": place[1]}, **more)
    phases = ("Pending", "AwaitingApproval", "Running", "Running", "Completed", "Refused")
    return made | {"status": {"phase": draw(st.sampled_from(phases))}}


@st.composite
def policies(draw: st.DrawFn, place: Place, declared: list[DeclaredEntry]) -> Manifest:
    mine = [wish for wish in declared if wish.policy == place and wish.policy_says]
    topic = dict(draw(st.sampled_from(TOPICS)))
    spec: dict[str, Any] = {"environment": draw(st.sampled_from((*["prod"] * 6, "stage")))}
    if draw(sometimes):
        topic["stream"] = "S"
    if draw(half):
        dead = draw(st.sampled_from(DEAD))
        if "prefix" not in topic or not dead.startswith(topic["prefix"]):
            spec["deadLetter"] = {"topic": dead} | draw(dead_letters(mine))
    named = [wish.identity for wish in mine if wish.role == "produces"]
    consumers = [
        consumer(wish.identity[1], wish.group, wish.identity[0])
        for wish in mine
        if wish.role == "consumes"
    ]
    retries = (each for each in RETRIES if not each.startswith(topic.get("prefix", "never")))
    for each, retry in zip(consumers, retries, strict=False):
        if draw(half):
            streams = [{}, {}, {"stream": "S"}]
            each["retry"] = {"topic": retry} | draw(st.sampled_from(streams))
    made = policy(
        place[1],
        place[0],
        topic=topic,
        producers=[producer(name, namespace) for namespace, name in named],
        consumers=consumers,
        at=("east", "main" if draw(often) else "other"),
        **spec,
    )
    if draw(half):
        made["metadata"]["creationTimestamp"] = builders.stamp(draw(times))
    if draw(half):
        made["status"] = {"claims": draw(st.lists(claims(made), max_size=3))}
    return made


times = st.sampled_from((NOW - builders.DAY, NOW - builders.HOUR))


@st.composite
def claims(draw: st.DrawFn, made: Manifest) -> Manifest:
    """A claim that was accepted, of a name that the policy has or had."""
    spec = made["spec"]
    topic = spec["topic"]
    names = {
        "Topic": (topic.get("name") or f"{topic['prefix']}*", *DEAD, *RETRIES),
        "Group": GROUPS[1:],
        "Stream": STREAMS[1:],
    }
    kind = draw(st.sampled_from(sorted(names)))
    return {
        "kind": kind,
        "name": draw(st.sampled_from(names[kind])),
        "broker": f"east/{spec['brokerRef']['name'] if draw(often) else 'other'}",
        "since": builders.stamp(draw(times)),
    }


@st.composite
def identities(draw: st.DrawFn, place: Place) -> Manifest:
    spec: dict[str, Any] = {}
    if draw(st.sampled_from((False, False, True))):
        spec["authentication"] = builders.gateway_only("a", NOW + builders.DAY)
    account = draw(st.sampled_from((*[""] * 3, *NAMES)))
    return builders.identity(place[1], place[0], account=account, **spec)


@st.composite
def everything(draw: st.DrawFn) -> tuple[list[Manifest], Uses]:
    """What users declare in one cluster, and which policies their identities name."""
    declared = draw(st.lists(wishes, min_size=3, max_size=8))
    uses: Uses = defaultdict(lambda: ([], [], []))
    for wish in declared:
        if wish.identity_says:
            uses[wish.identity][ROLES.index(wish.role)].append(wish.policy)
    manifests = [draw(domains(name)) for name in DOMAINS]
    manifests += [draw(namespaces(name)) for name in NAMESPACES if draw(often)]
    there = sorted({wish.identity for wish in declared})
    manifests += [draw(identities(place)) for place in there if draw(often)]
    manifests += [draw(brokers(name)) for name in BROKERS if draw(often)]
    named = sorted({wish.policy for wish in declared})
    manifests += [draw(policies(place, declared)) for place in named if draw(often)]
    manifests += [draw(reviews(place)) for place in named if draw(often)]
    return manifests, dict(uses)


def permits(granted: frozenset[Grant], principal: str, tried: Operation) -> bool:
    """Whether a broker that has these grants, and nothing else, lets it."""
    return any(
        grant.principal == principal
        and grant.action == tried.action
        and (
            tried.topic.startswith(grant.topic.name)
            if grant.topic.prefix
            else tried.topic == grant.topic.name
        )
        and grant.group == tried.group
        and grant.stream == tried.stream
        for grant in granted
    )


@more(6)
@given(everything())
def test_exactly_the_consented_grants_are_permitted(
    declared: tuple[list[Manifest], Uses],
) -> None:
    manifests, uses = declared
    registry, about = builders.registry(*manifests), messaging(*manifests, uses=dict(uses))
    oracle = Brokers.by(Declared.by(manifests, NOW), manifests, uses)
    for there in map(MessageBroker.parse, manifests_of("MessageBroker", manifests)):
        live = in_state(GrantCache(registry, about).at(there.ref), GrantState.LIVE)
        for identity, action, *rest in product(
            product(NAMESPACES, NAMES), Action, TRIED, GROUPS, STREAMS
        ):
            tried = Operation((there.ref.namespace, there.ref.name), identity, action.value, *rest)
            principal = principal_of(there, Ref(*identity))
            assert permits(live, principal, tried) == oracle.permits(tried), tried


def manifests_of(kind: str, manifests: list[Manifest]) -> list[Manifest]:
    return [each for each in manifests if each["kind"] == kind]


@given(everything())
def test_one_sided_grant_is_listed_once_with_the_missing_side(
    declared: tuple[list[Manifest], Uses],
) -> None:
    manifests, uses = declared
    registry, about = builders.registry(*manifests), messaging(*manifests, uses=dict(uses))
    for place in product(NAMESPACES, POLICIES):
        grants = grants_of(registry, about, Ref(*place))
        assert len({grant.entry for grant in grants}) == len(grants)
        listed = {(tuple(grant.entry.identity), grant.entry.action) for grant in grants}
        for identity, (publishes, consumes, reviewed) in uses.items():
            assert ((identity, Action.PUBLISH) in listed) or place not in publishes
            assert ((identity, Action.CONSUME) in listed) or place not in consumes
            assert ((identity, Action.REVIEW) in listed) or place not in reviewed
        for grant in grants:
            live = grant.state is GrantState.LIVE
            assert (grant.message == "") == (grant.reason == "") == live
            assert grant.grant is not None or not live


labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True)
subdomains = st.lists(labels, min_size=1, max_size=3).map(".".join)


@given(st.builds(Ref, labels, subdomains), st.builds(Ref, labels, subdomains))
def test_principals_are_unique(first: Ref, second: Ref) -> None:
    there = MessageBroker.parse(broker())
    assert (principal_of(there, first) == principal_of(there, second)) == (first == second)

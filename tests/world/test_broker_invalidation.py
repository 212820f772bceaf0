"""Every key whose plan depends on a change at a broker is affected.

Everything said of every identity, policy, broker and rotation is compared before and after every
change, and at the end with what a world built afresh says.
"""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.broker_plans import plan_with_inputs, settled
from tests.builders import HOUR, NOW, OWN, Cluster, Manifest, rotation, stamp
from tests.messaging import broker, consumer, policy, producer
from tests.strategies import DOMAINS, NAMESPACES, fewer, half, often, sometimes
from tests.trust.topics import test_evaluation as declared
from tests.trust.topics.test_evaluation import BROKERS, POLICIES, DeclaredEntry, wishes
from tests.world.broker_changes import some_ledger, some_outcome, took
from tests.world.test_invalidation import broken, some_read, tampered
from tests.world.watching import Watch
from troth.planning.steps.step import BackgroundStep
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.world.index.rotations import rotation_key
from troth.world.keys import Key, broker_key, identity_key, policy_key
from troth.world.observation.ledger import ledger_ref
from troth.world.outcomes.reviews import ReviewsRead

NAMES = (*declared.NAMES, *BROKERS)
"""An identity may be called as a broker is: their NetworkPolicies would be."""
ROTATED = (*(("ServiceIdentity", name) for name in NAMES), *(("MessageBroker", n) for n in BROKERS))
EVERYBODY: list[Key] = [
    *(rotation_key(Ref(namespace, name)) for namespace in NAMESPACES for name in NAMES),
    *(identity_key(Ref(namespace, name)) for namespace in NAMESPACES for name in NAMES),
    *(policy_key(Ref(namespace, name)) for namespace in NAMESPACES for name in POLICIES),
    *(broker_key(Ref("east", name)) for name in BROKERS),
]


def all_plans(cluster: Cluster) -> dict[Key, Any]:
    told = {key: plan_with_inputs(cluster, key) for key in EVERYBODY}
    cluster.world.grants.clear()
    anew = {key: plan_with_inputs(cluster, key) for key in EVERYBODY}
    assert told == anew, "a grant is not judged anew"
    return told


def leaving(manifest: Manifest) -> Manifest:
    """The same resource, deleted, with what is to be undone still to be done."""
    metadata = {"deletionTimestamp": builders.stamp(NOW), "finalizers": ["troth.dev/broker"]}
    return {**manifest, "metadata": manifest["metadata"] | metadata}


def named(identity: Manifest, agreed: list[DeclaredEntry]) -> Manifest:
    """The identity with the policies by which it publishes, consumes and reviews."""
    place = identity["metadata"]["namespace"], identity["metadata"]["name"]
    for role, field in (
        ("produces", "publishes"),
        ("consumes", "consumes"),
        ("reviews", "reviews"),
    ):
        policies = {
            wish.policy: None for wish in agreed if wish.identity == place and wish.role == role
        }
        identity["spec"][field] = [
            {"policy": {"namespace": namespace, "name": name}} for namespace, name in policies
        ]
    return identity


@st.composite
def some_identity(draw: st.DrawFn, agreed: list[DeclaredEntry]) -> Manifest:
    place = draw(st.sampled_from(NAMESPACES)), draw(st.sampled_from(NAMES))
    made = draw(declared.identities(place))
    made = named(made, [wish for wish in agreed if wish.identity_says])
    if draw(sometimes):
        made["spec"]["enforcement"] = "Observe"
    if draw(sometimes):
        other = draw(st.sampled_from((*NAMES, "broker")))
        made["spec"]["workload"]["podSelector"] = {"matchLabels": {"app": other}}
    return broken(made) if draw(sometimes) else made


@st.composite
def some_broker(draw: st.DrawFn) -> Manifest:
    made = draw(declared.brokers(draw(st.sampled_from(BROKERS))))
    if draw(often):
        made["spec"]["workload"] = {
            "podSelector": {"matchLabels": {"app": draw(st.sampled_from(("broker", "main", "a")))}},
            "ports": [{"name": "clients", "port": draw(st.sampled_from((9092, 9093)))}],
        }
    if draw(sometimes):
        made["spec"]["mode"] = draw(st.sampled_from(("Plan", "Observe")))
    if draw(often):
        made["spec"]["retention"] = "Allow"
    return made


@st.composite
def some_policy(draw: st.DrawFn, agreed: list[DeclaredEntry]) -> Manifest:
    named = sorted({wish.policy for wish in agreed})
    made = draw(declared.policies(draw(st.sampled_from(named)), agreed))
    if draw(sometimes):
        made["spec"]["onDelete"] = "Retain"
    if draw(often):
        made["spec"]["context"] = {"require": ["Actor"]}
    return made


@st.composite
def some_rotation(draw: st.DrawFn) -> Manifest:
    kind, target = draw(st.sampled_from(ROTATED))
    spec: Manifest = {}
    if draw(often):
        spec["requestedAt"] = stamp(NOW + draw(st.sampled_from((-1, 1))) * HOUR)
    if draw(sometimes):
        spec["overlap"] = "12h"
    namespace = "east" if kind == "MessageBroker" else draw(st.sampled_from(NAMESPACES))
    made = rotation(kind, target, namespace, draw(st.sampled_from(NAMES)), **spec)
    return broken(made) if draw(sometimes) else made


@st.composite
def some_namespace(draw: st.DrawFn) -> Manifest:
    return draw(declared.namespaces(draw(st.sampled_from(NAMESPACES))))


@st.composite
def some_domain(draw: st.DrawFn) -> Manifest:
    made = draw(declared.domains(draw(st.sampled_from(DOMAINS))))
    return broken(made) if draw(sometimes) else made


WORKLOAD = {
    "podSelector": {"matchLabels": {"app": "broker"}},
    "ports": [{"name": "clients", "port": 9092}],
}


def agreeing(agreed: list[DeclaredEntry]) -> Cluster:
    """A cluster in which most wishes are granted, and the network is open for it."""
    cluster = Cluster()
    for name in DOMAINS:
        cluster.put(builders.authority_secret(name))
        cluster.put(builders.domain(name, environment="prod"))
    for namespace in NAMESPACES:
        cluster.put(builders.namespace(namespace, domain="red"))
    for name in BROKERS:
        admitted = {"matchLabels": {"domain": "red"}}
        spec: Manifest = {
            "environment": "prod",
            "allowedNamespaces": admitted,
            "workload": WORKLOAD,
        }
        cluster.put(broker(name, "east", principals=f"{name}-", **spec))
    for place in {wish.policy: None for wish in agreed}:
        mine = [wish for wish in agreed if wish.policy == place]
        cluster.put(
            policy(
                place[1],
                place[0],
                topic={"name": "prod.orders"},
                producers=[
                    producer(wish.identity[1], wish.identity[0])
                    for wish in mine
                    if wish.role == "produces"
                ],
                consumers=[
                    consumer(wish.identity[1], wish.identity[0][0], wish.identity[0])
                    for wish in mine
                    if wish.role == "consumes"
                ],
                at=("east", "main"),
                environment="prod",
                context={"require": ["Actor"]},
                **_reviewed(mine),
            )
        )
    for place in {wish.identity: None for wish in agreed}:
        cluster.put(named(builders.identity(place[1], place[0]), agreed))
    return settled(cluster)


def _reviewed(mine: list[DeclaredEntry]) -> Manifest:
    reviewers = [wish.identity for wish in mine if wish.role == "reviews"]
    if not reviewers:
        return {}
    namespace, name = reviewers[0]
    reviewer = {"name": name, "namespace": namespace}
    return {"deadLetter": {"topic": "prod.dead", "reviewer": reviewer}}


@st.composite
def some_review(draw: st.DrawFn, agreed: list[DeclaredEntry]) -> Manifest:
    made = draw(declared.reviews(draw(st.sampled_from([wish.policy for wish in agreed]))))
    return broken(made) if draw(sometimes) else made


def changes(agreed: list[DeclaredEntry]) -> st.SearchStrategy[Manifest]:
    finite = st.sampled_from((copy.deepcopy, broken, leaving))
    return st.one_of(
        some_identity(agreed),
        some_domain(),
        some_namespace(),
        some_rotation(),
        some_review(agreed),
        st.builds(
            lambda made, how: how(made), st.one_of(some_broker(), some_policy(agreed)), finite
        ),
    )


@fewer(2)
@given(st.lists(wishes, min_size=2, max_size=8), st.data())
def test_every_key_with_a_changed_plan_is_affected(
    agreed: list[DeclaredEntry], data: st.DataObject
) -> None:
    watch = Watch(agreeing(agreed), all_plans)
    for _ in range(data.draw(st.integers(1, 8))):
        _change(watch, agreed, data)
    watch.assert_like_afresh()


SPOILT = (
    *("MessageBroker", "TopicPolicy", "ServiceIdentity", "CredentialRotation"),
    "DeadLetterReview",
)
CHANGES = (
    *("put", "put", "put", "spoil", "spoil", "drop", "drop", "visit", "visit", "hand"),
    *("ledger", "ledger", "work", "work", "work", "hide", "unread"),
)


def _change(watch: Watch, agreed: list[DeclaredEntry], data: st.DataObject) -> None:
    cluster = watch.cluster
    match data.draw(st.sampled_from(CHANGES)):
        case "put":
            made = data.draw(changes(agreed))
            watch(f"put {_name(made)}", cluster.put, made)
        case "spoil":
            there = sorted(place for place in cluster.objects if place[0] in SPOILT)
            place = data.draw(st.sampled_from(there))
            made = data.draw(st.sampled_from((broken, leaving)))(cluster.objects[place])
            watch(f"spoil {place}", cluster.put, made)
        case "visit":
            _visit(watch, data.draw(st.sampled_from(EVERYBODY)))
        case "drop":
            place = data.draw(st.sampled_from(sorted(cluster.objects)))
            watch(f"drop {place}", cluster.drop, *place)
        case "hide":
            namespace = data.draw(st.sampled_from(("", *NAMESPACES)))
            outcome = ReviewsRead(namespace, hidden=data.draw(half))
            watch(f"{outcome}", cluster.world.observe_outcome, outcome)
        case "unread":
            read = data.draw(some_read())
            watch(f"{read}", cluster.world.observe_outcome, read)
        case "ledger":
            _keep_ledger(watch, data)
        case "work":
            _work(watch, data)
        case _:
            _touch(watch, data)


def _visit(watch: Watch, key: Key) -> None:
    """Carry out the plan of a key, as far as no broker is needed, and report its status."""
    cluster = watch.cluster
    for step in cluster.plan(key).pending(cluster.world):
        if not isinstance(step, BackgroundStep):
            told = f"{type(step).__name__} for {key}"
            watch(told, lambda step=step: cluster.carry_out(step) | {key})
    stored, made = cluster.objects.get((key.kind, key.ref)), cluster.plan(key)
    if stored is not None and made.status is not None:
        reported = {**stored, "status": dict(made.status)}
        watch(f"status of {key}", cluster.put, reported)


def _some_broker(cluster: Cluster, data: st.DataObject) -> MessageBroker | None:
    known = cluster.world.brokers
    brokers = [*known.messaging.brokers.values(), *known.leaving_brokers.values()]
    return data.draw(st.sampled_from(brokers)) if brokers else None


def _work(watch: Watch, data: st.DataObject) -> None:
    """Work at a broker ends, well or not."""
    cluster = watch.cluster
    broker = _some_broker(cluster, data)
    if broker is not None:
        outcome = some_outcome(data, cluster, broker)
        watch(f"{outcome}", took, cluster, broker.ref, outcome)


def _keep_ledger(watch: Watch, data: st.DataObject) -> None:
    """A broker's ledger is written, by anybody, or lost."""
    cluster = watch.cluster
    broker = _some_broker(cluster, data)
    if broker is None:
        return
    if data.draw(often):
        watch(f"ledger of {broker.ref}", cluster.put, some_ledger(data, cluster, broker))
    else:
        place = "ConfigMap", ledger_ref(OWN, broker.ref)
        watch(f"ledger of {broker.ref} is lost", cluster.drop, *place)


def _touch(watch: Watch, data: st.DataObject) -> None:
    cluster = watch.cluster
    there = sorted(place for place in cluster.objects if place[0] in ("NetworkPolicy", "Secret"))
    if not there:
        return
    place = data.draw(st.sampled_from(there))
    how = data.draw(st.sampled_from(("content", "other owner", "no owner", "not ours")))
    if how == "not ours":  # the informer's label selector makes a deletion of it
        watch(f"{place}: labels taken off", cluster.drop, *place)
    else:
        changed = tampered(cluster.objects[place], how)
        watch(f"{place}: {how}", cluster.put, changed)


def _name(manifest: Manifest) -> str:
    return f"{manifest['kind']} {Ref.of(manifest)}"

"""Property: no declaration in another namespace changes a condition of mine, unless mine name it.

This holds for every kind that the chart's roles let a tenant write. Writing a MessageBroker or a
TrustDomain is for administrators, and each can suspend what others have there. With `consent:
Callee`, the trust domain lets a callee alone open the egress of its callers. Neither is drawn.
"""

import copy
from datetime import timedelta
from functools import cache
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests import builders, webhook_builders
from tests.broker_builders import (
    ORDERS,
    reviewed_orders,
    sync_broker,
)
from tests.builders import (
    DAY,
    NOW,
    Cluster,
    Manifest,
    accept,
    call,
    domain,
    external,
    gateway_only,
    identity,
    namespace,
    rotation,
    service,
    shop,
    stamp,
    unverified,
)
from tests.messaging import broker, consumer, policy, review
from tests.strategies import half, more, often, sometimes, subset
from troth.planning.planner import PLANNERS
from troth.resources.references import Ref
from troth.world.keys import Key

PRODUCTION: Manifest = {"matchLabels": {"domain": "production"}}
MANY = [f"p{number}" for number in range(1024)]
AUDIENCE, DNS_NAME = "https://payments.shop.example", "pay.shop.example"
RETRY = {"retry": {"topic": "prod.orders.v1.retry"}}
TARGET: Manifest = {
    "identity": {"name": "payments"},
    "port": "hooks",
    "path": "/events",
    "workflow": "settle",
}
MINE = [
    identity(
        ports=["https", ("hooks", 9443)],
        accepts=[
            accept("checkout", scopes=["pay"]),
            accept("edge", "hooks"),
            unverified("https", cidrs=["192.0.2.0/24"]),
        ],
        authentication={"token": {"audience": AUDIENCE}},
    ),
    identity(
        "checkout",
        authentication={"mtls": {"dnsNames": [DNS_NAME]}},
        calls=[call("payments", scopes=["pay"]), call("legacy"), external("203.0.113.0/24")],
        publishes=[{"policy": {"name": "orders"}}],
    ),
    identity("fulfilment", consumes=[{"policy": {"name": "orders"}}]),
    identity("reviewer", reviews=[{"policy": {"name": "orders"}}]),
    identity("edge", servesWebhooks={"allowedNamespaces": PRODUCTION}),
    identity(
        "legacy",
        ports=["https"],
        accepts=[accept("checkout")],
        authentication=gateway_only("checkout", NOW + 30 * DAY),
    ),
    reviewed_orders(consumers=[consumer("fulfilment", "fulfilment") | RETRY]),
    webhook_builders.endpoint("charges", gateway={"name": "edge"}, target=TARGET),
    service("payments", app="payments"),
    rotation(every="720h"),
]
MINE[-2]["spec"]["ports"] = [{"name": "hooks", "port": 443, "targetPort": 9443}]
PLATFORM = [
    namespace("tenant", domain="production"),
    namespace("stage", domain="staging"),
    namespace("lawless"),
    domain("staging", environment="staging"),
    domain(
        tokens={},
        certificates={"dnsNames": [builders.dns_suffix()]},
        bundle={"configMapName": "trust-bundle"},
    ),
    broker(),
    broker(
        "staging",
        environment="staging",
        principals="staging-",
        allowedNamespaces={"matchLabels": {"domain": "staging"}},
    ),
]
KINDS = ("ServiceIdentity", "TopicPolicy", "WebhookEndpoint", "CredentialRotation")


def created(manifest: Manifest, when: Any) -> Manifest:
    return {**manifest, "metadata": manifest["metadata"] | {"creationTimestamp": stamp(when)}}


@cache
def settled() -> Cluster:
    """Return the shop and its platform, in which everything is in place."""
    cluster = shop(*PLATFORM, *(created(each, NOW - DAY) for each in MINE)).settle()
    sync_broker(cluster)
    cluster.settle()
    sync_broker(cluster)
    return cluster.settle()


def again() -> Cluster:
    """Return a copy of the settled cluster."""
    known = settled()
    cluster = Cluster(version=known.version, now=known.now, uptime=known.uptime)
    for manifest in known.objects.values():
        cluster.see(copy.deepcopy(manifest))
    for ref in known.world.brokers.messaging.brokers:
        cluster.world.brokers.note_observation(ref, known.world.brokers.observation(ref))
    return cluster


def said(cluster: Cluster) -> dict[Key, Any]:
    """Return the conditions of everything in the shop, and what Troth would do for it."""
    found = {}
    for kind, ref in sorted(cluster.objects):
        if ref.namespace == "shop" and kind in KINDS:
            plan = cluster.plan(Key(kind, ref))
            assert plan.status is not None
            assert not plan.errors
            steps = plan.pending(cluster.world)
            found[plan.key] = plan.status["conditions"], steps
    return found


# What a tenant declares

NAMES = ("a", "b", "payments", "orders")
FOREIGN = ("tenant", "tenant", "stage", "lawless")
IDENTITIES = [each["metadata"]["name"] for each in MINE if each["kind"] == "ServiceIdentity"]
theirs = st.sampled_from(NAMES).map(lambda name: {"name": name})
mine = st.sampled_from(IDENTITIES).map(lambda name: {"name": name, "namespace": "shop"})
anybody = st.one_of(theirs, mine)


@st.composite
def calls(draw: st.DrawFn) -> list[Manifest]:
    callee = draw(mine)
    if draw(sometimes):
        return [{"to": callee, "ports": MANY[at : at + 16]} for at in range(0, 1024, 16)]
    return [{"to": callee, "ports": draw(st.sampled_from((["https"], ["hooks", "https"])))}]


@st.composite
def some_identity(draw: st.DrawFn, here: str) -> Manifest:
    name = draw(st.sampled_from(NAMES))
    accepts = [{"from": each, "ports": ["https"]} for each in draw(st.lists(mine, max_size=3))]
    spec: Manifest = {
        "calls": [each for made in draw(st.lists(calls(), max_size=1)) for each in made]
    }
    uses = [ORDERS, *(Ref(here, each) for each in NAMES)]
    for field in ("publishes", "consumes", "reviews"):
        spec[field] = [
            {"policy": {"namespace": each.namespace, "name": each.name}}
            for each in (uses if draw(often) else draw(subset(uses)))
        ]
    if draw(half):
        claims = {"token": {"audience": AUDIENCE}}, {"mtls": {"dnsNames": [DNS_NAME]}}
        spec["authentication"] = draw(st.sampled_from(claims))
    elif draw(sometimes):
        gateway = draw(mine)
        spec["authentication"] = gateway_only(gateway["name"], NOW + DAY, gateway["namespace"])
        spec["calls"] = []
        accepts = [{"from": gateway, "ports": ["https"]}]
    if draw(sometimes) and "gatewayOnly" not in spec.get("authentication", {}):
        spec["servesWebhooks"] = {"allowedNamespaces": PRODUCTION}
    if draw(sometimes):
        spec["enforcement"] = "Observe"
    account = draw(st.sampled_from(("", "a", "payments")))
    return identity(name, here, ports=["https"], accepts=accepts, account=account, **spec)


TOPICS = ("prod.orders.v1", "prod.orders.v1.dlq", "prod.orders.v1.retry", "prod.x", "stage.x")
topics = st.one_of(
    st.sampled_from(TOPICS).map(lambda name: {"name": name}),
    st.sampled_from(("prod.", "prod.orders.v1.r")).map(lambda prefix: {"prefix": prefix}),
)


@st.composite
def some_policy(draw: st.DrawFn, here: str) -> Manifest:
    topic, environment = draw(topics), draw(st.sampled_from(("production", "staging")))
    at = "staging" if environment == "staging" and draw(often) else "main"
    others = [each for each in TOPICS if not each.startswith(topic.get("prefix", "never"))]
    letters, retry = others[0], others[-1]
    spec: Manifest = {"environment": environment}
    consumers = [
        {"identity": each, "group": group}
        for each, group in draw(
            st.lists(
                st.tuples(anybody, st.sampled_from(("fulfilment", "other"))),
                max_size=3,
                unique_by=str,
            )
        )
    ]
    if consumers and retry not in (topic.get("name"), letters) and draw(half):
        consumers[0]["retry"] = {"topic": retry}
    if letters != topic.get("name") and draw(often):
        spec["deadLetter"] = {"topic": letters} | (
            {"reviewer": draw(anybody)} if draw(half) else {}
        )
    return policy(
        draw(st.sampled_from(NAMES)),
        here,
        topic=topic,
        producers=[{"identity": each} for each in draw(st.lists(anybody, max_size=3))],
        consumers=consumers,
        at=("messaging", at),
        **spec,
    )


@st.composite
def some_endpoint(draw: st.DrawFn, here: str) -> Manifest:
    gateway = draw(st.sampled_from(("edge", "payments")))
    port = draw(st.sampled_from(("https", "hooks")))
    return webhook_builders.endpoint(
        draw(st.sampled_from(("a", "charges"))),
        here,
        gateway={"name": gateway, "namespace": "shop"},
        target={**TARGET, "port": port},
    )


@st.composite
def declared(draw: st.DrawFn) -> Manifest:
    here = draw(st.sampled_from(FOREIGN))
    name = draw(st.sampled_from(NAMES))
    made: Manifest = draw(
        st.one_of(
            some_identity(here),
            some_identity(here),
            some_policy(here),
            some_policy(here),
            some_endpoint(here),
            st.just(rotation(target=name, namespace=here, requestedAt=stamp(NOW))),
            st.just(review("fix", here)),
        )
    )
    if draw(sometimes):
        made["spec"]["unknownField"] = 1
    return created(made, NOW - timedelta(minutes=draw(st.integers(0, 9))))


def test_everything_of_the_shop_is_ready() -> None:
    """Otherwise a change for the worse could not be seen."""
    for key, (conditions, steps) in said(again()).items():
        by_type = {each["type"]: each for each in conditions}
        if key.kind in ("ServiceIdentity", "TopicPolicy"):
            assert by_type["Ready"]["status"] == "True", by_type["Ready"]
        assert not steps


@more(2)
@given(st.lists(declared(), min_size=1, max_size=4))
def test_no_foreign_declaration_changes_a_condition_of_mine(foreign: list[Manifest]) -> None:
    cluster = again()
    before = said(cluster)
    for manifest in foreign:
        cluster.put(manifest)
    assert said(cluster) == before
    for manifest in foreign:  # what is granted now is accepted, and reported
        key = Key(manifest["kind"], Ref.of(manifest))
        if key.kind in PLANNERS:
            cluster.report(key)
    assert said(cluster) == before

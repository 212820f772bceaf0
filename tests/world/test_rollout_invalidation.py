"""Every key that waits for a restart is affected.

As in test_invalidation, with workloads and budgets, and roots that are being replaced.
"""

import copy

from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.builders import Cluster, Manifest, identity
from tests.strategies import sometimes
from tests.workloads import budget, rolled, workload
from tests.world.test_invalidation import plans
from tests.world.watching import Watch
from troth.planning.certificates.rollouts import evidence_of
from troth.resources.references import Ref
from troth.world.facts.objects import RESTARTED_WITH
from troth.world.index.workloads import KINDS

PLACES = [(namespace, name) for namespace in ("north", "south") for name in ("a", "b")]
places = st.sampled_from(PLACES)
LONG = 1000
"""Seconds after which whoever lags is named."""


def rotating() -> Cluster:
    """Two domains that trust each other; the root of one is about to be replaced, and every
    workload to be restarted.
    """
    cluster = Cluster()
    cluster.world.workloads.enabled = True
    for domain, namespace in (("red", "north"), ("blue", "south")):
        other = "blue" if domain == "red" else "red"
        cluster.put(builders.namespace(namespace, domain=domain))
        cluster.put(builders.domain(domain, federatesWith=[{"name": other}]))
        cluster.put(builders.authority_secret(domain))
    for namespace, name in PLACES:
        restart = [{"kind": "Deployment", "name": name}]
        cluster.put(identity(name, namespace, onRotation={"restart": restart}))
    cluster.settle()
    cluster.put(authority("red", prepared=True))
    cluster.settle()
    cluster.uptime += LONG
    for namespace, name in PLACES:  # all of them due
        cluster.put(
            workload(name, namespace=namespace, app=name, annotations={RESTARTED_WITH: "old old"})
        )
    return cluster


def authority(domain: str, *, prepared: bool) -> Manifest:
    """The Secret of a root, beside which the next may stand."""
    made = copy.deepcopy(builders.authority_secret(domain))
    if prepared:
        certificate, key = builders.root(f"{domain}.example", "second")
        made["data"] |= builders.secret("x", next_crt=certificate, next_key=key.encode())["data"]
    return made


@st.composite
def some_identity(draw: st.DrawFn) -> Manifest:
    namespace, name = draw(places)
    named = draw(st.sets(st.tuples(st.sampled_from(KINDS), st.sampled_from("ab")), max_size=3))
    restart = [{"kind": kind, "name": each} for kind, each in sorted(named)]
    more: Manifest = {"onRotation": {"restart": restart}} if restart else {}
    pods = {"matchLabels": {"app": draw(st.sampled_from((name, "other")))}}
    return identity(name, namespace, pods=pods, **more)


def some_workload(cluster: Cluster, data: st.DataObject) -> Manifest:
    """A workload in any state of a rollout, restarted with what its Secret has now or earlier."""
    (namespace, name), kind = data.draw(places), data.draw(st.sampled_from(KINDS))
    secret = cluster.world.secrets.get(Ref(namespace, f"{name}-identity"))
    current = str(evidence_of(secret)) if secret and secret.leaf else "none"
    evidence = data.draw(st.sampled_from((None, "old old", current)))
    made = workload(
        name,
        kind,
        namespace,
        app=name,
        created=builders.NOW - data.draw(st.sampled_from((-1, 1))) * builders.HOUR,
        annotations={RESTARTED_WITH: evidence} if evidence else None,
        paused=data.draw(sometimes),
    )
    made["metadata"]["generation"] = 1
    counts = [data.draw(st.integers(0, 2)) for _ in range(3)]
    return made if data.draw(sometimes) else rolled(made, *counts)


@given(st.data())
def test_every_key_that_waits_for_a_restart_is_affected(data: st.DataObject) -> None:
    cluster = rotating()
    watch = Watch(cluster, plans)
    for _ in range(data.draw(st.integers(4, 14))):
        match data.draw(st.sampled_from(("identity", "workload", "budget", "root", "go", "drop"))):
            case "identity":
                watch("identity", cluster.put, data.draw(some_identity()))
            case "workload":
                watch("workload", cluster.put, some_workload(cluster, data))
            case "budget":
                namespace, name = data.draw(places)
                allowed = data.draw(st.integers(0, 2))
                made = budget(name, namespace, allowed=allowed)
                watch("budget", cluster.put, made)
            case "root":
                domain = data.draw(st.sampled_from(("red", "blue")))
                made = authority(domain, prepared=data.draw(st.booleans()))
                watch("root", cluster.put, made)
            case "go":
                cluster.uptime += data.draw(st.sampled_from((0, LONG)))
                for key in cluster.keys():  # noqa: SIM118 - a method of its own
                    for step in cluster.plan(key).pending(cluster.world):
                        cluster.carry_out(step)
                watch.look_anew()
            case _:
                kept = ("Namespace", "TrustDomain")
                there = sorted(place for place in cluster.objects if place[0] not in kept)
                place = data.draw(st.sampled_from(there))
                watch(f"drop {place}", cluster.drop, *place)

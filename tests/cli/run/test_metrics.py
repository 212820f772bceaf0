"""Metrics as Prometheus scrapes them, computed from the World."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import cast

from prometheus_client import CollectorRegistry

from tests.broker_builders import MAIN, orders, publisher
from tests.builders import (
    HOUR,
    OWN,
    Cluster,
    Manifest,
    domain,
    identity,
    namespace,
    rotation,
    service,
    stamp,
)
from tests.guides.pages import page
from tests.messaging import broker
from tests.reconcile.serving import Running, Server, running
from troth.cli.run.broker_metrics import broker_metrics
from troth.cli.run.metrics import Metrics
from troth.cluster.errors import ApiError
from troth.cluster.selection import Selection
from troth.planning.steps.brokers import ChangeBroker, CredentialUpload
from troth.reconcile.brokers.work import BrokerWork
from troth.reconcile.operator import Operator
from troth.reconcile.runtime.instrumentation import BrokerChange, count_changes
from troth.resources.references import Ref
from troth.serving.loop_stalls import stalls_measured
from troth.trust.grants import Observed, Rule, Slot
from troth.world.facts.broker import BrokerObservation, Ledger
from troth.world.facts.objects import UNREADABLE
from troth.world.keys import BROKER_METADATA, identity_key

DOMAIN = ("TrustDomain", Ref("", "production"))
METADATA = Selection("MessageBroker", subset=BROKER_METADATA, metadata_only=True)


@dataclass
class Scraped:
    """A running engine and its metrics."""

    it: Running
    metrics: Metrics

    def samples(self, name: str) -> dict[tuple[str, ...], float]:
        """Return every sample of a metric, by its label values in the order of declaration."""
        (family,) = (each for each in self.metrics.registry.collect() if each.name == name)
        return {tuple(each.labels.values()): each.value for each in family.samples}

    def fingerprint(self, state: str) -> str:
        listed = self.it.server.objects[DOMAIN]["status"]["authorities"]
        return str(next(each["fingerprint"] for each in listed if each["state"] == state))

    async def ask(self, **spec: str) -> None:
        """Request a new root an hour later, or a rotation as `spec` says."""
        await self.it.clock.move_to(self.it.clock.now() + HOUR)
        asked = spec or {"requestedAt": stamp(self.it.clock.now())}
        await self.it.put(rotation("TrustDomain", "production", OWN, **asked))


@asynccontextmanager
async def scraped(
    *manifests: Manifest,
    since: datetime | None = None,
    metrics: Metrics | None = None,
    fences: tuple[SimpleNamespace, ...] = (
        SimpleNamespace(shard=0, remaining=7.0, shares_lease=True),
    ),
) -> AsyncIterator[Scraped]:
    metrics = metrics or Metrics()
    server = Server([namespace("shop", domain="production"), domain(), *manifests])
    async with running(
        server, since or datetime.now(UTC), instrumentation=metrics.instrumentation()
    ) as it:
        await it.settle()
        operator = SimpleNamespace(
            engine=it.engine,
            leadership=SimpleNamespace(acting=True),
            shard_fences=fences,
            crds=SimpleNamespace(lacking={}),
            clock_skew=0.0,
            claim=SimpleNamespace(holder="", is_own=False),
            watching=[SimpleNamespace(selection=Selection("ServiceIdentity"), age=7.0)],
            of_metadata=[SimpleNamespace(selection=METADATA, age=9.0)],
        )
        metrics.read_from(cast("Operator", operator))
        yield Scraped(it, metrics)


def condition(type_: str) -> Manifest:
    """Return a true condition, as the operator writes it."""
    return {
        "type": type_,
        "status": "True",
        "reason": "Seen",
        "message": "",
        "lastTransitionTime": stamp(datetime.now(UTC)),
    }


def moment(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()


async def test_shards_have_a_leader_only_on_replicas_that_share_the_lease() -> None:
    """Else `TrothNoLeader` would fire while replicas of another number of shards wait."""
    fences = tuple(
        SimpleNamespace(shard=shard, remaining=remaining, shares_lease=shares)
        for shard, remaining, shares in ((0, 7.0, True), (1, 0.0, True), (2, 0.0, False))
    )
    async with scraped(fences=fences) as seen:
        assert seen.samples("troth_leader") == {("0",): 1, ("1",): 0}


async def test_each_watch_has_its_age() -> None:
    async with scraped() as seen:
        assert seen.samples("troth_watch_age_seconds") == {
            ("ServiceIdentity", ""): 7.0,
            ("BrokerMetadata", ""): 9.0,
        }


async def test_authority_has_its_expiry_and_its_state() -> None:
    async with scraped() as seen:
        await seen.ask()
        listed = seen.it.server.objects[DOMAIN]["status"]["authorities"]
        assert [each["state"] for each in listed] == ["Active", "Prepared"]
        assert seen.samples("troth_authority_expiration_timestamp_seconds") == {
            ("production", each["fingerprint"], each["state"]): moment(each["notAfter"])
            for each in listed
        }


async def test_certificate_has_its_expiry_and_its_renewal() -> None:
    async with scraped(identity("payments")) as seen:
        status = seen.it.server.objects["ServiceIdentity", Ref("shop", "payments")]["status"]
        for metric, field in ("expiration", "notAfter"), ("renewal", "renewAt"):
            assert seen.samples(f"troth_certificate_{metric}_timestamp_seconds") == {
                ("shop", "payments"): moment(status["certificate"][field])
            }


async def test_restored_drift_is_counted_from_zero() -> None:
    metrics = Metrics()

    def restored(kind: str) -> float | None:
        return metrics.registry.get_sample_value("troth_drift_restored_total", {"kind": kind})

    async with scraped(identity("payments"), metrics=metrics) as seen:
        assert restored("ServiceIdentity") == 0
        policy = seen.it.server.objects["NetworkPolicy", Ref("shop", "payments-troth")]
        policy["spec"] = {"podSelector": {}}
        await seen.it.put(policy)
        assert restored("ServiceIdentity") == 1
        assert restored("TrustDomain") == 0


async def test_wait_in_the_queue_is_measured_by_kind() -> None:
    metrics = Metrics()
    async with scraped(identity("payments"), metrics=metrics) as seen:
        waits = "troth_queue_wait_seconds_count"
        count = metrics.registry.get_sample_value(waits, {"kind": "ServiceIdentity"})
        assert count is not None
        assert count >= 1
        assert seen.samples("troth_queue_oldest_wait_seconds") == {(): 0}
        seen.it.worker.cancel()
        seen.it.engine.queue.add([identity_key(Ref("shop", "payments"))])
        await seen.it.clock.move_to(seen.it.clock.now() + HOUR)
        assert seen.samples("troth_queue_oldest_wait_seconds") == {(): HOUR.total_seconds()}


async def test_leaves_are_counted_by_their_authority() -> None:
    async with scraped(identity("payments"), identity("web")) as seen:
        active = seen.fingerprint("Active")
        assert seen.samples("troth_leaves") == {("production", active): 2}
        await seen.ask()
        prepared = seen.fingerprint("Prepared")
        assert seen.samples("troth_leaves") == {
            ("production", active): 2,
            ("production", prepared): 0,
        }


async def test_leaf_of_a_removed_root_is_counted_as_unknown() -> None:
    async with scraped(identity("payments"), identity("web")) as seen:
        stuck = ("Secret", Ref("shop", "payments-identity"))
        seen.it.server.refuses = lambda place: (
            ApiError(403, "Forbidden", "not yours") if place == stuck else None
        )
        await seen.ask(compromised=seen.fingerprint("Active"))
        assert seen.samples("troth_leaves") == {
            ("production", seen.fingerprint("Active")): 1,
            ("production", "unknown"): 1,
        }


async def test_refused_writes_and_identities_not_narrowed_are_counted() -> None:
    def payments(*scopes: str) -> Manifest:
        accepts = [{"from": {"name": "web"}, "ports": ["https"], "scopes": list(scopes)}]
        return identity("payments", ports=["https"], accepts=accepts)

    calls = [{"to": {"name": "payments"}, "ports": ["https"]}]
    async with scraped(payments("read", "write"), identity("web", calls=calls)) as seen:
        assert seen.samples("troth_writes_refused") == {}
        assert seen.samples("troth_identities_not_narrowed") == {(): 0}
        stuck = ("Secret", Ref("shop", "payments-identity"))
        seen.it.server.refuses = lambda place: (
            ApiError(422, "Invalid", "denied") if place == stuck else None
        )
        await seen.it.put(payments("read"))
        assert seen.samples("troth_writes_refused") == {("Secret",): 1}
        assert seen.samples("troth_identities_not_narrowed") == {(): 1}
        assert seen.samples("troth_internal_errors") == {}


async def test_expired_leaf_is_not_counted() -> None:
    async with scraped(identity("payments"), since=datetime.now(UTC) - 25 * HOUR) as seen:
        assert seen.samples("troth_leaves") == {("production", seen.fingerprint("Active")): 0}


async def test_exactly_one_phase_of_a_rotation_is_1() -> None:
    async with scraped() as seen:
        phases = seen.samples("troth_rotation_phase")
        assert phases.pop(("production", "Idle")) == 1
        assert set(phases) == {
            ("production", phase)
            for phase in ("Preparing", "Distributing", "Activating", "Reissuing", "Retiring")
        }
        assert set(phases.values()) == {0}
        await seen.ask()
        assert seen.samples("troth_rotation_phase") == {
            ("production", "Idle"): 0,
            **phases,
            ("production", "Distributing"): 1,
        }


async def test_token_key_rotation_phase_exists_with_tokens_only() -> None:
    async with scraped() as seen:
        assert seen.samples("troth_token_rotation_phase") == {}
        await seen.it.put(domain(tokens={}))
        assert seen.samples("troth_token_rotation_phase")["production", "Idle"] == 1
        await seen.ask()
        phases = seen.samples("troth_token_rotation_phase")
        assert [labels for labels, value in phases.items() if value] == [
            ("production", "Distributing")
        ]


async def test_rotation_has_the_time_of_the_next_one() -> None:
    async with scraped(identity(), rotation(every="6h")) as seen:
        status = seen.it.server.objects["CredentialRotation", Ref("shop", "payments-rotation")]
        assert seen.samples("troth_credential_rotation_next_timestamp_seconds") == {
            ("shop", "payments-rotation"): moment(status["status"]["nextRotation"])
        }


async def test_rotations_are_counted_among_the_resources() -> None:
    async with scraped(identity(), rotation(), rotation(target="nobody")) as seen:
        assert seen.samples("troth_resources") == {
            ("TrustDomain", "True", "InPlace"): 1,
            ("ServiceIdentity", "True", "InPlace"): 1,
            ("CredentialRotation", "True", "InPlace"): 1,
            ("CredentialRotation", "False", "TargetMissing"): 1,
        }


async def test_unreadable_objects_are_counted_by_kind() -> None:
    async with scraped(identity()) as seen:
        assert seen.samples("troth_unreadable_objects") == {}
        await seen.it.put(service("web", app="web") | {UNREADABLE: "spec: nests too deep"})
        await seen.it.put(identity("checkout") | {UNREADABLE: "spec: nests too deep"})
        await seen.it.put(identity("till", unheardOf=1))
        assert seen.samples("troth_unreadable_objects") == {
            ("Service",): 1,
            ("ServiceIdentity",): 2,
        }
        await seen.it.put(service("web", app="web"))
        assert seen.samples("troth_unreadable_objects") == {("ServiceIdentity",): 2}


# Brokers


async def at_a_broker(seen: Scraped) -> None:
    """Wait until the engine has settled with a broker whose administrator Secret is missing."""
    work = seen.it.engine.background
    assert isinstance(work, BrokerWork)
    await work.settled()
    await seen.it.settle()


async def test_reachability_of_a_broker_is_exported_after_the_first_observation() -> None:
    brokers = Cluster.of(broker()).world.brokers
    assert not next(iter(broker_metrics(brokers, 0.0))).samples
    async with scraped(broker()) as seen:
        await at_a_broker(seen)
        assert seen.samples("troth_broker_reachable") == {("messaging", "main"): 0}


async def test_counts_of_a_brokers_status_are_exported() -> None:
    status = {
        "principals": 2,
        "foreignGrants": 3,
        "brakedRemovals": 4,
        "conditions": [condition("Reachable")],
    }
    async with scraped(broker(mode="Observe") | {"status": status}) as seen:
        main = ("messaging", "main")
        for name, value in (("principals", 2), ("foreign_rules", 3), ("braked_removals", 4)):
            assert seen.samples(f"troth_broker_{name}") == {main: value}


async def test_grants_are_counted_by_state_at_each_broker() -> None:
    async with scraped(broker(), orders(), publisher()) as seen:
        assert seen.samples("troth_topic_grants") == {
            ("messaging", "main", "AwaitingIdentity"): 1,
            ("messaging", "main", "Live"): 1,
        }


def test_policies_with_and_without_validated_edges_are_exported() -> None:
    told = {
        "good": ("True", "AllConsumersValidate"),
        "bad": ("False", "UnvalidatedConsumer"),
        "producing": ("False", "UnvalidatedProducer"),
        "unseen": ("Unknown", "NoConsumerSeen"),
    }
    declared = [
        orders(name)
        | {
            "status": {
                "conditions": [{**condition("EdgesValidated"), "status": truth, "reason": reason}]
            }
        }
        for name, (truth, reason) in told.items()
    ]
    families = broker_metrics(Cluster.of(*declared, orders("plain")).world.brokers, 0.0)
    (found,) = (each for each in families if each.name == "troth_topic_edges_validated")
    assert {each.labels["name"]: each.value for each in found.samples} == {"good": 1, "bad": 0}


async def test_age_of_an_observation_counts_from_the_last_success() -> None:
    async with scraped(broker()) as seen:
        await at_a_broker(seen)
        assert seen.samples("troth_broker_last_look_age_seconds") == {}
        at = seen.it.engine.uptime
        seen.it.engine.world.brokers.note_observation(
            MAIN, BrokerObservation(observed=Observed(), at=at)
        )
        await seen.it.clock.move_to(seen.it.clock.now() + timedelta(seconds=7))
        assert seen.samples("troth_broker_last_look_age_seconds") == {("messaging", "main"): 7}


async def test_failed_observation_is_counted_by_its_reason() -> None:
    metrics = Metrics()
    async with scraped(broker(), metrics=metrics) as seen:
        await at_a_broker(seen)
    labels = {"namespace": "messaging", "name": "main", "reason": "SecretMissing"}
    assert metrics.registry.get_sample_value("troth_broker_failures_total", labels) == 1


def test_changes_at_a_broker_are_counted_by_type() -> None:
    write = Rule("troth-shop.checkout", "TOPIC", "LITERAL", "prod.orders.v1", "WRITE")
    place = ("troth-shop.checkout", Slot.FIRST)
    metrics = Metrics()
    step = ChangeBroker(
        MAIN,
        Ledger(),
        Ledger(),
        uploads=(CredentialUpload(*place, "", Ref("shop", "checkout-main")),),
        additions=(write, replace(write, operation="READ")),
        removals=(replace(write, operation="ALTER"),),
        revocations=(("troth-shop.gone", Slot.FIRST),),
    )
    count_changes(metrics.instrumentation(), step, {write: "the broker does not like it"})
    samples = (
        (change, metrics.registry.get_sample_value("troth_broker_changes_total", labels))
        for change in BrokerChange
        if (labels := {"namespace": "messaging", "name": "main", "change": change.value})
    )
    assert dict(samples) == dict.fromkeys(BrokerChange, 1)


async def test_brokers_and_policies_are_counted_among_the_resources() -> None:
    async with scraped(broker(), orders(producers=[], consumers=[])) as seen:
        await at_a_broker(seen)
        counted = seen.samples("troth_resources")
        assert counted["MessageBroker", "False", "SecretMissing"] == 1
        assert counted["TopicPolicy", "False", "NotSeenYet"] == 1


async def test_documented_metrics_exist_with_their_labels() -> None:
    text = page("reference/metrics.md").partition("## Token issuer")[0]
    metrics = Metrics()
    instrumentation = metrics.instrumentation()
    status = {
        "principals": 0,
        "foreignGrants": 0,
        "conditions": [condition("Reachable")],
    }
    seen_broker = broker(mode="Observe") | {"status": status}
    manifests = (identity(), rotation(every="6h"), seen_broker, orders(), publisher())
    process = stalls_measured(metrics.registry)
    async with process, scraped(*manifests, metrics=metrics) as seen:
        seen.it.engine.world.brokers.note_observation(
            MAIN, BrokerObservation(observed=Observed(), at=0.0)
        )
        instrumentation.broker_failed(MAIN, "Unreachable")
        instrumentation.broker_changed(MAIN, BrokerChange.TOLD, 1)
        metrics.request("get", "secrets", "200")
        instrumentation.visited("TrustDomain", "written", 0.1)
        known = dict(_labels(metrics.registry))
        for name, labels in re.findall(r"^\| `(troth_\w+)` \| (.+?) \|", text, re.MULTILINE):
            assert list(known[name]) == re.findall(r"\w+", labels), name
        named = set(re.findall(r"\btroth_\w+", text))
        assert named
        assert named <= known.keys()


def _labels(registry: CollectorRegistry) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the label names of each metric, by the names of the metric and of its samples."""
    for family in registry.collect():
        yield family.name, tuple(getattr(family, "_labelnames", ()))
        for sample in family.samples:
            names = tuple(name for name in sample.labels if name != "le")
            yield family.name, names
            yield sample.name, names


def test_restored_store_is_counted_from_zero() -> None:
    metrics = Metrics()
    count = partial(metrics.registry.get_sample_value, "troth_store_restores_total")
    assert count() == 0
    metrics.instrumentation().store_restored()
    assert count() == 1

"""What Prometheus scrapes, read from the world as it is."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
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
from troth.planning.steps.brokers import ChangeBroker, CredentialUpload
from troth.reconcile.brokers.work import BrokerWork
from troth.reconcile.loop.instrumentation import BrokerChange, count_changes
from troth.reconcile.operator import Operator
from troth.resources.references import Ref
from troth.serving.loop_stalls import stalls_measured
from troth.trust.grants import Observed, Rule, Slot
from troth.world.facts.broker import BrokerObservation, Ledger
from troth.world.facts.objects import UNREADABLE

DOMAIN = ("TrustDomain", Ref("", "production"))


@dataclass
class Scraped:
    """An engine at work, and what its metrics say."""

    it: Running
    metrics: Metrics

    def samples(self, name: str) -> dict[tuple[str, ...], float]:
        """Every sample of a metric, by its labels' values in the order of their declaration."""
        (family,) = (each for each in self.metrics.registry.collect() if each.name == name)
        return {tuple(each.labels.values()): each.value for each in family.samples}

    def fingerprint(self, state: str) -> str:
        listed = self.it.server.objects[DOMAIN]["status"]["authorities"]
        return str(next(each["fingerprint"] for each in listed if each["state"] == state))

    async def ask(self, **spec: str) -> None:
        """Ask an hour later for a new root, or as `spec` says."""
        await self.it.clock.move_to(self.it.clock.now() + HOUR)
        asked = spec or {"requestedAt": stamp(self.it.clock.now())}
        await self.it.put(rotation("TrustDomain", "production", OWN, **asked))


@asynccontextmanager
async def scraped(
    *manifests: Manifest, since: datetime | None = None, metrics: Metrics | None = None
) -> AsyncIterator[Scraped]:
    metrics = metrics or Metrics()
    server = Server([namespace("shop", domain="production"), domain(), *manifests])
    async with running(
        server, since or datetime.now(UTC), instrumentation=metrics.instrumentation()
    ) as it:
        await it.settle()
        operator = SimpleNamespace(engine=it.engine, leadership=SimpleNamespace(acting=True))
        metrics.read_from(cast("Operator", operator))
        yield Scraped(it, metrics)


def condition(type_: str) -> Manifest:
    """A condition that holds, as the operator wrote it."""
    return {
        "type": type_,
        "status": "True",
        "reason": "Seen",
        "message": "",
        "lastTransitionTime": stamp(datetime.now(UTC)),
    }


def moment(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()


async def test_an_authority_is_told_with_its_use_and_its_end() -> None:
    async with scraped() as seen:
        await seen.ask()
        listed = seen.it.server.objects[DOMAIN]["status"]["authorities"]
        assert [each["state"] for each in listed] == ["Active", "Prepared"]
        assert seen.samples("troth_authority_expiration_timestamp_seconds") == {
            ("production", each["fingerprint"], each["state"]): moment(each["notAfter"])
            for each in listed
        }


async def test_leaves_are_counted_by_the_authority_that_signed_them() -> None:
    async with scraped(identity("payments"), identity("web")) as seen:
        active = seen.fingerprint("Active")
        assert seen.samples("troth_leaves") == {("production", active): 2}
        await seen.ask()
        prepared = seen.fingerprint("Prepared")
        assert seen.samples("troth_leaves") == {
            ("production", active): 2,
            ("production", prepared): 0,
        }


async def test_a_leaf_of_a_root_that_was_dropped_is_counted_as_of_an_unknown_one() -> None:
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


async def test_a_refused_write_and_the_edges_closed_for_it_are_counted() -> None:
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


async def test_a_leaf_that_has_expired_is_not_counted() -> None:
    async with scraped(identity("payments"), since=datetime.now(UTC) - 25 * HOUR) as seen:
        assert seen.samples("troth_leaves") == {("production", seen.fingerprint("Active")): 0}


async def test_just_one_phase_of_a_rotation_is_1() -> None:
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


async def test_the_replacement_of_a_token_key_is_told_where_there_is_one() -> None:
    async with scraped() as seen:
        assert seen.samples("troth_token_rotation_phase") == {}
        await seen.it.put(domain(tokens={}))
        assert seen.samples("troth_token_rotation_phase")["production", "Idle"] == 1
        await seen.ask()
        phases = seen.samples("troth_token_rotation_phase")
        assert [labels for labels, value in phases.items() if value] == [
            ("production", "Distributing")
        ]


async def test_a_rotation_tells_when_the_next_begins() -> None:
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


async def test_objects_that_cannot_be_read_are_counted_by_their_kind() -> None:
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
    """Let the engine come to an end with its broker, whose admin Secret is not there."""
    work = seen.it.engine.background
    assert isinstance(work, BrokerWork)
    await work.settled()
    await seen.it.settle()


async def test_whether_a_broker_answers_is_told_once_it_was_looked_at() -> None:
    brokers = Cluster.of(broker()).world.brokers
    assert not next(iter(broker_metrics(brokers, 0.0))).samples
    async with scraped(broker()) as seen:
        await at_a_broker(seen)
        assert seen.samples("troth_broker_reachable") == {("messaging", "main"): 0}


async def test_what_the_status_of_a_broker_counts_is_told() -> None:
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


async def test_grants_are_counted_by_their_state_at_each_broker() -> None:
    async with scraped(broker(), orders(), publisher()) as seen:
        assert seen.samples("troth_topic_grants") == {
            ("messaging", "main", "AwaitingIdentity"): 1,
            ("messaging", "main", "Live"): 1,
        }


async def test_how_long_ago_a_broker_was_seen_is_counted_from_a_look_that_went_well() -> None:
    async with scraped(broker()) as seen:
        await at_a_broker(seen)
        assert seen.samples("troth_broker_last_look_age_seconds") == {}
        at = seen.it.engine.uptime
        seen.it.engine.world.brokers.note_observation(
            MAIN, BrokerObservation(observed=Observed(), at=at)
        )
        await seen.it.clock.move_to(seen.it.clock.now() + timedelta(seconds=7))
        assert seen.samples("troth_broker_last_look_age_seconds") == {("messaging", "main"): 7}


async def test_a_look_that_failed_is_counted_by_its_reason() -> None:
    metrics = Metrics()
    async with scraped(broker(), metrics=metrics) as seen:
        await at_a_broker(seen)
    labels = {"namespace": "messaging", "name": "main", "reason": "SecretMissing"}
    assert metrics.registry.get_sample_value("troth_broker_failures_total", labels) == 1


def test_changes_at_a_broker_are_counted_by_what_was_done() -> None:
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
        assert counted["TopicPolicy", "True", "InPlace"] == 1


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

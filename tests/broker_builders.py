"""Broker objects for the pure tests: credentials, ledgers and observations."""

import base64
import json
from collections.abc import Iterable
from typing import Any

from tests.builders import NOW, OWN, Cluster, Manifest, identity, owned, shop, stamp
from tests.messaging import broker, consumer, policy, producer
from troth.brokers.clients import Clients
from troth.planning.grants.view import grants_at
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.observed_broker import Exposure
from troth.resources.references import Ref
from troth.trust.grants import Observed, Place, Rule, Slot
from troth.trust.topics.candidate import principal_of
from troth.world.facts.broker import (
    AdminInUse,
    BrokerObservation,
    CredentialSecret,
    Exposed,
    Ledger,
)
from troth.world.facts.objects import Fault
from troth.world.index.brokers import credential_ref
from troth.world.keys import Keys
from troth.world.observation.broker_secrets import DIGEST, STATE, TYPE, digest
from troth.world.observation.ledger import ledger_manifest, ledger_ref
from troth.world.outcomes.brokers import BrokerObserved
from troth.world.reader import Reader

MAIN = Ref("messaging", "main")
ORDERS = Ref("shop", "orders")
CHECKOUT = Ref("shop", "checkout")
FULFILMENT = Ref("shop", "fulfilment")
PUBLISHER = "troth-shop.checkout"
CONSUMER = "troth-shop.fulfilment"
DOWN = Fault("Unreachable", "nobody answered at kafka.messaging.svc:9093")


# Declarations


def publisher(name: str = "checkout", *policies: str, **spec: Any) -> Manifest:
    """Return an identity that publishes under policies of its namespace, by default `orders`."""
    named = [{"policy": {"name": each}} for each in policies or ("orders",)]
    return identity(name, publishes=named, **spec)


def subscriber(name: str = "fulfilment", *policies: str, **spec: Any) -> Manifest:
    """Return an identity that consumes under policies of its namespace, by default `orders`."""
    named = [{"policy": {"name": each}} for each in policies or ("orders",)]
    return identity(name, consumes=named, **spec)


def reviewer(name: str = "reviewer", *policies: str, **spec: Any) -> Manifest:
    """Return an identity that reviews dead letters of policies here, by default of `orders`."""
    named = [{"policy": {"name": each}} for each in policies or ("orders",)]
    return identity(name, reviews=named, **spec)


def reviewed_orders(**spec: Any) -> Manifest:
    """Return the policy `orders` with a reviewer of its dead letters."""
    letters = {"topic": "prod.orders.v1.dlq", "reviewer": {"name": "reviewer"}}
    return orders(**{"deadLetter": letters} | spec)


def orders(name: str = "orders", **spec: Any) -> Manifest:
    """Return a policy with the producer `checkout` and the consumer `fulfilment`."""
    named: Manifest = {
        "producers": [producer("checkout")],
        "consumers": [consumer("fulfilment", "fulfilment")],
    }
    return policy(name, **named | spec)


def market(*manifests: Manifest) -> Cluster:
    """Return a shop with the broker `main`, and a producer and a consumer of the policy `orders`.

    A given manifest replaces the one of its name.
    """
    return shop(broker(), publisher(), subscriber(), orders(), *manifests)


# Owned objects


def fingerprint(principal: str, which: str = "first") -> str:
    """Return a value in the form of a fingerprint."""
    return digest({principal: which.encode()})[:16]


def credential(
    identity: Manifest,
    at: Ref = MAIN,
    principal: str = "",
    *,
    current: tuple[Slot, str] = (Slot.FIRST, "first"),
    upcoming: tuple[Slot, str] | None = None,
    retiring: tuple[Slot, str] | None = None,
) -> Manifest:
    """Return the Secret with an identity's credential at a broker, as Troth wrote it.

    `identity` is the object in the cluster. A credential is its slot and a name that determines its
    `fingerprint`; the password is not a real one.
    """
    owner = Ref.of(identity)
    whose = principal or f"troth-{owner.namespace}.{owner.name}"
    state: dict[str, object] = {"broker": str(at), "principal": whose}
    for name, held in (("current", current), ("next", upcoming), ("retiring", retiring)):
        if held is not None:
            slot, which = held
            made = {"slot": slot, "fingerprint": fingerprint(whose, which), "madeAt": stamp(NOW)}
            state[name] = made
    data = {STATE: json.dumps(state).encode(), "username": whose.encode(), "password": b"none"}
    ref = credential_ref(owner, at)
    secret = owned(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": ref.name, "namespace": ref.namespace},
            "type": TYPE,
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        },
        "ServiceIdentity",
        owner.name,
    )
    owner_reference = {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "ServiceIdentity",
        "name": owner.name,
        "uid": identity["metadata"]["uid"],
        "controller": True,
    }
    secret["metadata"]["annotations"] = {DIGEST: digest(data)}
    secret["metadata"]["ownerReferences"] = [owner_reference]
    return secret


def give_credentials(cluster: Cluster, *identities: Ref, at: Ref = MAIN) -> None:
    """Create the credential Secrets of identities at a broker, as their plans do."""
    declared = declared_at(cluster, at)
    for ref in identities:
        stored = cluster.objects["ServiceIdentity", ref]
        owner = ServiceIdentity.parse(stored)
        cluster.put(credential(stored, at, principal_of(declared, owner.ref)))


# Observations


def declared_at(cluster: Cluster, at: Ref = MAIN) -> MessageBroker:
    found = cluster.world.brokers.declared(at)
    assert found is not None
    return found


def ledger_of(cluster: Cluster, at: Ref = MAIN) -> Ledger:
    found = cluster.world.brokers.ledger(at)
    assert found is not None, "the ledger is lost"
    return found


def keep_ledger(cluster: Cluster, ledger: Ledger, at: Ref = MAIN) -> None:
    """Write a broker's ledger."""
    cluster.put(ledger_manifest(OWN, declared_at(cluster, at), ledger))


def lose_ledger(cluster: Cluster, at: Ref = MAIN) -> None:
    """Delete a broker's ledger, as a user may do by mistake."""
    cluster.drop("ConfigMap", ledger_ref(OWN, at))


def see(
    cluster: Cluster,
    rules: Iterable[Rule] = (),
    credentials: Iterable[Place] = (),
    at: Ref = MAIN,
    *,
    openings: Iterable[Rule] = (),
    exposure: Exposure | None = None,
) -> None:
    """Record a successful observation of a broker with these rules, credentials and openings."""
    exposed = Exposed(exposure, cluster.now) if exposure is not None else None
    observed = Observed(frozenset(credentials), frozenset(rules), frozenset(openings))
    uptime, foreign = cluster.uptime, cluster.world.brokers.foreign(at, observed)
    cluster.world.brokers.note_observation(
        at,
        BrokerObservation(
            observed=observed, foreign=foreign, at=uptime, tried_at=uptime, exposed=exposed
        ),
    )


def see_clients(cluster: Cluster, found: Clients | Fault | None, at: Ref = MAIN) -> Keys:
    """Take in an observation of a broker that differs only in its clients; return the keys."""
    look = cluster.world.brokers.observation(at)
    shown = look.admin or AdminInUse(None, "", NOW)
    observed = look.observed or Observed()
    return cluster.world.observe_outcome(
        BrokerObserved(at, observed, look.authorities, shown, cluster.uptime, found)
    )


def lose_sight(cluster: Cluster, fault: Fault = DOWN, at: Ref = MAIN) -> None:
    """Record a failed observation of a broker; the previous state stays known."""
    before, uptime = cluster.world.brokers.observation(at), cluster.uptime
    cluster.world.brokers.note_observation(at, before.tried(uptime, fault))


def sync_broker(cluster: Cluster, at: Ref = MAIN) -> Ledger:
    """Bring a broker in sync with the declarations, as its plan does; return the ledger.

    The broker then has every granted rule and every credential of principals with a grant, keeps
    everything suspended or retained, and has nothing else.
    """
    declared, brokers = declared_at(cluster, at), cluster.world.brokers
    before = brokers.ledger(at) or Ledger()
    granted = grants_at(declared, before, Reader(cluster.world))
    staying = granted.wanted.suspended & before.rules
    credentials = {
        place: kept for place, kept in before.credentials.items() if place[0] in granted.staying
    }
    for secret in brokers.secrets.values():
        if secret.broker == at and secret.principal in granted.live | granted.staying:
            credentials |= _fingerprints(secret)
    ledger = Ledger(granted.wanted.rules | staying, granted.retained, credentials)
    keep_ledger(cluster, ledger, at)
    see(cluster, ledger.rules, ledger.credentials, at)
    return ledger


def _fingerprints(secret: CredentialSecret) -> dict[Place, str]:
    return {(secret.principal, held.slot): held.fingerprint for held in secret.held}

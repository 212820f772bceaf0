"""A fleet with RSA keys, each of which takes about a second: everything else goes on meanwhile.

The order in which the API server stored the objects is the judge, not a clock.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta

import pytest

from tests import builders
from tests.builders import stamp
from tests.cluster.crashes.test_crash_points import THOROUGH
from tests.cluster.person import until
from tests.cluster.stage import DOMAIN, IDENTITY, Stage, leaf_of, opened
from tests.cluster.witness import Sight, Witness
from tests.patience import PATIENCE
from troth.pki.keys.parsing import PrivateKey
from troth.pki.keys.private import generate_key
from troth.reconcile.apply.keys.key_maker import at_once
from troth.resources.algorithms import SLOW, KeyAlgorithm
from troth.resources.references import Ref

FLEET = 100 if THOROUGH else 16
ALGORITHM = "RSA-4096" if THOROUGH else "RSA-2048"
FLEET_PATIENCE = 10 * PATIENCE if THOROUGH else PATIENCE
BETWEEN = 8
"""How many keys of the fleet may be stored between a change and its effect."""
PROPAGATION = timedelta(minutes=3)
STEPS = 20
"""Limit of a root rotation in propagation delays."""


@dataclass
class Counted:
    """Generates keys, and counts how many slow ones it generates at once."""

    now: int = 0
    most: int = 0

    def generate(self, algorithm: KeyAlgorithm) -> PrivateKey:
        if algorithm not in SLOW:
            return generate_key(algorithm)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return generate_key(algorithm)
        finally:
            self.now -= 1


async def fleet(stage: Stage) -> list[Ref]:
    """Declare identities with RSA keys."""
    mtls = {"mtls": {"keyAlgorithm": ALGORITHM}}
    names = [f"rsa-{number}" for number in range(FLEET)]
    return list(
        await asyncio.gather(*(stage.identity(name, authentication=mtls) for name in names))
    )


def of_fleet(sights: list[Sight]) -> list[Sight]:
    return [each for each in sights if each.name.startswith("rsa-")]


async def some_keys(secrets: Witness) -> None:
    """Wait until the first keys of the fleet are stored."""

    async def made() -> int:
        return len(of_fleet(secrets.seen))

    await until(made, lambda number: number > 0)


def between(sights: list[Sight], since: int, end: int) -> int:
    """Return how many objects of the fleet were stored between two versions."""
    return sum(since < each.version < end for each in of_fleet(sights))


async def rotate_root(stage: Stage) -> None:
    """Rotate the root while time passes."""

    async def roots() -> list[str]:
        status = (await stage.person.the(DOMAIN, Ref("", stage.name)))["status"]
        return [each["fingerprint"] for each in status["authorities"]]

    (old,) = await roots()
    moment = stamp(stage.clock.now() + timedelta(seconds=1))
    await stage.person.put(builders.rotation(DOMAIN, stage.name, stage.own, requestedAt=moment))
    for _ in range(STEPS):
        await stage.later(PROPAGATION)
        await stage.settled()
        if len(found := await roots()) == 1 and found != [old]:
            return
    raise AssertionError("the root is not replaced")


@pytest.mark.long
async def test_rsa_keys_of_a_fleet_delay_no_other_change(stage: Stage) -> None:
    await stage.domain()
    copy = await stage.run()
    counted = Counted()
    copy.operator.engine.key_maker._generate = counted.generate
    kubeconfig, person = stage.sandbox.kubeconfig, stage.person
    async with (
        Witness(kubeconfig, "Secret", stage.shop) as secrets,
        Witness(kubeconfig, "NetworkPolicy", stage.shop) as policies,
        Witness(kubeconfig, "Lease", stage.own) as leases,
    ):
        payments, _ = await stage.pair()
        refs = await fleet(stage)
        await some_keys(secrets)
        withdrawn = await person.put(builders.identity("payments", stage.shop, ports=["https"]))
        late = await stage.identity("late")
        since = int(withdrawn["metadata"]["resourceVersion"])
        await stage.closes(payments)
        await person.ready(IDENTITY, late)
        for ref in refs:
            await person.sees(
                IDENTITY,
                ref,
                lambda seen: (seen.get("status") or {}).get("certificate"),
                FLEET_PATIENCE,
            )
            await person.ready(IDENTITY, ref)

        stored = await secrets.everything()
        closed = next(
            sight.version
            for sight in await policies.everything()
            if sight.version > since
            and sight.name == "payments-troth"
            and not opened(sight.manifest, "ingress")
        )
        issued = next(each.version for each in stored if each.name == "late-identity")
        assert between(stored, since, closed) <= BETWEEN
        assert between(stored, since, issued) <= BETWEEN

        await rotate_root(stage)
        serials = defaultdict(set)
        for each in of_fleet(await secrets.everything()):
            serials[each.name].add(leaf_of(each.manifest).serial_number)
        assert {name: len(each) for name, each in serials.items()} == {
            ref.name + "-identity": 2 for ref in refs
        }
        assert 0 < counted.most <= at_once()
        held = {
            each.manifest["spec"]["holderIdentity"]
            for each in await leases.everything()
            if each.version > of_fleet(stored)[0].version
        }
        assert held == {"copy-0"}

"""A fleet with RSA keys, each of which takes about a second: everything else goes on meanwhile.

The order in which the API server stored the objects is the judge, not a clock.
"""

import asyncio
from collections.abc import Callable

from tests import builders
from tests.cluster.crashes.test_crash_points import THOROUGH
from tests.cluster.person import LONG, until
from tests.cluster.stage import IDENTITY, Stage, leaf_of, opened
from tests.cluster.witness import Sight, Witness
from troth.resources.references import Ref

FLEET = 200 if THOROUGH else 24
ALGORITHM = "RSA-4096" if THOROUGH else "RSA-2048"
WORKERS = 8
BETWEEN = 2 * WORKERS
"""How many keys may be stored before a change that came after their identities."""


async def fleet(stage: Stage) -> list[Ref]:
    """Declare identities with RSA keys."""
    mtls = {"mtls": {"keyAlgorithm": ALGORITHM}}
    names = [f"rsa-{number}" for number in range(FLEET)]
    return list(
        await asyncio.gather(*(stage.identity(name, authentication=mtls) for name in names))
    )


def fleets(sights: list[Sight], holds: Callable[[Sight], bool] = lambda _: True) -> list[Sight]:
    return [each for each in sights if each.name.startswith("rsa-") and holds(each)]


async def some_keys(secrets: Witness) -> None:
    """Wait until the first keys of the fleet are stored."""

    async def made() -> int:
        return len(fleets(secrets.seen))

    await until(made, lambda number: number > 0)


async def test_rsa_keys_of_a_fleet_delay_no_other_change(stage: Stage) -> None:
    await stage.domain()
    await stage.run()
    kubeconfig = stage.sandbox.kubeconfig
    async with (
        Witness(kubeconfig, "Secret", stage.shop) as secrets,
        Witness(kubeconfig, "NetworkPolicy", stage.shop) as policies,
        Witness(kubeconfig, "Lease", stage.own) as leases,
    ):
        payments, _ = await stage.pair()
        refs = await fleet(stage)
        await some_keys(secrets)
        withdrawn = await stage.person.put(
            builders.identity("payments", stage.shop, ports=["https"])
        )
        late = await stage.identity("late")
        since = int(withdrawn["metadata"]["resourceVersion"])
        await stage.closes(payments)
        await stage.person.ready(IDENTITY, late)
        for ref in refs:
            await stage.person.sees(
                IDENTITY,
                ref,
                lambda seen: bool((seen.get("status") or {}).get("certificate")),
                LONG * 4,
            )
            await stage.person.ready(IDENTITY, ref)

        stored = await secrets.everything()
        closed = next(
            sight.version
            for sight in await policies.everything()
            if sight.name == "payments-troth"
            and not opened(sight.manifest, "ingress")
            and sight.version > since
        )
        issued = next(each.version for each in stored if each.name == "late-identity")
        for end in (closed, issued):
            between = fleets(stored, lambda each: since < each.version < end)  # noqa: B023
            assert len(between) <= BETWEEN
        keys = {leaf_of(each.manifest).serial_number for each in fleets(stored)}
        assert len(keys) == FLEET
        first, last = (fleets(stored)[at].version for at in (0, -1))
        renewed = [each for each in await leases.everything() if first < each.version < last]
        holders = {each.manifest["spec"]["holderIdentity"] for each in renewed}
        assert holders == {"copy-0"}

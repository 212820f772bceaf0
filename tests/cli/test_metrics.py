"""What Prometheus scrapes, read from the world as it is."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from tests.builders import HOUR, OWN, Manifest, domain, identity, namespace, rotation, stamp
from tests.reconcile.serving import Running, Server, running
from troth.cli.metrics import Metrics
from troth.cluster.errors import ApiError
from troth.reconcile.operator import Operator
from troth.resources.references import Ref

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
async def scraped(*manifests: Manifest, since: datetime | None = None) -> AsyncIterator[Scraped]:
    server = Server([namespace("shop", domain="production"), domain(), *manifests])
    async with running(server, since or datetime.now(UTC)) as it:
        await it.settle()
        operator = SimpleNamespace(engine=it.engine, leadership=SimpleNamespace(acting=True))
        metrics = Metrics()
        metrics.read_from(cast("Operator", operator))
        yield Scraped(it, metrics)


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


async def test_what_is_documented_is_what_there_is() -> None:
    text = (Path(__file__).parents[2] / "docs" / "rotation.md").read_text()
    async with scraped(identity(), rotation(every="6h")) as seen:
        families = {each.name: each for each in seen.metrics.registry.collect()}
        for name, labels in re.findall(r"^\| `(troth_\w+)` \| (.+?) \|", text, re.MULTILINE):
            (sample, *_) = families[name].samples
            assert list(sample.labels) == re.findall(r"\w+", labels), name
        assert set(re.findall(r"troth_\w+", text)) <= families.keys()

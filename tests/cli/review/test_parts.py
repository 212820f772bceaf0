"""The list API of the worker's process: without the Lease, and before the index is read."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from tests.edge.events.trade import ORDER
from tests.review.api.desk import LETTERS, ORDERS, Cluster
from tests.review.desk import Desk, as_delivered
from troth.cli.review.process import Options, Parts
from troth.review.brokers import Stored
from troth.review.index.store import LetterIndex
from troth.review.letters.letter import Letter, Position
from troth.review.policy_worker import PolicyWorker
from troth.review.trail.decisions import Decision, PayloadRead


@dataclass
class Setting:
    """The parts of a worker with one letter, and a user who may do everything."""

    parts: Parts
    policy: PolicyWorker
    letter: Letter
    entries: list[Decision]
    fence: Any

    async def get(self, path: str = "") -> httpx.Response:
        application: Any = self.parts.server.config.app
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="https://worker") as client:
            return await client.get(
                f"{LETTERS}{path}", headers={"Authorization": "Bearer token-of-bob"}
            )


@pytest.fixture
async def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Setting]:
    desk, cluster, index = Desk(tmp_path), Cluster(), LetterIndex(tmp_path / "letters.sqlite")
    cluster.add("bob", "list", "get", "payload")
    options = Options(
        kubeconfig=None,
        context=None,
        namespace="troth-system",
        namespaces=frozenset(),
        identity=desk.reviewer.identity.path,
        bundle=desk.reviewer.bundle.path,
        schemas=tmp_path,
        credentials=tmp_path,
        index=tmp_path,
        admission_policy="troth-dead-letter-reviews",
        audit_topic=None,
        listen=("127.0.0.1", 0),
        health_listen=("127.0.0.1", 0),
    )
    api: Any = cluster
    parts = Parts(options, api, desk.identity(desk.reviewer), index, CollectorRegistry())
    (entry,) = parts.worker._entries().values()
    policy = PolicyWorker(entry, parts.worker._parts)
    parts.worker.policies[ORDERS] = policy

    place = Position(0, 0)
    original = as_delivered(desk.seal(ORDER), stored_at=desk.now)
    stored = Stored(place, as_delivered(desk.bury(original)))
    letter = policy.originals.read(stored)
    assert isinstance(letter, Letter), letter
    index.put([letter])

    async def fetch(_: Sequence[Letter]) -> Mapping[Position, Stored]:
        return {place: stored}

    monkeypatch.setattr(policy, "fetch", fetch)
    entries: list[Decision] = []

    async def append(entry: Decision) -> int:
        entries.append(entry)
        return len(entries)

    fence = SimpleNamespace(acting=True)
    monkeypatch.setattr(parts, "_leadership", fence)
    monkeypatch.setattr(parts, "_audit", SimpleNamespace(append=append))
    policy.ready = True
    yield Setting(parts, policy, letter, entries, fence)
    index.close()


async def test_payload_has_an_entry_of_the_audit_log_with_its_reader(setting: Setting) -> None:
    letter = setting.letter
    answer = await setting.get(f"/{letter.id}/payload")
    assert answer.status_code == 200, answer.text
    assert setting.entries == [PayloadRead(ORDERS, letter.id, letter.digest, "bob")]


async def test_replica_without_the_lease_shows_no_payload(setting: Setting) -> None:
    setting.fence.acting = False
    answer = await setting.get(f"/{setting.letter.id}/payload")
    assert answer.status_code == 503
    assert "no payload is shown" in answer.json()["message"]
    assert setting.entries == []


async def test_nothing_is_listed_before_the_index_is_read(setting: Setting) -> None:
    assert (await setting.get()).json()["letters"]
    setting.policy.ready = False
    for path in ("", "/counts", f"/{setting.letter.id}", f"/{setting.letter.id}/payload"):
        answer = await setting.get(path)
        assert answer.status_code == 503
        assert "is being read" in answer.json()["message"]
    del setting.parts.worker.policies[ORDERS]  # another replica leads
    assert (await setting.get()).status_code == 503
    assert setting.entries == []

"""etcd is restored from an earlier copy of its data while the operator runs.

Resource versions go back, objects come back and disappear, and no watch says so. The operator must
end up with what the restored declarations say, as if it had been started then. `make test` restores
once; `make campaign` also in the middle of other work, several times, and with a standby.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests import builders
from tests.cluster.person import LONG
from tests.cluster.stage import DOMAIN, IDENTITY, Copy, Stage, leaf_of, opened
from troth.planning.owned_objects import policy_ref, secret_ref
from troth.resources.references import Ref

THOROUGH = settings.get_current_profile_name() == "thorough"
ROUNDS = 5 if THOROUGH else 1


async def test_operator_follows_a_restored_store(lonely_stage: Stage, tmp_path: Path) -> None:
    stage = lonely_stage
    await stage.domain()
    await stage.run()
    payments, web = await stage.pair()
    ledger = await stage.identity("ledger", ports=["https"])
    gone = await stage.identity("gone")
    for ref in (ledger, gone):
        await stage.person.ready(IDENTITY, ref)
    await stage.settled()
    leaf = leaf_of(await stage.secret(payments)).serial_number
    copy = tmp_path / "copy"
    await asyncio.to_thread(stage.sandbox.control_plane.store.copy_to, copy)

    for _ in range(ROUNDS):
        await stage.identity("payments", ports=["https"])  # accepts nobody any more
        await stage.identity("ledger", ports=["https"], accepts=[builders.accept("web")])
        calls = [builders.call("payments"), builders.call("ledger")]
        await stage.identity("web", calls=calls)
        await stage.person.delete(IDENTITY, gone)
        late = await stage.identity("late")
        await stage.person.ready(IDENTITY, late)
        await stage.closes(payments)
        await stage.person.sees(
            "NetworkPolicy", policy_ref(ledger), lambda seen: opened(seen, "ingress") == [8443]
        )
        await stage.person.misses("Secret", secret_ref(gone), LONG)
        await stage.settled()

        await asyncio.to_thread(stage.sandbox.control_plane.restore, copy)
        # a change shows that the watches do not wait for a version from the future
        marker = await stage.identity("marker")
        await stage.person.ready(IDENTITY, marker)
        await stage.person.ready(IDENTITY, gone)
        await stage.settled()
        assert opened(await stage.policy(ledger), "ingress") == []
        assert opened(await stage.policy(payments), "ingress") == [8443]
        assert leaf_of(await stage.secret(payments)).serial_number == leaf
        await stage.person.misses("Secret", secret_ref(late))
        await stage.person.hears(IDENTITY, payments, "PeersAgree", "AllLive", "True")
        # what the operator writes from now on is what the restored declarations say
        for ref in (payments, ledger):
            await stage.person.delete("NetworkPolicy", policy_ref(ref))
        await stage.person.sees(
            "NetworkPolicy", policy_ref(ledger), lambda seen: opened(seen, "ingress") == []
        )
        await stage.person.sees(
            "NetworkPolicy", policy_ref(payments), lambda seen: opened(seen, "ingress") == [8443]
        )
        await stage.settled()
        stage.requests.clear()
        await stage.look_again()
        assert stage.requests.made == []

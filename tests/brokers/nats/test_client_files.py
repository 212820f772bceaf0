"""nats-py accepts the files of a credential unchanged."""

from datetime import UTC, datetime
from pathlib import Path

import nats as library

from tests.brokers.nats.stage import Stage, granted, publish, sent
from tests.patience import PATIENCE
from troth.brokers.protocol import Batch, CredentialRequest
from troth.planning.steps.broker_credentials import CredentialChange
from troth.reconcile.apply.secrets.credential_data import changed_data, material
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.references import Ref


async def test_client_publishes_with_the_files_of_either_slot(nats: Stage, tmp_path: Path) -> None:
    request = CredentialRequest(
        Ref("messaging", "main"),
        BrokerType.NATS,
        "shop",
        (nats.server.url.removeprefix("tls://"),),
        account=nats.account.public,
    )
    first = changed_data(CredentialChange.ISSUE, {}, request, datetime.now(UTC))
    prepared = changed_data(CredentialChange.PREPARE, first, request, datetime.now(UTC))
    second = changed_data(CredentialChange.ACTIVATE, prepared, request, datetime.now(UTC))
    told = (material(request.type, prepared, "current"), material(request.type, prepared, "next"))
    assert not await nats.broker.apply(Batch(told, granted(publish("shop", "orders"))))
    witness = await nats.witness()
    heard = await witness.subscribe("orders")
    await sent(witness)
    for data in (first, second):
        for name, content in data.items():
            (tmp_path / name).write_bytes(content)
        client = await library.connect(
            (tmp_path / "servers").read_text().split(","),
            user_credentials=str(tmp_path / "user.creds"),
            inbox_prefix=(tmp_path / "inbox.prefix").read_text(),
            tls=nats.server.tls(),
        )
        await client.publish("orders", b"hello")
        await sent(client)
        assert (await heard.next_msg(timeout=PATIENCE)).data == b"hello"
        await client.close()

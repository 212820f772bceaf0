"""Faults of a broker have one of a few reasons, independent of the adapter."""

import json

import pytest
from structlog.testing import capture_logs

from tests.reconcile.memory_brokers import MemoryBroker, in_memory
from tests.reconcile.serving import Server, running
from tests.reconcile.status.test_debounce import BROKER, KAFKA, MARKET, at_rest
from troth.brokers.errors import (
    AdminRefusedError,
    BrokerError,
    MissingExtraError,
    NotTakenError,
    UnreachableError,
    UnsupportedError,
)
from troth.cluster.errors import ApiError
from troth.reconcile.brokers.faults import fault_of, missing
from troth.resources.references import Ref
from troth.trust.grants import Observed

MAIN = Ref("messaging", "main")
PASSWORD = "hunter2-of-the-admin"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UnreachableError("said"), "Unreachable"),
        (AdminRefusedError("said"), "AdminRefused"),
        (NotTakenError("said"), "AdminRefused"),
        (UnsupportedError("said"), "Unsupported"),
        (MissingExtraError("said"), "ExtraMissing"),
        (BrokerError("said"), "BrokerFailed"),
    ],
)
def test_each_error_has_its_reason_and_message(error: BrokerError, reason: str) -> None:
    fault = fault_of(error, MAIN)
    assert (fault.reason, fault.message) == (reason, "said")


def test_ledger_that_admission_denies_is_reported_with_the_cause_alone() -> None:
    denied = f'admission webhook "guard.example.com" denied the request: {PASSWORD}'
    fault = fault_of(ApiError(403, "Forbidden", denied), MAIN)
    assert fault.reason == "ApiServerFailed"
    assert "403 Forbidden, because the admission webhook guard.example.com" in fault.message
    assert PASSWORD not in fault.message


def test_missing_secret_is_named() -> None:
    fault = fault_of(missing(Ref("messaging", "kafka-admin")), MAIN)
    assert fault.reason == "SecretMissing"
    assert "messaging/kafka-admin" in fault.message


class Broken(MemoryBroker):
    """Fails with an error that quotes the admin password."""

    async def observe(self) -> Observed:
        raise ValueError(PASSWORD)


async def test_unexpected_error_is_logged_without_its_text() -> None:
    server = Server([*MARKET, BROKER])
    with in_memory() as brokers, capture_logs() as logs:
        brokers.known[tuple(KAFKA["bootstrapServers"])] = Broken()
        async with running(server, due=True) as it:
            await at_rest(it)
            await it.engine.close()
    failed = next(each for each in logs if each["event"] == "work at a broker failed")
    assert failed["error"] == "ValueError"
    assert failed["at"][-1].endswith(" observe")
    assert "exc_info" not in failed
    assert PASSWORD not in json.dumps(
        [*logs, *server.events, *server.objects.values()], default=str
    )

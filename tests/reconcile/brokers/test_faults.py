"""Faults of a broker have one of a few reasons, independent of the adapter."""

import pytest

from troth.brokers.errors import (
    AdminRefusedError,
    BrokerError,
    MissingExtraError,
    NotTakenError,
    UnreachableError,
    UnsupportedError,
)
from troth.reconcile.brokers.faults import fault_of, missing
from troth.resources.references import Ref

MAIN = Ref("messaging", "main")


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


def test_missing_secret_is_named() -> None:
    fault = fault_of(missing(Ref("messaging", "kafka-admin")), MAIN)
    assert fault.reason == "SecretMissing"
    assert "messaging/kafka-admin" in fault.message

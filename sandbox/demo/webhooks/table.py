"""The trials of webhooks: deliveries, requests that bypass the gateway, and a second key."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from sandbox.demo.cast import CHECKOUT
from sandbox.demo.errors import DemoError
from sandbox.demo.loopback import LOOPBACK
from sandbox.demo.tokens.client import Client, answering
from sandbox.demo.trials import Observation, Trial
from sandbox.demo.webhooks.example import ELSEWHERE, GATEWAY, KEY, Endpoint
from sandbox.demo.webhooks.gateway import Gateway
from sandbox.demo.webhooks.senders import (
    Delivery,
    Sign,
    charge,
    order,
    standard_sign,
    stripe_sign,
)

SECONDS, PAUSE = 10.0, 0.02
AGE = 600
"""The age in seconds of a delivery that is too old."""
NEW_KEY = "k2"
WITHIN = 5.0
"""Seconds after which the gateway must accept a new key."""
SENDERS: Mapping[str, tuple[str, Sign]] = {
    "Stripe": ("Stripe", stripe_sign),
    "StandardWebhooks": ("a partner", standard_sign),
}
"""The sender of each scheme, and its library."""


def deliveries(gateway: Gateway) -> Iterator[Trial]:
    """Yield deliveries that the gateway must accept, and some that it must reject."""
    for endpoint in gateway.example.endpoints:
        _, sign = SENDERS[endpoint.scheme]
        key = gateway.key(endpoint)
        if endpoint.is_given:
            yield from _charges(gateway, endpoint, key)
        else:
            action = "an order, signed with Troth's key"
            yield accepted(gateway, endpoint, action, sign(key, order()))


def _charges(gateway: Gateway, endpoint: Endpoint, key: str) -> Iterator[Trial]:
    _, sign = SENDERS[endpoint.scheme]
    valid = sign(key, charge())
    yield accepted(gateway, endpoint, "a charge, signed by its library", valid)
    yield rejected(gateway, endpoint, "the same again", valid, (HTTPStatus.OK, "done-already"))
    changed = sign(key, charge()).changed(b'"amount": 4200', b'"amount": 42')
    for action, delivery, reason in (
        (f"one signed {AGE // 60} minutes ago", sign(key, charge(), AGE), "timestamp-too-old"),
        ("one with a changed amount", changed, "signature-wrong"),
        ("one without a signature", valid.unsigned(), "signature-missing"),
    ):
        yield rejected(gateway, endpoint, action, delivery, (HTTPStatus.UNAUTHORIZED, reason))
    yield rejected(
        *(gateway, endpoint, "one from another address", sign(key, charge())),
        (HTTPStatus.FORBIDDEN, "address-unexpected"),
        address=ELSEWHERE,
    )


def bypassing(gateway: Gateway) -> Iterator[Trial]:
    """Yield requests to the target that do not come through the gateway."""
    target, path = gateway.example.target, gateway.example.endpoints[0].path
    callee = Client(gateway.files(target), 0).spiffe_id
    for caller, action, code in (
        (CHECKOUT, "a charge, with its own certificate", "caller-not-accepted"),
        (GATEWAY, "with the gateway's, without Txn-Token", "webhook-token-missing"),
    ):
        client = Client(gateway.files(caller), 0)
        yield Trial(
            f"{caller.name} → {target.name}",
            action,
            {"status": HTTPStatus.FORBIDDEN, "code": code},
            partial(_bypassed, gateway, client, path, callee),
        )


def _bypassed(gateway: Gateway, client: Client, path: str, callee: str) -> Observation:
    answer = client.send("POST", path, {}, port=gateway.target_port, callee=callee)
    return answer.observation()


def second_key(gateway: Gateway, endpoint: Endpoint, old: str, new: str) -> list[Trial]:
    """Return deliveries signed with either key after the new one is added to the Secret."""
    _, sign = SENDERS[endpoint.scheme]
    return [
        Trial(
            _between(endpoint),
            f"a charge, signed with {NEW_KEY}",
            _accepted(endpoint, NEW_KEY),
            lambda: _sent(gateway, endpoint, sign(new, charge())),
            WITHIN,
        ),
        accepted(gateway, endpoint, f"a charge, signed with {KEY}", sign(old, charge())),
    ]


def accepted(gateway: Gateway, endpoint: Endpoint, action: str, delivery: Delivery) -> Trial:
    """Return a delivery that the gateway must accept and the target must process once."""
    return Trial(
        _between(endpoint),
        action,
        _accepted(endpoint, KEY),
        lambda: _sent(gateway, endpoint, delivery),
    )


def _accepted(endpoint: Endpoint, key: str) -> dict[str, object]:
    ran = [(endpoint.workflow, str(endpoint.place))]
    return {"status": HTTPStatus.OK, "reason": "", "ran": ran, "key": key}


def rejected(
    gateway: Gateway,
    endpoint: Endpoint,
    action: str,
    delivery: Delivery,
    answer: tuple[HTTPStatus, str],
    *,
    address: str = "",
) -> Trial:
    """Return a delivery that the gateway must not forward; `answer` is its status and reason."""
    status, reason = answer
    expected = {"status": status, "reason": reason, "ran": []}
    return Trial(
        _between(endpoint), action, expected, lambda: _sent(gateway, endpoint, delivery, address)
    )


def _between(endpoint: Endpoint) -> str:
    sender, _ = SENDERS[endpoint.scheme]
    return f"{sender} → {endpoint.place.name}"


def _sent(
    gateway: Gateway, endpoint: Endpoint, delivery: Delivery, address: str = ""
) -> Observation:
    """Send a delivery; return its answer, the gateway's log line, and what the target ran."""
    logged, ran = gateway.log.stat().st_size, gateway.target_log.stat().st_size
    headers = {
        **delivery.headers,
        # as the proxy before the gateway sets it
        "X-Forwarded-For": address or endpoint.address,
    }
    with answering("the gateway"), httpx.Client(trust_env=False, timeout=SECONDS) as client:
        url = f"http://{LOOPBACK}:{gateway.port}/{endpoint.place}"
        answer = client.post(url, content=delivery.body, headers=headers)
    line = _delivery_line(gateway.log, logged)
    said: Mapping[str, Any] = json.loads(line)
    work = [json.loads(each) for each in _since(gateway.target_log, ran).splitlines()]
    return observed(answer.status_code, line, said, work)


def observed(
    status: int, line: str, said: Mapping[str, Any], work: list[dict[str, Any]]
) -> Observation:
    """Return the observation of a delivery: `said` is the log line, `work` what the target ran."""
    facts = {
        "status": status,
        "reason": said["reason"],
        "ran": [(each["workflow"], each["endpoint"]) for each in work],
        "key": said["key_id"],
    }
    workflows = ", ".join(each["workflow"] for each in work)
    return Observation(facts, (f"{status} {workflows or said['reason']}",), line)


def _since(log: Path, offset: int) -> str:
    with log.open("rb") as file:
        file.seek(offset)
        return file.read().decode()


def _delivery_line(log: Path, offset: int) -> str:
    """Return the gateway's line about the delivery since an offset of its log."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        text = _since(log, offset)
        found = [each for each in text.splitlines() if re.search(r'"event": ?"delivery"', each)]
        if found and text.endswith("\n"):
            (line,) = found
            return line
        time.sleep(PAUSE)
    raise DemoError("the gateway logged no line about a delivery")

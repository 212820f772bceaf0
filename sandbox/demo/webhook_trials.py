"""What is sent to the gateway and past it, what must become of it, and whether it did."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from sandbox.demo.cast import CHECKOUT
from sandbox.demo.errors import DemoError
from sandbox.demo.names import LOOPBACK
from sandbox.demo.posing import Answered, Poser, answered
from sandbox.demo.shop import Place
from sandbox.demo.webhook_senders import (
    Sent,
    Signs,
    charge,
    order,
    standard_signs,
    stripe_signs,
)
from sandbox.demo.webhook_stage import ELSEWHERE, GATEWAY, KEY, Endpoint, Stage, new_key

SECONDS, PAUSE = 10.0, 0.02
AGE = 600
"""By how many seconds a delivery comes too late."""
NEW_KEY = "k2"
WITHIN = 5.0
"""Seconds after which a new key counts at the latest."""
SENDERS: Mapping[str, tuple[str, Signs]] = {
    "Stripe": ("Stripe", stripe_signs),
    "StandardWebhooks": ("a partner", standard_signs),
}
"""Who signs by each scheme, and how."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A delivery by somebody. `reason` is why it must not be taken, and empty if it must."""

    sender: str
    endpoint: Endpoint
    about: str
    sent: Sent
    status: int = HTTPStatus.OK
    reason: str = ""
    address: str = ""
    key: str = KEY

    @property
    def between(self) -> str:
        """Who sends to which endpoint, with rich's markup."""
        return f"{self.sender} [dim]→[/] {self.endpoint.place.name}"


@dataclass(frozen=True, slots=True)
class Tried:
    """An attempt, its answer, the line that the gateway wrote, and what its target was told."""

    attempt: Attempt
    status: int
    line: str
    told: tuple[Mapping[str, Any], ...]

    @property
    def said(self) -> Mapping[str, Any]:
        """What the line says."""
        found: Mapping[str, Any] = json.loads(self.line)
        return found

    @property
    def answer(self) -> str:
        """What became of it, in words: the workflow that ran, or why none did."""
        ran = ", ".join(each["workflow"] for each in self.told)
        return f"{self.status} {ran or self.said['reason']}"

    @property
    def is_wrong(self) -> bool:
        """Whether anything else became of it than had to."""
        attempt, said = self.attempt, self.said
        if (self.status, said["reason"]) != (attempt.status, attempt.reason):
            return True
        if attempt.reason:
            return bool(self.told)
        ran = [(each["workflow"], each["endpoint"]) for each in self.told]
        wanted = (attempt.endpoint.workflow, str(attempt.endpoint.place))
        return ran != [wanted] or said["key_id"] != attempt.key


@dataclass(frozen=True, slots=True)
class Passed:
    """A request to the target that came past the gateway; `code` is that of its refusal."""

    caller: Place
    callee: Place
    about: str
    code: str
    answer: Answered

    @property
    def is_wrong(self) -> bool:
        """Whether it was not refused, or for another reason."""
        return (self.answer.status, self.answer.code) != (HTTPStatus.FORBIDDEN, self.code)


@dataclass(frozen=True, slots=True)
class Turned:
    """A second key in a sender's Secret, and how soon it counted, in seconds."""

    seconds: float
    new: Tried
    old: Tried

    @property
    def is_wrong(self) -> bool:
        """Whether either key was not taken."""
        return self.new.is_wrong or self.old.is_wrong


def deliveries(stage: Stage) -> Iterator[Tried]:
    """Send what is to be taken, and what is not."""
    for endpoint in stage.declared.endpoints:
        for attempt in _attempts(stage, endpoint):
            yield _tried(stage, attempt)


def _attempts(stage: Stage, endpoint: Endpoint) -> Iterator[Attempt]:
    key = stage.key(endpoint)
    sender, signs = SENDERS[endpoint.scheme]
    if not endpoint.is_given:
        about = "an order, signed with Troth's secret"
        yield Attempt(sender, endpoint, about, signs(key, order()))
        return
    sent = signs(key, charge())
    refused = HTTPStatus.UNAUTHORIZED
    yield Attempt(sender, endpoint, "a charge, signed by its library", sent)
    yield Attempt(sender, endpoint, "the same once more", sent, reason="done-already")
    for about, bad, reason in (
        (f"one signed {AGE // 60} minutes ago", signs(key, charge(), AGE), "timestamp-too-old"),
        ("one with another amount", _changed(signs(key, charge())), "signature-wrong"),
        ("unsigned, from its address", sent.unsigned(), "signature-missing"),
    ):
        yield Attempt(sender, endpoint, about, bad, refused, reason)
    again = signs(key, charge())
    yield Attempt(
        *(sender, endpoint, "signed, from another address", again),
        *(HTTPStatus.FORBIDDEN, "address-unexpected", ELSEWHERE),
    )


def _changed(sent: Sent) -> Sent:
    return sent.tampered(b'"amount": 4200', b'"amount": 42')


def _tried(stage: Stage, attempt: Attempt) -> Tried:
    written, told = stage.log.stat().st_size, stage.told.stat().st_size
    path = f"/{attempt.endpoint.place}"
    headers = {
        **attempt.sent.headers,
        # as the proxy before it says where a request comes from
        "X-Forwarded-For": attempt.address or attempt.endpoint.address,
    }
    with answered("the gateway"), httpx.Client(trust_env=False, timeout=SECONDS) as client:
        answer = client.post(
            f"http://{LOOPBACK}:{stage.gateway}{path}", content=attempt.sent.body, headers=headers
        )
    (line,) = _lines(stage.log, written, r'"event": ?"delivery"')
    return Tried(attempt, answer.status_code, line, tuple(_told(stage.told, told)))


def _told(log: Path, since: int) -> Iterator[Mapping[str, Any]]:
    with log.open("rb") as file:
        file.seek(since)
        yield from map(json.loads, file.read().decode().splitlines())


def _lines(log: Path, since: int, pattern: str) -> list[str]:
    """Return the lines that were written since, of which there is one at least."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with log.open("rb") as file:
            file.seek(since)
            text = file.read().decode()
        found = [each for each in text.splitlines() if re.search(pattern, each)]
        if found and text.endswith("\n"):
            return found
        time.sleep(PAUSE)
    raise DemoError("the gateway wrote no line about a delivery")


def past_the_gateway(stage: Stage) -> Iterator[Passed]:
    """Call the target as somebody of the shop, and with the gateway's own certificate."""
    target, path = stage.declared.target, stage.declared.endpoints[0].path
    callee = Poser(stage.files(target), 0).spiffe_id
    for caller, about, code in (
        (CHECKOUT, "a charge, with its own certificate", "caller-not-accepted"),
        (GATEWAY, "with the gateway's, and no Txn-Token", "webhook-token-missing"),
    ):
        poser = Poser(stage.files(caller), 0)
        answer = poser.send("POST", path, {}, port=stage.target, callee=callee)
        yield Passed(caller, target, about, code, answer)


COMMAND = "kubectl patch secret {name} --namespace {namespace} …   # a second key, k2, beside k1"


def turn(stage: Stage) -> Turned:
    """Add a second key to the Secret of a sender that issues its own; say when it counts."""
    endpoint = next(each for each in stage.declared.endpoints if each.is_given)
    sender, signs = SENDERS[endpoint.scheme]
    old, new = stage.key(endpoint), new_key()
    patch = json.dumps({"stringData": {NEW_KEY: new}})
    began = time.monotonic()
    stage.cluster.sandbox.kubectl(
        *("patch", "secret", endpoint.secret.name, "-n", endpoint.secret.namespace),
        *("--patch", patch),
    )
    while True:
        about = "a charge, signed with the new key"
        tried = _tried(stage, Attempt(sender, endpoint, about, signs(new, charge()), key=NEW_KEY))
        seconds = time.monotonic() - began
        if not tried.is_wrong or seconds > WITHIN:
            break
        time.sleep(PAUSE)
    before = Attempt(sender, endpoint, "one signed with the old key", signs(old, charge()))
    return Turned(seconds, tried, _tried(stage, before))

"""The trials of reviews: requests, approvals, and what fulfilment gets afterwards."""

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sandbox.demo.cast import CHECKOUT, FULFILMENT, SHOP
from sandbox.demo.errors import DemoError
from sandbox.demo.events.orders import CONTEXT, order
from sandbox.demo.events.table import Scene, judged
from sandbox.demo.messages.broker import Answer
from sandbox.demo.reviews.people import Person
from sandbox.demo.screen import REJECTED
from sandbox.demo.trials import Observation, Trial
from troth.edge.events.consumption.dead_letters import DeadLetter
from troth.edge.events.message import Message, Sealed
from troth.edge.events.rejection import Reason

NUMBERS = ("1004", "1005", "1006")
"""Orders that checkout publishes in the form that fulfilment then no longer knows."""
NEXT = "1007"
"""An order that checkout publishes after the redrive. Nothing may come before it a second time."""
REDRIVE, DISCARD = "old-form", "forged-tenant"
"""Names of the reviews."""
FORGED_TENANT = "globex"
SECONDS = 120.0
PAUSE = 0.05


class Verified(NamedTuple):
    """Exit code and output of `troth audit-log verify`."""

    code: int
    output: str


@dataclass(frozen=True, slots=True)
class Desk:
    """The people, and what a review shows to the cluster's administrator."""

    alice: Person
    bob: Person
    review: Callable[[str], dict[str, Any]]
    """Returns a DeadLetterReview by its name."""


def outdated(scene: Scene, queue: list[Sealed]) -> Iterator[Trial]:
    """Yield orders whose schema is no longer one of the policy's."""
    for number, sealed in zip(NUMBERS, queue, strict=True):
        action = f"order {number}, in the form of before"
        yield judged(scene, action, Reason.SCHEMA_UNKNOWN, lambda each=sealed: each)  # type: ignore[misc]


def placed(scene: Scene) -> list[Sealed]:
    """Publish these orders as checkout."""
    return [scene.exchange.order(order(each, "a book"), **CONTEXT) for each in NUMBERS]


def redrive(desk: Desk, scene: Scene) -> Iterator[Trial]:
    """Yield the request, approvals that the API server denies, the approval, and the delivery."""
    alice, bob = desk.alice, desk.bob
    yield _requested(
        desk,
        manifest(
            REDRIVE, alice, "Redrive", "the policy has its schema again", reason="SchemaUnknown"
        ),
        f"requests the redrive of SchemaUnknown, {len(NUMBERS)} letters",
        len(NUMBERS),
    )
    yield _denied(alice, "approves her own request", REDRIVE, approval(alice.user), "another user")
    as_carol = approval("carol@shop.example")
    yield _denied(bob, "approves it as carol", REDRIVE, as_carol, "write your own name")
    wider = {**approval(bob.user), "select": {"reason": "Unsigned"}}
    yield _denied(bob, "approves, and selects Unsigned", REDRIVE, wider, "may change it")
    yield _approved(desk, REDRIVE, {"redriven": len(NUMBERS)})
    yield _delivered(scene, alice, bob)


def discard(desk: Desk, letter: str) -> Iterator[Trial]:
    """Yield the discard of the event with a forged tenant."""
    yield _requested(
        desk,
        manifest(DISCARD, desk.bob, "Discard", "the tenant is forged", ids=[letter]),
        f"requests to discard the order of {FORGED_TENANT}",
        1,
    )
    yield _approved(desk, DISCARD, {"discarded": 1}, by=desk.alice)


def audited(entries: Path, verify: Callable[[Path], Verified], directory: Path) -> Iterator[Trial]:
    """Yield the verification of the audit log, and of copies with an entry less or changed."""
    lines = [line for line in entries.read_text().splitlines() if "troth.dev/audit" in line]
    yield _verification("verifies the audit log", 0, lambda: verify(entries))
    for action, name, changed in (
        ("leaves out an entry in a copy", "gap", [*lines[:2], *lines[3:]]),
        (
            "changes who approved in a copy",
            "edit",
            [each.replace("bob@", "eve@") for each in lines],
        ),
    ):
        copy = directory / f"{name}.jsonl"
        copy.write_text("\n".join(changed) + "\n")
        yield _verification(action, 1, lambda copy=copy: verify(copy))  # type: ignore[misc]


def forged_tenant(scene: Scene) -> str:
    """Return the ID of the dead letter of the event whose tenant was changed after sealing."""
    for message in scene.letters:
        letter = scene.read(message)
        if isinstance(letter, DeadLetter):
            tenant = letter.message.attributes.get("trothtenant")
            if tenant == FORGED_TENANT and letter.rejection.reason is Reason.SIGNATURE_INVALID:
                return _id(message)
    raise DemoError("there is no dead letter of the event with a forged tenant")


def manifest(name: str, who: Person, action: str, why: str, **select: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return a review that a person requests."""
    return {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "DeadLetterReview",
        "metadata": {"name": name, "namespace": SHOP},
        "spec": {
            "policy": {"name": "orders"},
            "select": select,
            "action": action,
            "reason": why,
            "requestedBy": who.user,
        },
    }


def approval(user: str) -> dict[str, Any]:
    """Return the change with which a user approves."""
    return {"approval": {"approvedBy": user}}


def patch(name: str, spec: dict[str, Any]) -> tuple[str, ...]:
    """Return the arguments of kubectl that change a review."""
    text = json.dumps({"spec": spec}, separators=(",", ":"))
    return ("patch", f"dlr/{name}", "-n", SHOP, "--type=merge", "-p", text)


def _requested(desk: Desk, review: dict[str, Any], action: str, letters: int) -> Trial:
    who = desk.alice if review["spec"]["requestedBy"] == desk.alice.user else desk.bob
    name = review["metadata"]["name"]

    def attempt() -> Observation:
        answer = who.asks("create", "-f", "-", stdin=json.dumps(review))
        if answer.rejected:
            return _answered(answer)
        status = _until(desk, name, lambda each: each.get("phase") == "AwaitingApproval")
        count = status.get("selection", {}).get("count")
        facts = {"rejected": False, "phase": status.get("phase"), "letters": count}
        return Observation(facts, (f"{status.get('phase')}: {_letters(count)}",), _why(status))

    expected = {"rejected": False, "phase": "AwaitingApproval", "letters": letters}
    return Trial(who.name, action, expected, attempt)


def _denied(who: Person, action: str, name: str, spec: dict[str, Any], words: str) -> Trial:
    expected = {"rejected": True, "words": re.compile(words)}
    return Trial(who.name, action, expected, lambda: _answered(who.asks(*patch(name, spec))))


def _approved(desk: Desk, name: str, counts: dict[str, int], by: Person | None = None) -> Trial:
    who = by or desk.bob

    def attempt() -> Observation:
        answer = who.asks(*patch(name, approval(who.user)))
        if answer.rejected:
            return _answered(answer)
        status = _until(desk, name, lambda each: "endedAt" in each)
        found = {each: number for each, number in status.get("counts", {}).items() if number}
        facts = {"rejected": False, "phase": status.get("phase"), "counts": found}
        said = ", ".join(f"{number} {each}" for each, number in found.items())
        return Observation(facts, (f"{status.get('phase')}: {said}",), _why(status))

    expected = {"rejected": False, "phase": "Completed", "counts": counts}
    return Trial(who.name, "approves", expected, attempt)


def _delivered(scene: Scene, alice: Person, bob: Person) -> Trial:
    def attempt() -> Observation:
        handled = len(scene.got.events)
        for _ in NUMBERS:
            scene.next_outcome()
        scene.exchange.order(order(NEXT, "a book"), **CONTEXT)
        scene.next_outcome()
        events = scene.got.events[handled:]
        came = [event.payload["order"] for event in events]
        # A message that a busy broker delivers again comes after the next one.
        numbers = [*sorted(came[: len(NUMBERS)]), *came[len(NUMBERS) :]]
        redrives = {
            (str(each.redrive.review), each.redrive.requested_by, each.redrive.approved_by)
            for each in events
            if each.redrive is not None
        }
        actors = {each.actor for each in events}
        facts = {"orders": numbers, "redrives": redrives, "actors": actors}
        quote = f"sealed by {CHECKOUT.name}; " + "; ".join(
            f"review {review}, requested by {by}, approved by {approver}"
            for review, by, approver in redrives
        )
        return Observation(facts, (f"orders {', '.join(numbers[:-1])}, then {NEXT}",), quote)

    expected = {
        "orders": [*NUMBERS, NEXT],
        "redrives": {(f"{SHOP}/{REDRIVE}", alice.user, bob.user)},
        "actors": {scene.actor(CHECKOUT)},
    }
    return Trial(FULFILMENT.name, "gets each of them once", expected, attempt)


def _verification(action: str, code: int, verify: Callable[[], Verified]) -> Trial:
    def attempt() -> Observation:
        done = verify()
        words = f"exit code {done.code}"
        cell = f"{REJECTED}: {words}" if done.code else words
        return Observation({"code": done.code}, (cell,), done.output)

    return Trial("auditor", action, {"code": code}, attempt)


def _until(desk: Desk, name: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the status of a review once it holds; raises `DemoError` after `SECONDS`."""
    deadline = time.monotonic() + SECONDS
    while True:
        status: dict[str, Any] = desk.review(name).get("status", {})
        if holds(status):
            return status
        if time.monotonic() > deadline:
            raise DemoError(
                f"the review {name} is {status.get('phase')} after {SECONDS:.0f} s: {_why(status)}"
            )
        time.sleep(PAUSE)


def _answered(answer: Answer) -> Observation:
    facts = {"rejected": answer.rejected, "words": answer.words}
    if answer.rejected:
        return Observation(facts, (REJECTED,), answer.words)
    return Observation(facts, ("accepted",))


def _why(status: dict[str, Any]) -> str:
    """Return why a review is not ready, for a row that is wrong."""
    ready = (each for each in status.get("conditions", ()) if each["type"] == "Ready")
    return next((each["message"] for each in ready if each["status"] == "False"), "")


def _letters(count: object) -> str:
    return f"{count} letter{'' if count == 1 else 's'}"


def _id(message: Message) -> str:
    return message.attributes["id"]

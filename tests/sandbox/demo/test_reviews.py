"""The demo detects reviews that one person alone decides, and messages that come twice or never."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sandbox.cluster import Sandbox
from sandbox.demo.cast import CHECKOUT
from sandbox.demo.cluster import Cluster
from sandbox.demo.events.table import Scene
from sandbox.demo.messages.broker import Answer
from sandbox.demo.namespaces import MARK, VARIABLE
from sandbox.demo.reviews import table
from sandbox.demo.reviews.people import ALICE, BOB, Person, _person, _sentence
from sandbox.demo.trials import Trial, run
from tests.sandbox.observing import REPOSITORY

RULES = {
    "approves her own request": "let another user approve; nobody approves an own request",
    "approves it as carol": "write your own name, as kubectl auth whoami shows it",
    "approves, and selects Unsigned": "only the user who requests the review may change it",
}
REVIEW = f"shop/{table.REDRIVE}"
SENDER = "spiffe://prod.shop.example/ns/shop/sa/checkout"


@dataclass
class ApiServer:
    """Answers as the admission policy does, unless a rule is missing; the worker works at once."""

    missing: str = ""
    outcome: dict[str, int] = field(default_factory=lambda: {"redriven": len(table.NUMBERS)})
    reviews: dict[str, dict[str, Any]] = field(default_factory=dict)

    def ask(self, user: str, *arguments: str, stdin: str | None = None) -> Answer:
        if arguments[0] == "create":
            assert stdin is not None
            review = json.loads(stdin)
            count = len(review["spec"]["select"].get("ids", table.NUMBERS))
            status = {"phase": "AwaitingApproval", "selection": {"count": count}}
            self.reviews[review["metadata"]["name"]] = {**review, "status": status}
            return Answer("created")
        review = self.reviews[arguments[1].removeprefix("dlr/")]
        spec = json.loads(arguments[-1])["spec"]
        if (rule := _rule(user, spec, review)) and rule != self.missing:
            return Answer(RULES[rule], rejected=True)
        counts = self.outcome if review["spec"]["action"] == "Redrive" else {"discarded": 1}
        review["status"] = {
            "phase": "Completed",
            "endedAt": "now",
            "counts": {**counts, "failed": 0},
        }
        return Answer("patched")


def _rule(user: str, spec: dict[str, Any], review: dict[str, Any]) -> str:
    if user == review["spec"]["requestedBy"]:
        return "approves her own request"
    if spec["approval"]["approvedBy"] != user:
        return "approves it as carol"
    return "approves, and selects Unsigned" if "select" in spec else ""


@dataclass(frozen=True, slots=True)
class User(Person):
    server: ApiServer = field(default_factory=ApiServer)

    def asks(self, *arguments: str, stdin: str | None = None) -> Answer:
        return self.server.ask(self.user, *arguments, stdin=stdin)


def desk(server: ApiServer) -> table.Desk:
    nowhere = cast("Any", None)
    alice, bob = User(ALICE, nowhere, server=server), User(BOB, nowhere, server=server)
    return table.Desk(alice, bob, lambda name: server.reviews[name])


def event(number: str, by: str | None = BOB) -> Any:
    redrive = SimpleNamespace(review=REVIEW, requested_by=ALICE, approved_by=by)
    payload = {"order": number}
    return SimpleNamespace(payload=payload, actor=SENDER, redrive=None if by is None else redrive)


def scene(*coming: Any) -> Scene:
    """Return a scene in which fulfilment gets these events, one with each outcome."""
    events: list[Any] = []
    waiting = list(coming)
    found = SimpleNamespace(
        got=SimpleNamespace(events=events),
        next_outcome=lambda: events.append(waiting.pop(0)),
        exchange=SimpleNamespace(order=lambda *_, **__: None),
        actor=lambda place: SENDER if place == CHECKOUT else "",
    )
    return cast("Scene", found)


REDRIVEN = [event(each) for each in table.NUMBERS]
AFTER = event(table.NEXT, by=None)


def wrong(trials: Iterable[Trial]) -> list[str]:
    return [each.trial.action for each in run(trials) if each.is_wrong]


def test_honest_reviews_are_right() -> None:
    server = ApiServer()
    assert wrong(table.redrive(desk(server), scene(*REDRIVEN, AFTER))) == []
    assert wrong(table.discard(desk(server), "id")) == []


@pytest.mark.parametrize("rule", RULES)
def test_api_server_without_a_rule_is_detected(rule: str) -> None:
    found = wrong(table.redrive(desk(ApiServer(rule)), scene(*REDRIVEN, AFTER)))
    assert rule in found


@pytest.mark.parametrize(
    "coming",
    [
        [*REDRIVEN, REDRIVEN[0], AFTER],
        [REDRIVEN[0], *REDRIVEN[:2], AFTER],
        [*REDRIVEN[:2], AFTER, AFTER],
        [*(event(each, by=ALICE) for each in table.NUMBERS), AFTER],
        [*(event(each, by=None) for each in table.NUMBERS), AFTER],
    ],
    ids=["again afterwards", "twice", "never", "another approver", "no redrive"],
)
def test_wrong_delivery_is_detected(coming: list[Any]) -> None:
    found = wrong(table.redrive(desk(ApiServer()), scene(*coming)))
    assert found == ["gets each of them once"]


def test_worker_that_skips_a_letter_is_detected() -> None:
    server = ApiServer(outcome={"redriven": 2, "skipped": 1})
    assert "approves" in wrong(table.redrive(desk(server), scene(*REDRIVEN, AFTER)))


def verified(code: Callable[[str], int]) -> Callable[[Path], table.Verified]:
    return lambda file: table.Verified(code(file.read_text()), "")


def test_verifier_that_misses_an_edit_is_detected(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lines = [f'{{"troth.dev/audit": "{number} bob@shop.example"}}' for number in range(4)]
    log.write_text("\n".join(("started", *lines)))

    def honest(text: str) -> int:
        return int(any(line not in text for line in lines))

    def trusting(text: str) -> int:
        return int(text.count("audit") < len(lines))

    assert wrong(table.audited(log, verified(honest), tmp_path)) == []
    assert wrong(table.audited(log, verified(trusting), tmp_path)) == [
        "changes who approved in a copy"
    ]
    assert len(wrong(table.audited(log, verified(lambda _: 0), tmp_path))) == 2


def test_sentence_of_the_rule_is_shown() -> None:
    invalid = 'The DeadLetterReview "a" is invalid: spec: Invalid value: let another user approve'
    assert _sentence(invalid) == "let another user approve"
    text = (
        'Error from server (Forbidden): deadletterreviews.troth.dev "old-form" is forbidden: '
        "ValidatingAdmissionPolicy 'p' with binding 'p' denied request: let another user approve"
    )
    assert _sentence(text) == "let another user approve"


def test_worker_of_an_existing_cluster_has_the_prefix_once() -> None:
    code = "from sandbox.demo.reviews import worker; print(worker._identity())"
    env = {**os.environ, VARIABLE: "troth-demo-"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=REPOSITORY, capture_output=True, check=True
    )
    identity = ast.literal_eval(done.stdout.decode())
    assert identity["metadata"]["namespace"] == "troth-demo-system"
    assert identity["spec"]["reviews"][0]["policy"]["namespace"] == "troth-demo-shop"
    assert identity["metadata"]["labels"] == {MARK: "true"}


def test_administrator_of_a_cluster_that_is_not_ours_impersonates_people(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, tmp_path / "kubeconfig")
    person = _person(Cluster(sandbox), ALICE)
    assert (person.user, person.sandbox, person.kubeconfig) == (ALICE, sandbox, None)
    assert not list(tmp_path.iterdir())

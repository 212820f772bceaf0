"""The list API: pages, verdicts, payloads and dry runs, each only with its right."""

import asyncio
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from tests.cluster.person import until
from tests.patience import PATIENCE
from tests.review.api.desk import (
    DATA,
    FAILS,
    LETTERS,
    NOW,
    UNAVAILABLE,
    MemoryIndex,
    dead_letter,
    letter,
    payload_of,
    served,
    workload,
)
from tests.reviews import dead_letter_review
from troth.cluster.concurrency import SHARE
from troth.edge.events.consumption.dead_letters import DATA as DATA_PART
from troth.edge.identity.snapshot import IdentityError
from troth.resources.manifests import parse_resource
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.review.api import answering
from troth.review.api.dry_run import BYTES_AT_ONCE, EXAMINED, SAMPLE
from troth.review.api.endpoint import LONGEST_BODY
from troth.review.brokers import BrokerUnavailableError
from troth.review.index.store import LetterIndex
from troth.review.letters.digest import digest_of_selection
from troth.review.letters.letter import Letter, LetterState
from troth.review.selection import selection_of

HOSTILE = "\x1b]0;owned\x07\u202e\x9b1m"


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["letters"]]


def refused(answer: httpx.Response, status: int) -> str:
    """Return the sentence of a rejection."""
    assert answer.status_code == status, answer.text
    return str(answer.json()["message"])


def on_disk(directory: Path, letters: Iterable[Letter]) -> LetterIndex:
    """Return the worker's own index with letters."""
    index = LetterIndex(directory / "letters.db")
    index.put(letters)
    return index


async def test_dry_run_has_the_digest_of_the_index(tmp_path: Path) -> None:
    letters = [letter(number) for number in range(30)]
    api = served(index=on_disk(tmp_path, letters))
    document = (await api.post({"select": {"reason": "SchemaInvalid"}, "action": "Discard"})).json()
    assert document["digest"] == digest_of_selection((each.id, each.digest) for each in letters)
    assert (await api.get("/counts")).json()["pending"] == 30
    assert (await api.get("/letter-0007")).json()["letter"]["offset"] == 7
    assert ids(await api.get(limit="1")) == ["letter-0000"]


@pytest.mark.parametrize(
    "select",
    [
        {},
        {"reason": "SchemaInvalid", "limit": 4},
        {"producer": {"name": "checkout"}, "until": "2026-11-28T11:00:06Z"},
        {"ids": ["letter-0002", "letter-0011", "letter-0012"]},
    ],
)
async def test_dry_run_has_the_digest_that_the_status_of_the_review_will_have(
    select: dict[str, Any], tmp_path: Path
) -> None:
    letters = [
        *(
            letter(number, reason="Expired" if number % 3 else "SchemaInvalid")
            for number in range(10)
        ),
        letter(11, state=LetterState.QUARANTINED, review=Ref("shop", "first")),
        letter(12, state=LetterState.DISCARDED, review=Ref("shop", "first")),
    ]
    index = on_disk(tmp_path, letters)
    document = (await served(index=index).post({"select": select, "action": "Redrive"})).json()
    manifest = dead_letter_review(select=select)
    manifest["metadata"]["creationTimestamp"] = "2026-11-28T12:00:00Z"
    review = parse_resource(manifest)
    assert isinstance(review, DeadLetterReview)
    expected = selection_of(index, review, datetime.now(UTC) + timedelta(hours=1))
    assert (document["count"], document["digest"]) == (expected.count, expected.digest)
    assert document["count"] > 0


# Lists


async def test_list_shows_every_field_of_a_letter() -> None:
    api = served(letter(1, redrives=2))
    answer = await api.get()
    assert answer.json() == {
        "letters": [
            {
                "id": "letter-0001",
                "time": "2026-11-28T11:00:01Z",
                "state": "Pending",
                "reason": "SchemaInvalid",
                "consumer": workload("fulfilment"),
                "group": "prod.fulfilment",
                "producer": workload("checkout"),
                "tenant": "acme",
                "eventID": "event-1",
                "origin": "prod.orders.v1/0@1",
                "attempts": 0,
                "redrives": 2,
                "size": len(DATA),
                "digest": letter(1).digest,
                "partition": 0,
                "offset": 1,
            }
        ]
    }
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("stored", [False, True], ids=["memory", "disk"])
async def test_pages_have_each_letter_once_in_a_stable_order(stored: bool, tmp_path: Path) -> None:
    letters = [letter(number) for number in range(25)]
    index = on_disk(tmp_path, letters) if stored else MemoryIndex(letters)
    api = served(index=index)
    found: list[str] = []
    query = {"limit": "10"}
    while True:
        answer = await api.get(**query)
        found += ids(answer)
        # a letter that comes meanwhile shifts no page
        index.put([letter(100 + len(found))])
        token = answer.json().get("continue")
        if token is None:
            break
        query["continue"] = token
    assert found[:25] == [f"letter-{number:04}" for number in range(25)]
    assert len(found) == len(set(found))


async def test_exact_page_has_no_continuation() -> None:
    api = served(*(letter(number) for number in range(3)))
    answer = await api.get(limit="3")
    assert len(ids(answer)) == 3
    assert "continue" not in answer.json()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [1, 2, 3]),
        ({"reason": "SchemaInvalid"}, [1, 3]),
        ({"tenant": "acme"}, [1, 2]),
        ({"producer": "shop/checkout"}, [1, 3]),
        ({"producer": "checkout"}, [1, 3]),
        ({"consumer": "shop/fulfilment"}, [1, 2]),
        ({"since": "2026-11-28T11:00:02Z"}, [2, 3]),
        ({"until": "2026-11-28T11:00:02Z"}, [1, 2]),
        ({"reason": "SchemaInvalid", "tenant": "acme"}, [1]),
        ({"state": "Quarantined"}, [4]),
        ({"state": "Quarantined", "limit": "1"}, [4]),
        ({"state": "Discarded"}, [5]),
    ],
)
@pytest.mark.parametrize("stored", [False, True], ids=["memory", "disk"])
async def test_filters_select_letters(
    query: dict[str, str], expected: list[int], stored: bool, tmp_path: Path
) -> None:
    letters = (
        letter(1),
        letter(2, reason="Expired", producer=None),
        letter(3, tenant="zen", consumer=workload("billing")),
        letter(4, state=LetterState.QUARANTINED, review=Ref("shop", "first")),
        letter(5, state=LetterState.DISCARDED),
        letter(6, policy=Ref("shop", "payments")),
    )
    api = served(*letters, index=on_disk(tmp_path, letters) if stored else None)
    assert ids(await api.get(**query)) == [f"letter-{number:04}" for number in expected]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=%D9%A1",
        "limit=1.0",
        "limit=",
        "state=Settled",
        "state=pending",
        "state=",
        "reason=schema",
        f"reason={'A' * 65}",
        "reason=A%00",
        "producer=/checkout",
        "producer=shop/",
        "producer=a/b/c",
        "producer=spiffe://x/ns/shop/sa/checkout",
        "since=yesterday",
        "until=1",
        "until=2026-11-28T12:00:00",
        "continue=x",
        "continue=",
        "continue=MS4tMg",
        "limit=1&limit=2",
        "unknown=1",
        "limit",
        "tenant=%ff",
        "ids=letter-0001",
        "&".join(f"a{number}=1" for number in range(40)),
    ],
)
async def test_malformed_query_is_rejected_with_a_sentence(query: str) -> None:
    api = served(letter(1))
    answer = await api.client.get(
        f"{LETTERS}?{query}", headers={"Authorization": "Bearer token-of-alice"}
    )
    assert refused(answer, 400)
    assert answer.json()["reason"] == "BadRequest"


async def test_rejected_parameter_is_named_and_not_quoted() -> None:
    api = served()
    told = refused(await api.get(reason=HOSTILE), 400)
    assert told == "reason: write a reason in CamelCase, such as SchemaInvalid"


@given(st.binary(max_size=80), st.binary(max_size=40))
async def test_any_query_and_any_id_has_an_answer(query: bytes, name: bytes) -> None:
    api = served(letter(1))
    for path in (LETTERS, f"{LETTERS}/{name.decode('utf-8', 'replace')}"):

        async def raw(scope: Any, receive: Any, send: Any, path: str = path) -> None:
            changed = {"path": path, "raw_path": None, "query_string": query}
            await api.application({**scope, **changed}, receive, send)

        transport = httpx.ASGITransport(raw)
        async with httpx.AsyncClient(transport=transport, base_url="https://x") as client:
            answer = await client.get("/", headers={"Authorization": "Bearer token-of-alice"})
        assert answer.status_code in (200, 400, 404), answer.text
        answer.json()


async def test_counts_are_those_of_the_index() -> None:
    api = served(letter(1), letter(2), letter(3, reason="Expired"))
    assert (await api.get("/counts", "token-of-carol")).json() == {
        "pending": 3,
        "quarantined": 0,
        "oldest": "2026-11-28T11:00:01Z",
        "reasons": [
            {"reason": "Expired", "count": 1},
            {"reason": "SchemaInvalid", "count": 2},
        ],
        "unreadable": 0,
    }


async def test_answers_are_ascii_whatever_a_letter_has() -> None:
    api = served(letter(1, tenant=HOSTILE, origin=HOSTILE, event_id=HOSTILE))
    answer = await api.get()
    assert answer.content.isascii()
    assert answer.json()["letters"][0]["tenant"] == HOSTILE


# One letter


async def test_letter_has_its_checks_and_what_a_redrive_would_do() -> None:
    api = served(letter(1))
    api.desk.forecasts["letter-0001"] = FAILS
    shown = (await api.get("/letter-0001")).json()
    assert shown["letter"]["detail"] == "quantity: -1 is less than the minimum of 1"
    assert shown["letter"]["omitted"] == []
    assert shown["checks"] == [
        {"name": "grant", "verdict": "Passed"},
        {
            "name": "schema",
            "verdict": "Failed",
            "reason": "SchemaInvalid",
            "detail": "quantity: -1 is too small",
        },
        {"name": "tenant", "verdict": "NotRun"},
    ]
    assert shown["redrive"] == {
        "outcome": "Skipped",
        "reason": "SchemaInvalid",
        "detail": "quantity: -1 is less than 1",
    }
    assert DATA.decode() not in json.dumps(shown)


async def test_settled_letter_is_found_by_its_id() -> None:
    review = Ref("shop", "orders-fix")
    api = served(letter(1, state=LetterState.REDRIVEN, review=review))
    found = (await api.get("/letter-0001")).json()["letter"]
    assert (found["state"], found["review"]) == ("Redriven", "shop/orders-fix")


async def test_letter_that_the_broker_lost_is_still_shown() -> None:
    api = served(letter(1))
    api.desk.letters["letter-0001"] = None
    assert "detail" not in (await api.get("/letter-0001")).json()["letter"]


async def test_unknown_letter_and_unknown_path_are_not_found() -> None:
    api = served(letter(1))
    assert "has no letter letter-0002" in refused(await api.get("/letter-0002"), 404)
    for path in ("/a%20b", "/" + "a" * 65, "/letter-0001/data", "/letter-0001/payload/x"):
        assert "no such path" in refused(await api.get(path), 404)


# Payloads


async def test_payload_is_recorded_before_it_is_shown() -> None:
    api = served(letter(1))
    answer = await api.get("/letter-0001/payload", "token-of-bob")
    assert payload_of(answer) == DATA
    assert answer.json()["contentType"] == "application/json"
    assert answer.json()["digest"] == letter(1).digest
    assert api.desk.read == [("bob", "letter-0001")]


async def test_user_without_the_verb_reads_no_payload_and_leaves_no_entry() -> None:
    api = served(letter(1))
    told = refused(await api.get("/letter-0001/payload"), 403)
    assert told == (
        'user "alice" cannot payload resource "topicpolicies/deadletters" in API group '
        '"troth.dev" for the TopicPolicy shop/orders; grant the verb payload on it in a Role'
    )
    assert api.desk.read == []
    assert api.desk.examined == []


@pytest.mark.parametrize("failure", [OSError("disk full"), TimeoutError(), ValueError("x")])
async def test_without_an_audit_entry_no_payload_is_shown(failure: Exception) -> None:
    api = served(letter(1))
    api.desk.audit_failure = failure
    answer = await api.get("/letter-0001/payload", "token-of-bob")
    assert "no payload is shown" in refused(answer, 503)
    assert DATA.decode() not in answer.text


async def test_audit_log_that_never_answers_shows_no_payload() -> None:
    api = served(letter(1), within=0.05)
    api.desk.audit_pause = 2 * PATIENCE
    async with asyncio.timeout(PATIENCE):
        refused(await api.get("/letter-0001/payload", "token-of-bob"), 503)


async def test_letter_that_is_gone_or_has_no_data_has_no_payload() -> None:
    api = served(letter(1), letter(2), letter(3))
    omitted = dead_letter(letter(2), omitted=frozenset({DATA_PART}))
    another = dead_letter(letter(1))
    api.desk.letters |= {"letter-0001": None, "letter-0002": omitted, "letter-0003": another}
    for number, told in ((1, "no longer"), (2, "has no data"), (3, "no longer")):
        answer = await api.get(f"/letter-000{number}/payload", "token-of-bob")
        assert told in refused(answer, 410)
    assert api.desk.read == []


async def test_no_log_has_a_payload_or_a_token() -> None:
    api = served(letter(1))
    with capture_logs() as lines:
        await api.get("/letter-0001/payload", "token-of-bob")
        api.desk.audit_failure = OSError(DATA.decode())
        await api.get("/letter-0001/payload", "token-of-bob")
        api.desk.failure = ValueError(DATA.decode())
        await api.get("/letter-0001")
    text = json.dumps(lines)
    assert "4111" not in text
    assert "token-of" not in text
    answered = [each for each in lines if each["event"] == "answered"]
    assert {**answered[0], "log_level": ""} == {
        "event": "answered",
        "log_level": "",
        "verb": "payload",
        "policy": "shop/orders",
        "user": "bob",
        "status": 200,
        "letter": "letter-0001",
    }


# Access


@pytest.mark.parametrize("path", ["", "/counts", "/letter-0001", "/letter-0001/payload"])
async def test_caller_without_a_valid_token_gets_401(path: str) -> None:
    api = served(letter(1))
    for token in ("", "token-of-nobody"):
        answer = await api.get(path, token)
        assert refused(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert api.cluster.reviews("SubjectAccessReview") == []


async def test_each_path_needs_its_own_verb() -> None:
    api = served(letter(1))
    token = api.cluster.add("dave")
    for path, verb in (
        ("", "list"),
        ("/counts", "list"),
        ("/letter-0001", "get"),
        ("/letter-0001/payload", "payload"),
    ):
        assert f"cannot {verb} " in refused(await api.get(path, token), 403)
    assert "cannot get " in refused(await api.post({"action": "Discard"}, token), 403)


async def test_user_without_a_right_does_not_learn_which_policies_are_served() -> None:
    api = served(letter(1))
    token = api.cluster.add("dave")
    api.desk.served.clear()
    refused(await api.get(token=token), 403)
    assert "does not review" in refused(await api.get(), 404)


@pytest.mark.parametrize("path", ["", "/counts", "/letter-0001", "/letter-0001/payload"])
async def test_index_that_is_being_read_is_not_shown_as_complete(path: str) -> None:
    api = served(letter(1))
    api.desk.reading.update(api.desk.served)
    token = api.cluster.add("dave")
    refused(await api.get(path, token), 403)
    assert "is being read; try again" in refused(await api.get(path, "token-of-bob"), 503)
    assert "is being read" in refused(await api.post({"action": "Discard"}, "token-of-bob"), 503)
    assert api.desk.read == []


@pytest.mark.parametrize("namespace", ["Shop", "a" * 64, "-", "shop%0a"])
async def test_impossible_namespace_is_not_reviewed(namespace: str) -> None:
    api = served()
    answer = await api.client.get(
        LETTERS.replace("shop", namespace), headers={"Authorization": "Bearer token-of-alice"}
    )
    refused(answer, 404)
    assert api.cluster.reviews("SubjectAccessReview") == []


async def test_hostile_user_name_is_escaped_in_answer_and_log() -> None:
    api = served()
    api.cluster.users["x"] = {"username": HOSTILE}
    api.cluster.rights[HOSTILE] = set()
    with capture_logs() as lines:
        told = refused(await api.get(token="x"), 403)
    for text in (told, lines[-1]["user"]):
        assert text.isprintable()
        assert "\\x1b" in text


async def test_api_server_that_cannot_be_reached_shows_nothing() -> None:
    api = served(letter(1))
    api.cluster.failures["SubjectAccessReview"] = UNAVAILABLE
    answer = await api.get()
    assert refused(answer, 503)
    assert answer.headers["retry-after"] == "1"


# Dry runs


async def test_dry_run_counts_outcomes_by_reason() -> None:
    letters = [letter(number) for number in range(30)]
    api = served(*letters, letter(30, reason="Expired"))
    api.desk.forecasts |= {each.id: FAILS for each in letters[:7]}
    answer = await api.post({"select": {"reason": "SchemaInvalid"}, "action": "Redrive"})
    document = answer.json()
    assert document["count"] == document["examined"] == 30
    assert document["digest"] == digest_of_selection((each.id, each.digest) for each in letters)
    assert document["until"] == "2026-11-28T12:00:00Z"
    assert document["outcomes"] == [
        {"outcome": "Redriven", "count": 23},
        {"outcome": "Skipped", "reason": "SchemaInvalid", "count": 7},
    ]
    assert len(document["sample"]) == SAMPLE
    assert api.desk.read == []


@pytest.mark.parametrize(
    ("action", "outcome"), [("Discard", "Discarded"), ("Quarantine", "Quarantined")]
)
async def test_dry_run_of_other_actions_reads_no_message(action: str, outcome: str) -> None:
    api = served(letter(1), letter(2))
    document = (await api.post({"action": action})).json()
    assert document["outcomes"] == [{"outcome": outcome, "count": 2}]
    assert api.desk.examined == []


async def test_dry_run_of_nothing_has_no_outcomes() -> None:
    document = (await served().post({"select": {}, "action": "Discard"})).json()
    assert (document["count"], document["outcomes"], document["sample"]) == (0, [], [])


async def test_dry_run_examines_the_first_letters_and_counts_all() -> None:
    api = served(*(letter(number) for number in range(EXAMINED + 50)))
    document = (await api.post({"select": {"limit": 5000}, "action": "Redrive"})).json()
    assert (document["count"], document["examined"]) == (EXAMINED + 50, EXAMINED)
    assert len(api.desk.examined) == EXAMINED


async def test_dry_run_has_few_messages_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = [BYTES_AT_ONCE // 4] * 9 + [2 * BYTES_AT_ONCE] + [0] * 150
    api = served(*(letter(number, size=size) for number, size in enumerate(largest)))
    usual = api.desk.examine
    batches: list[list[int]] = []
    under_way = most = 0

    async def watched(letters: Sequence[Letter]) -> Any:
        nonlocal under_way, most
        batches.append([each.size for each in letters])
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return await usual(letters)

    monkeypatch.setattr(api.desk, "examine", watched)
    body = {"action": "Redrive"}
    answers = await asyncio.gather(*(api.post(body) for _ in range(5)))
    assert [each.json()["examined"] for each in answers] == [160] * 5
    assert most == 1
    assert all(sum(each) <= BYTES_AT_ONCE or len(each) == 1 for each in batches)
    assert sorted({len(each) for each in batches}) == [1, 4, 50, 100]


async def test_dry_run_says_how_many_it_examined_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    uptime = iter([0.0, answering.ANSWER_WITHIN])  # the scan took all of the time
    api = served(*(letter(number) for number in range(140)), uptime=uptime.__next__)
    usual = api.desk.examine

    async def slow(letters: Sequence[Letter]) -> Any:
        if api.desk.examined:
            await asyncio.Event().wait()
        return await usual(letters)

    monkeypatch.setattr(api.desk, "examine", slow)
    document = (await api.post({"action": "Redrive"})).json()
    assert (document["count"], document["examined"]) == (140, 100)


async def test_dry_run_selects_no_letter_younger_than_the_review() -> None:
    api = served(letter(1), letter(2), letter(3))
    body = {"action": "Discard", "until": "2026-11-28T11:00:02Z"}
    document = (await api.post(body)).json()
    assert (document["count"], document["until"]) == (2, "2026-11-28T11:00:02Z")
    later = (await api.post({"action": "Discard", "until": "2026-11-29T11:00:00Z"})).json()
    assert later["until"] == "2026-11-28T12:00:00Z"
    younger = {"until": "2026-11-28T11:00:03Z"}
    document = (await api.post({**body, "select": younger})).json()
    assert (document["count"], document["until"]) == (2, "2026-11-28T11:00:02Z")


async def test_letter_from_the_future_is_neither_listed_nor_selected() -> None:
    api = served(letter(1), letter(2, time=NOW + timedelta(hours=1)))
    until = "2026-11-29T12:00:00Z"
    assert ids(await api.get(until=until)) == ["letter-0001"]
    document = (await api.post({"select": {"until": until}, "action": "Discard"})).json()
    assert (document["count"], document["until"]) == (1, "2026-11-28T12:00:00Z")


async def test_dry_run_by_ids_selects_quarantined_letters() -> None:
    api = served(letter(1, state=LetterState.QUARANTINED), letter(2))
    assert (await api.post({"action": "Discard"})).json()["count"] == 1
    select = {"ids": ["letter-0001"]}
    assert (await api.post({"select": select, "action": "Discard"})).json()["count"] == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"action":"Redrive","action":"Discard"}',
        b'{"action":"redrive"}',
        b'{"action":["Redrive"]}',
        b'{"select":{}}',
        b'{"action":"Redrive","select":[]}',
        b'{"action":"Redrive","select":{"reason":"x"}}',
        b'{"action":"Redrive","select":{"limit":0}}',
        b'{"action":"Redrive","select":{"limit":true}}',
        b'{"action":"Redrive","select":{"unknown":1}}',
        b'{"action":"Redrive","until":1}',
        b'{"action":"Redrive","until":"soon"}',
        b'{"action":"Redrive","rate":"1/s"}',
        b"[" * 10_000,
        b"\xff",
    ],
)
async def test_malformed_dry_run_is_rejected_with_a_sentence(body: bytes) -> None:
    api = served(letter(1))
    headers = {"Authorization": "Bearer token-of-alice"}
    answer = await api.client.post(f"{LETTERS}/dry-run", content=body, headers=headers)
    assert refused(answer, 400)
    assert api.desk.examined == []


async def test_large_body_is_rejected() -> None:
    headers = {"Authorization": "Bearer token-of-alice"}
    body = b" " * (LONGEST_BODY + 1)
    answer = await served().client.post(f"{LETTERS}/dry-run", content=body, headers=headers)
    assert refused(answer, 413)


# Failures


@pytest.mark.parametrize(
    ("failure", "status", "told"),
    [
        (BrokerUnavailableError("kafka:9093 did not answer"), 503, "kafka:9093 did not answer"),
        (IdentityError("no certificate"), 503, "no certificate"),
        (TimeoutError(), 503, "no answer within 30 s"),
        (KeyError("4111"), 500, "the log of the worker says why"),
    ],
)
async def test_failure_of_a_part_is_an_answer(failure: Exception, status: int, told: str) -> None:
    api = served(letter(1))
    api.desk.failure = failure
    answer = await api.get("/letter-0001")
    assert told in refused(answer, status)
    assert "4111" not in answer.text


async def test_slow_answer_ends_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    api = served(letter(1), within=0.05)
    monkeypatch.setattr(api.desk, "examine", lambda _: asyncio.sleep(2 * PATIENCE))
    async with asyncio.timeout(PATIENCE):
        assert "select fewer letters" in refused(await api.get("/letter-0001"), 503)


async def test_endless_scan_of_the_index_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    api = served(within=0.05)
    ended: list[bool] = []

    def endless(*_: Any, **__: Any) -> Iterator[Letter]:
        try:
            while True:
                yield letter(1, state=LetterState.QUARANTINED)
        finally:
            ended.append(True)

    monkeypatch.setattr(api.desk.index, "select", endless)
    async with asyncio.timeout(PATIENCE):
        refused(await api.post({"action": "Discard"}), 503)
        await until(lambda: asyncio.sleep(0, ended), bool)


async def test_concurrent_requests_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "AT_ONCE", 2)
    api = served(letter(1))
    gate = asyncio.Event()
    api.cluster.before = gate.wait
    users = "token-of-alice", "token-of-bob"
    waiting = [asyncio.create_task(api.get("", token)) for token in users]
    await until(lambda: asyncio.sleep(0, api.cluster.asked), lambda asked: len(asked) == 2)
    assert "too many requests" in refused(await api.get(), 503)
    gate.set()
    assert [each.status_code for each in await asyncio.gather(*waiting)] == [200, 200]
    assert (await api.get()).status_code == 200


async def test_user_has_a_share_of_the_concurrent_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = served(letter(1))
    gate, share, examine = asyncio.Event(), answering.AT_ONCE // SHARE, api.desk.examine
    begun: asyncio.Queue[None] = asyncio.Queue()

    async def slow(*given: Any) -> Any:
        begun.put_nowait(None)
        await gate.wait()
        return await examine(*given)

    monkeypatch.setattr(api.desk, "examine", slow)
    waiting = []
    for _ in range(share):  # one by one, because an address has a share of the reviews
        waiting.append(asyncio.create_task(api.get("/letter-0001")))
        await begun.get()
    assert "too many of your requests" in refused(await api.get(), 503)
    assert (await api.get("", "token-of-bob")).status_code == 200
    gate.set()
    assert [each.status_code for each in await asyncio.gather(*waiting)] == [200] * share
    assert (await api.get()).status_code == 200


async def test_methods_of_other_paths_are_rejected() -> None:
    api = served(letter(1))
    headers = {"Authorization": "Bearer token-of-bob"}
    for method, path in (("POST", ""), ("DELETE", "/letter-0001"), ("PUT", "/letter-0001/payload")):
        answer = await api.client.request(method, f"{LETTERS}{path}", headers=headers)
        refused(answer, 405)


async def test_requests_are_counted_by_verb_and_code() -> None:
    api = served(letter(1))
    await api.get()
    await api.get("/letter-0001/payload")
    text = generate_latest(api.calls.registry).decode()
    assert 'troth_review_api_requests_total{code="200",verb="list"} 1.0' in text
    assert 'troth_review_api_requests_total{code="403",verb="payload"} 1.0' in text


async def test_quarantined_letters_beyond_many_pending_ones_are_found() -> None:
    quarantined = letter(900, state=LetterState.QUARANTINED)
    api = served(*(letter(number) for number in range(600)), quarantined)
    assert ids(await api.get(state="Quarantined", limit="1")) == ["letter-0900"]

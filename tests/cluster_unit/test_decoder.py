"""Decoding of hostile JSON from the API server."""

import asyncio
import contextlib
import copy
import json
import re
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from troth.cluster.watching.decoder import (
    DEEPEST,
    QUICK,
    decode,
    read_event,
    read_object,
    read_page,
)
from troth.resources.messaging.schemas.json_text import written
from troth.resources.messaging.schemas.reading import read_schema
from troth.resources.messaging.schemas.schema_text import SchemaFault, SchemaType
from troth.world.facts.objects import UNREADABLE, Manifest

LEVELS = (220, 5000, 9996)
"""Around what the fast decoder takes, and as deep as the API server stores."""


def nested(levels: int, leaf: bytes = b"{}") -> bytes:
    return b'{"f:a":' * (levels - 1) + leaf + b"}" * (levels - 1)


def service(name: str = "web", fields: bytes = b"{}", spec: bytes = b'{"selector":{}}') -> bytes:
    return (
        b'{"kind":"Service","metadata":{"name":"%s","resourceVersion":"7","managedFields":'
        b'[{"manager":"m","fieldsV1":%s}]},"spec":%s}' % (name.encode(), fields, spec)
    )


def page(*items: bytes) -> bytes:
    return b'{"metadata":{"resourceVersion":"9"},"items":[%s]}' % b",".join(items)


def policy(levels: int, member: bytes = b"jsonSchema") -> bytes:
    around = b'{"not":' if member == b"jsonSchema" else b'{"type":"array","items":'
    schema = around * (levels - 1) + b'{"type":"string"}' + b"}" * (levels - 1)
    return b'{"metadata":{"name":"orders"},"spec":{"consumers":[],"schema":{"%s":%s}}}' % (
        member,
        schema,
    )


HOSTILE_FIELDS = {
    **{f"{levels} levels": nested(levels) for levels in LEVELS},
    "bytes that are not UTF-8": b'{"f:\xff":{}}',
    "half of a surrogate pair": b'{"f:\\ud800":{}}',
    "many objects, nested": b'{"f:b":%s,"f:a":%s}'
    % (nested(220), b"[%s]" % b",".join([b"{}"] * 99)),
}


@pytest.mark.parametrize("fields", HOSTILE_FIELDS.values(), ids=HOSTILE_FIELDS)
def test_object_is_read_without_undecodable_managed_fields(fields: bytes) -> None:
    found = read_object(service(fields=fields))
    assert UNREADABLE not in found
    assert (found["metadata"]["name"], found["spec"]) == ("web", {"selector": {}})
    (entry,) = found["metadata"]["managedFields"]
    assert entry["manager"] == "m"


@pytest.mark.parametrize("fields", HOSTILE_FIELDS.values(), ids=HOSTILE_FIELDS)
def test_hostile_object_does_not_affect_others_of_its_list(fields: bytes) -> None:
    others = service("first"), service("last")
    found = read_page(page(others[0], service(fields=fields), others[1]))
    assert [each["metadata"]["name"] for each in found["items"]] == ["first", "web", "last"]
    assert found["items"][0::2] == [from_json(each) for each in others]
    assert found["metadata"] == {"resourceVersion": "9"}


@pytest.mark.parametrize("fields", HOSTILE_FIELDS.values(), ids=HOSTILE_FIELDS)
async def test_event_of_a_hostile_object_is_read(fields: bytes) -> None:
    event = await decode(b'{"type":"ADDED","object":%s}' % service(fields=fields), read_event)
    assert event["type"] == "ADDED"
    assert event["object"]["metadata"]["resourceVersion"] == "7"


@pytest.mark.parametrize("levels", LEVELS)
def test_object_that_nests_too_deep_is_unreadable_and_names_the_place(levels: int) -> None:
    found = read_object(service(spec=b'{"selector":%s}' % nested(levels)))
    assert found[UNREADABLE] == (
        f"spec.selector.f:a: nested deeper than {DEEPEST} levels; remove levels from it"
    )
    assert found["metadata"]["name"] == "web"


@pytest.mark.parametrize("number", [b"9" * 5000, b'"\x01"'], ids=["a huge number", "a control"])
def test_object_with_an_invalid_value_is_unreadable(number: bytes) -> None:
    found = read_page(page(service(spec=b'{"a":%s}' % number), service("other")))
    assert "not valid JSON" in found["items"][0][UNREADABLE]
    assert found["items"][0]["metadata"]["name"] == "web"
    assert found["items"][1] == from_json(service("other"))


def test_object_that_is_not_json_becomes_none() -> None:
    found = read_page(page(b'{"metadata":{"name":nothing}}', service()))
    assert found["items"] == [None, from_json(service())]


@pytest.mark.parametrize("levels", [DEEPEST - 2, DEEPEST, 198, *LEVELS])
@pytest.mark.parametrize(
    ("member", "format_"), [("jsonSchema", SchemaType.JSON_SCHEMA), ("avro", SchemaType.AVRO)]
)
def test_truncated_schema_is_too_deep_but_its_policy_is_read(
    levels: int, member: str, format_: SchemaType
) -> None:
    """Else a schema without its deepest part would be one that lets more through."""
    found = read_object(policy(levels, member.encode()))
    assert UNREADABLE not in found
    assert found["spec"]["consumers"] == []
    fault = read_schema(written(found["spec"]["schema"][member]), format_)
    assert isinstance(fault, SchemaFault)
    assert fault.reason == "SchemaTooLarge"


@pytest.mark.parametrize("levels", LEVELS)
def test_decoded_object_can_be_copied_compared_shown_and_written(levels: int) -> None:
    for found in (
        read_object(policy(levels)),
        read_object(service(fields=nested(levels))),
        read_object(service(spec=nested(levels))),
    ):
        assert copy.deepcopy(found) == found
        assert from_json(json.dumps(found)) == found
        assert repr(found)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from(["items", "object", "spec", '"}{\\']), values, max_size=3)


@given(st.lists(objects, max_size=4), st.booleans())
def test_list_decoded_in_parts_equals_list_decoded_as_a_whole(
    items: list[Manifest], spaced: bool
) -> None:
    document = {"kind": "List", "items": items, "metadata": {"continue": '}{][\\"'}}
    text = json.dumps(document, indent=1 if spaced else None, ensure_ascii=spaced).encode()
    assert read_page(text) == from_json(text)
    event = json.dumps({"type": "ADDED", "object": {"a": items}}).encode()
    assert read_event(event) == from_json(event)


@given(
    st.binary(max_size=60)
    | st.lists(
        st.sampled_from([b'"', b"\\", b"{", b"}", b"[", b"]", b'"metadata":', b",", b"1", b"\xff"]),
        max_size=30,
    ).map(b"".join)
)
def test_any_bytes_give_an_object_or_a_value_error(text: bytes) -> None:
    for read in (read_object, read_page, read_event):
        with contextlib.suppress(ValueError):
            assert isinstance(read(text), dict)


def test_unpaired_surrogate_is_read_like_go() -> None:
    text = service(fields=b'{"f:\\ud83d\\ude00":{}, "f:\\\\ud800":{}, "f:\\udc00\\ud800x":{}}')
    (entry,) = read_object(text)["metadata"]["managedFields"]
    assert list(entry["fieldsV1"]) == ["f:\U0001f600", "f:\\ud800", "f:\ufffd\ufffdx"]


async def seen_in(text: bytes) -> tuple[Manifest, list[int]]:
    threads: list[int] = []

    def apart(whole: bytes) -> Manifest:
        threads.append(threading.get_ident())
        return read_page(whole)

    return await decode(text, apart), threads


async def test_ordinary_answer_is_decoded_on_the_event_loop() -> None:
    found, threads = await seen_in(page(service()))
    assert found == from_json(page(service()))
    assert threads == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(page(service(fields=nested(9996))), id="deep"),
        pytest.param(page(service(fields=b'{"f:%s":{}}' % (b"a" * QUICK))), id="large"),
    ],
)
async def test_hostile_answer_is_decoded_in_a_thread(text: bytes) -> None:
    found, threads = await seen_in(text)
    assert len(found["items"]) == 1
    assert threads
    assert threads != [threading.get_ident()]


async def test_event_loop_continues_while_a_large_object_is_decoded() -> None:
    wide = b"[%s]" % b",".join([b"[]"] * 400_000)
    text = service(fields=nested(220), spec=b'{"a":%s}' % wide)
    ticks, decoding = 0, asyncio.create_task(decode(text, read_object))
    while not decoding.done():
        await asyncio.sleep(0)
        ticks += 1
    assert ticks > 1
    found: Any = await decoding
    assert len(found["spec"]["a"]) == 400_000


def test_path_in_a_message_is_bounded() -> None:
    found = read_object(service(spec=b'{"%s":%s}' % (b"a" * 4096, nested(220))))
    assert re.fullmatch(r"spec\.a{115}: nested deeper .*", found[UNREADABLE])

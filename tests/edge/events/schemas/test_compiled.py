"""Validators are compiled once, and a missing library is named."""

import json
import subprocess
import sys

import pytest

from tests.descriptor_sets import ORDER, descriptor_set
from troth.edge.events.schemas import compiled
from troth.edge.events.schemas.validator import UnusableSchemaError

AVRO = '{"type":"string"}'


def test_validator_of_one_schema_is_compiled_once() -> None:
    # Each read of identity.json makes the text again.
    first, again = (compiled.compile("JSONSchema", json.dumps({})) for _ in range(2))
    assert first is again


def test_validators_are_kept_within_a_bound() -> None:
    for number in range(compiled.REMEMBERED * 2):
        compiled.compile("JSONSchema", f'{{"minimum":{number}}}')
    assert compiled._compiled.cache_info().currsize <= compiled.REMEMBERED


def test_messages_of_one_descriptor_set_have_validators_of_their_own() -> None:
    text = descriptor_set(ORDER)
    order, line = (compiled.compile("Protobuf", text, f"shop.{name}") for name in ("Order", "Line"))
    assert order.check(b"\x10\x02").fault is None
    assert line.check(b"\x10\x02").fault is not None


@pytest.mark.parametrize(
    ("schema_type", "text"),
    [
        ("JSONSchema", "{"),
        ("JSONSchema", '{"type": 7}'),
        ("JSONSchema", '{"$ref": "http://a.example/"}'),
        ("Avro", "{"),
        ("Avro", '{"type": "strnig"}'),
        ("Protobuf", "?"),
        ("Protobuf", ""),
        ("XML", "<a/>"),
    ],
)
def test_schema_that_cannot_be_compiled_is_rejected(schema_type: str, text: str) -> None:
    for _ in range(2):
        with pytest.raises(UnusableSchemaError):
            compiled.compile(schema_type, text)


@pytest.mark.parametrize(
    ("module", "schema_type", "text"),
    [
        ("jsonschema_rs", "JSONSchema", "{}"),
        ("fastavro", "Avro", AVRO),
        ("google", "Protobuf", descriptor_set(ORDER)),
    ],
)
def test_missing_library_is_named_with_its_extra(module: str, schema_type: str, text: str) -> None:
    program = f"""
import sys
sys.modules[{module!r}] = None
from troth.edge.events.schemas.compiled import compile
try:
    compile({schema_type!r}, {text!r}, "shop.Order")
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"module {module} is not installed; run: pip install 'troth[events]'\n"


def test_library_of_another_format_is_not_imported() -> None:
    program = f"""
import sys
from troth.edge.events.schemas.compiled import compile
compile("Avro", {AVRO!r})
assert "fastavro" in sys.modules
assert "google.protobuf" not in sys.modules and "jsonschema_rs" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)

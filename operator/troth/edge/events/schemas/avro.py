"""Validator of data in Avro's binary encoding."""

from io import BytesIO

from fastavro import schemaless_reader

from troth.edge.events.schemas.avro_scan import ScanError, scan_of
from troth.edge.events.schemas.validator import (
    MOST_BYTES,
    MOST_VALUES,
    TOO_LARGE,
    Checked,
    UnusableSchemaError,
    place_of,
)
from troth.resources.messaging.schemas import avro
from troth.resources.messaging.schemas.avro_parser import AvroError


class AvroValidator:
    """Decodes one value in Avro's binary encoding, without the header of a file or a registry."""

    def __init__(self, text: str) -> None:
        """Compile a schema; raises `UnusableSchemaError`."""
        try:
            self._schema, type_ = avro.compiled(text)
        except (AvroError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise UnusableSchemaError("the Avro schema cannot be compiled") from error
        self._scan = scan_of(type_)

    def check(self, data: bytes) -> Checked:
        """Return the decoded value, or why the data is not one of the schema."""
        if len(data) > MOST_BYTES:
            return Checked(fault=TOO_LARGE)
        try:
            end = self._scan(data, 0, 1, [MOST_VALUES])
        except IndexError:
            return Checked(fault="the data ends within a value")
        except ScanError as error:
            return Checked(fault=f"at {place_of(error.steps[::-1])}: {error}")
        if end != len(data):
            return Checked(fault="the data continues after the value")
        try:
            return Checked(schemaless_reader(BytesIO(data), self._schema, None))
        except (ValueError, ArithmeticError, EOFError):
            return Checked(fault="a text is not UTF-8, or a value is none of its logical type")

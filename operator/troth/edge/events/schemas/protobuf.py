"""Validator of data in Protobuf's wire format."""

from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from troth.edge.events.schemas.protobuf_scan import MALFORMED, UNKNOWN, Scan, ScanError
from troth.edge.events.schemas.validator import (
    MOST_BYTES,
    TOO_LARGE,
    Checked,
    UnusableSchemaError,
)
from troth.resources.messaging.schemas import protobuf


class ProtobufValidator:
    """Parses a message, and rejects fields that its schema does not have.

    The library skips such fields. No schema describes them, so they are not validated.
    """

    def __init__(self, text: str, message: str) -> None:
        """Compile a schema; raises `UnusableSchemaError`."""
        try:
            descriptor = protobuf.compiled(text, message)
        except protobuf.ProtobufError as error:
            raise UnusableSchemaError("the Protobuf schema cannot be compiled") from error
        self.message_class: type[Message] = GetMessageClass(descriptor)
        self._scan = Scan(descriptor)

    def check(self, data: bytes) -> Checked:
        """Return the message, or why the data is not one."""
        if len(data) > MOST_BYTES:
            return Checked(fault=TOO_LARGE)
        message = self.message_class()
        try:
            self._scan.check(data)
            message.ParseFromString(data)
        except ScanError as error:
            return Checked(fault=str(error))
        except DecodeError:
            return Checked(fault=MALFORMED)
        if not message.IsInitialized():
            return Checked(fault="the message has not all required fields")
        size = message.ByteSize()
        message.DiscardUnknownFields()
        if message.ByteSize() != size:
            return Checked(fault=UNKNOWN)
        return Checked(message)

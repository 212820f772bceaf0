"""Reading of a Protobuf schema: a FileDescriptorSet in base64, and the name of a message in it.

Nothing is fetched: the set has all files that it imports, except those of google/protobuf that the
library brings. The canonical form has only the files that the message needs, in a fixed order and
without comments, so that it changes only with the schema.
"""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping

from google.protobuf import (
    any_pb2,
    api_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    source_context_pb2,
    struct_pb2,
    timestamp_pb2,
    type_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from troth.resources.messaging.schemas.json_text import shown
from troth.resources.messaging.schemas.schema_text import SchemaFault

MOST_FILES = 200
"""Maximum number of files in a descriptor set."""

_WELL_KNOWN: Mapping[str, bytes] = {
    module.DESCRIPTOR.name: module.DESCRIPTOR.serialized_pb
    for module in (
        any_pb2,
        api_pb2,
        descriptor_pb2,
        duration_pb2,
        empty_pb2,
        field_mask_pb2,
        source_context_pb2,
        struct_pb2,
        timestamp_pb2,
        type_pb2,
        wrappers_pb2,
    )
}
_DEPENDS = {
    name: tuple(FileDescriptorProto.FromString(raw).dependency) for name, raw in _WELL_KNOWN.items()
}


class ProtobufError(Exception):
    """Raised for a descriptor set that cannot be used. The text says what to change."""

    def __init__(self, message: str, reason: str = "SchemaInvalid") -> None:
        super().__init__(message)
        self.reason = reason


def read(text: str, message: str) -> str | SchemaFault:
    """Return a descriptor set in canonical form, or its fault."""
    try:
        files = _files(text)
        pool = _pool(_ordered(files, files))
        place = _message(pool, message).file.name
        ordered = list(_ordered(files, [place]))
    except ProtobufError as error:
        return SchemaFault(error.reason, str(error))
    except UnicodeDecodeError:  # the library reads names of files and messages when it is asked
        return SchemaFault("SchemaInvalid", "a name in the schema is not UTF-8; use `protoc`")
    for each in ordered:
        each.ClearField("source_code_info")
    whole = FileDescriptorSet(file=ordered)
    return b64encode(whole.SerializeToString(deterministic=True)).decode()


def compiled(text: str, message: str) -> Descriptor:
    """Return the descriptor of a message in a set in base64; raises `ProtobufError`."""
    files = _files(text)
    return _message(_pool(_ordered(files, files)), message)


def _files(text: str) -> dict[str, FileDescriptorProto]:
    try:
        raw = b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ProtobufError(
            "the schema is not base64; write the output of `protoc --include_imports "
            "--descriptor_set_out` in base64"
        ) from None
    try:
        found = FileDescriptorSet.FromString(raw)
    except DecodeError:
        raise ProtobufError(
            "the schema is not a FileDescriptorSet; make it with `protoc --include_imports "
            "--descriptor_set_out`"
        ) from None
    if len(found.file) > MOST_FILES:
        sentence = f"the schema has more than {MOST_FILES} files; leave out those not needed"
        raise ProtobufError(sentence, "SchemaTooLarge")
    files: dict[str, FileDescriptorProto] = {}
    for each in found.file:
        if each.name in files:
            raise ProtobufError(f"file {shown(each.name)} is in the schema twice; remove one")
        if each.name not in _WELL_KNOWN:
            files[each.name] = each
    return files


def _ordered(
    files: Mapping[str, FileDescriptorProto],
    roots: Iterator[str] | list[str] | Mapping[str, object],
) -> Iterator[FileDescriptorProto]:
    """Yield the files that the roots need, each after those that it imports."""
    done: set[str] = set()
    waiting = [(name, False) for name in sorted(roots, reverse=True)]
    above: set[str] = set()
    while waiting:
        name, left = waiting.pop()
        if left:
            above.discard(name)
            done.add(name)
            yield files[name]
        elif name in above:
            raise ProtobufError(f"file {shown(name)} imports itself; remove the import")
        elif name not in done and name not in _WELL_KNOWN:
            if name not in files:
                raise ProtobufError(
                    f"the schema imports {shown(name)}, but Troth fetches nothing; make it with "
                    "`protoc --include_imports`",
                    "SchemaRefersElsewhere",
                )
            above.add(name)
            waiting.append((name, True))
            waiting += [(each, False) for each in sorted(files[name].dependency, reverse=True)]


def _pool(files: Iterator[FileDescriptorProto]) -> DescriptorPool:
    """Return a pool of files, with the well-known ones that they import."""
    pool, added = DescriptorPool(), set[str]()

    def add_known(name: str) -> None:
        if name in _WELL_KNOWN and name not in added:
            added.add(name)
            for each in _DEPENDS[name]:
                add_known(each)
            pool.AddSerializedFile(_WELL_KNOWN[name])

    for each in files:
        for name in each.dependency:
            add_known(name)
        try:
            pool.AddSerializedFile(each.SerializeToString())
        except (TypeError, ValueError) as error:
            cause = str(error).removeprefix("Couldn't build proto file into descriptor pool: ")
            raise ProtobufError(f"file {shown(each.name)} is not valid: {shown(cause)}") from None
    return pool


def _message(pool: DescriptorPool, name: str) -> Descriptor:
    try:
        return pool.FindMessageTypeByName(name)
    except KeyError:
        raise ProtobufError(
            f"the schema has no message {shown(name) or '(no name)'}; write its full name, such as "
            "shop.v1.Order"
        ) from None

"""Reads a YAML or JSON stream into Kubernetes objects that know the lines of their fields.

Nothing in a stream raises an exception: each document that cannot be read becomes a fault.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import yaml

from troth.resources.faults import ManifestFault, Step, path, short
from troth.resources.manifests import Manifest, ManifestLoader, problem_of

UNREADABLE = frozenset({"NotReadable", "NotText", "NotYAML", "NotAnObject", "TooManyFaults"})
"""Codes of faults because of which an input, or the rest of it, was not read."""

DEEPEST, MAX_DOCUMENT_VALUES = 100, 200_000
"""Bounds of one document. An alias counts as often as it is used, so a small text cannot expand
into a large document."""
MAX_VALUES = 500_000
"""Maximum number of values in all files of one input."""
MAX_FAULTS = 1000
"""Number of faults of an input after which the rest of it is not read."""

_MERGE = "tag:yaml.org,2002:merge"
_TYPES = {
    f"tag:yaml.org,2002:{name}": name
    for name in ("str", "int", "float", "bool", "null", "map", "seq", "merge")
}
_TEMPLATE = "; render a template first, as in `helm template . | troth check -f -`"
_ERRORS = (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError)
"""What PyYAML raises for a text that is not YAML, or a value that does not have its tag's form."""


@dataclass(frozen=True, slots=True)
class Document:
    """One Kubernetes object of a stream."""

    manifest: Manifest = field(repr=False)
    source: str
    node: yaml.Node = field(repr=False)
    faults: tuple[ManifestFault, ...] = ()
    """Faults of its YAML, such as a duplicate key. They count if the object is one of Troth's."""

    def line(self, steps: Iterable[Step] = ()) -> int:
        """Return the line of a field, from 1.

        For a field that does not exist, return the line of the closest enclosing field.
        """
        node, line = self.node, self.node.start_mark.line
        for step in steps:
            key, below = _below(node, step)
            if below is None:
                break
            node, line = below, (key or below).start_mark.line
        return int(line) + 1


@dataclass(slots=True)
class ValueCount:
    """Number of values that have been read of the files of one input."""

    values: int = 0


def read_stream(
    text: str, source: str, count: ValueCount | None = None
) -> tuple[list[Document], list[ManifestFault]]:
    """Return the objects of a YAML stream and its faults. A List is replaced by its items.

    `count` is what the files of one input have in common. The file that exceeds `MAX_VALUES` has a
    fault, and nothing of the files after it is returned.
    """
    documents: list[Document] = []
    faults: list[ManifestFault] = []
    count = ValueCount() if count is None else count
    if count.values > MAX_VALUES:
        return documents, faults
    try:
        loader = _BoundedLoader(text, count)
        position = 0
        while loader.check_node():
            position += 1
            node = loader.get_node()
            if node is None or _is_null(node):
                continue
            try:
                documents += _objects(loader, node, source, position)
            except _UnreadableError as error:
                faults.append(error.fault)
                if has_too_many(faults, source):
                    break
    except _TooLargeError as error:
        fault = ManifestFault(source, "", "", str(error), code="NotYAML", line=error.line)
        faults.append(fault)
    except _ERRORS as error:
        faults.append(_not_yaml(error, text, source))
    return documents, faults


def has_too_many(faults: list[ManifestFault], source: str) -> bool:
    """Return whether an input has more than `MAX_FAULTS`; if so, the last of them says so."""
    if len(faults) <= MAX_FAULTS:
        return False
    if faults[-1].code != "TooManyFaults":
        sentence = f"more than {MAX_FAULTS} faults; correct these, then check again"
        faults.append(ManifestFault(source, "", "", sentence, code="TooManyFaults"))
    return True


class _TooLargeError(Exception):
    def __init__(self, sentence: str, line: int) -> None:
        super().__init__(sentence)
        self.line = line


class _BoundedLoader(ManifestLoader):
    """Stops at the first value in excess, before it exists in memory."""

    def __init__(self, text: str, count: ValueCount) -> None:
        super().__init__(text)
        self._count = count
        self._left = 0

    def compose_document(self) -> yaml.Node | None:
        self._left = MAX_DOCUMENT_VALUES
        return super().compose_document()

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._left -= 1
        self._count.values += 1
        if self._count.values > MAX_VALUES:
            sentence = f"more than {MAX_VALUES} values in all files together; name fewer files"
            raise _TooLargeError(sentence, self._line())
        if self._left < 0:
            raise _TooLargeError(_too_large_document(), self._line())
        return super().compose_node(parent, index)

    def _line(self) -> int:
        return int(self.peek_event().start_mark.line) + 1  # type: ignore[no-untyped-call]


def _too_large_document() -> str:
    return f"larger than {MAX_DOCUMENT_VALUES} values, aliases included; split the file"


class _UnreadableError(Exception):
    def __init__(self, fault: ManifestFault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def _objects(
    loader: ManifestLoader, node: yaml.Node, source: str, position: int
) -> Iterator[Document]:
    faults = tuple(_Walk(source).faults(node))
    fatal = next((each for each in faults if each.code in UNREADABLE), None)
    if fatal is not None:
        raise _UnreadableError(fatal)
    try:
        content = loader.construct_document(node)
    except _ERRORS as error:
        line = node.start_mark.line + 1
        raise _UnreadableError(_not_yaml(error, "", source, line)) from None
    if any(each.code == "KeyNotText" for each in faults):
        content = _with_text_keys(content)
    yield from _unpacked(content, node, source, position, faults)


def _with_text_keys(content: object) -> object:
    match content:
        case dict():
            return {str(key): _with_text_keys(value) for key, value in content.items()}
        case list():
            return [_with_text_keys(item) for item in content]
        case _:
            return content


def _unpacked(
    content: object,
    node: yaml.Node,
    source: str,
    position: int,
    faults: Sequence[ManifestFault],
    *,
    above: tuple[Step, ...] = (),
) -> Iterator[Document]:
    """Yield an object, or the items of a List. `above` are the steps to it in the document."""
    kind = content.get("kind") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(kind, str):
        sentence = "not a Kubernetes object; give it apiVersion, kind and metadata"
        fault = ManifestFault(
            source,
            "",
            f"document {position}",
            sentence,
            code="NotAnObject",
            line=node.start_mark.line + 1,
        )
        raise _UnreadableError(fault)
    _, items = _below(node, "items")
    if kind.endswith("List") and isinstance(items, yaml.SequenceNode):
        inside = (*above, "items")
        of_item = _by_item(faults, inside)
        for number, (item, below) in enumerate(zip(content["items"], items.value, strict=True)):
            mine = of_item.get(number, ())
            yield from _unpacked(item, below, source, position, mine, above=(*inside, number))
        return
    yield Document(content, source, node, tuple(faults))


def _by_item(
    faults: Iterable[ManifestFault], inside: tuple[Step, ...]
) -> dict[Step, list[ManifestFault]]:
    """Return the faults within a list by the position of the item."""
    found: dict[Step, list[ManifestFault]] = {}
    for fault in faults:
        if len(fault.steps) > len(inside) and fault.steps[: len(inside)] == inside:
            found.setdefault(fault.steps[len(inside)], []).append(fault)
    return found


class _Walk:
    """Finds in a document what YAML allows and a Kubernetes object cannot have."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._left = MAX_DOCUMENT_VALUES

    def faults(self, node: yaml.Node, steps: tuple[Step, ...] = ()) -> Iterator[ManifestFault]:
        """Yield the faults of a node and of those below it."""
        self._left -= 1
        if len(steps) > DEEPEST or self._left < 0:
            sentence = f"nested deeper than {DEEPEST} levels"
            if self._left < 0:
                sentence = _too_large_document()
            yield self._fault(node, (), sentence, "NotYAML")
            return
        if node.tag not in _TYPES:
            # without the tag: an unquoted password that begins with ! is one
            sentence = (
                "has a YAML tag (its value begins with !), which Kubernetes does not know; put the "
                "value in quotes"
            )
            yield self._fault(node, steps, sentence, "NotYAML")
            return
        if isinstance(node, yaml.MappingNode):
            yield from self._of_mapping(node, steps)
        elif isinstance(node, yaml.SequenceNode):
            for position, item in enumerate(node.value):
                yield from self._below(item, (*steps, position))

    def _below(self, node: yaml.Node, steps: tuple[Step, ...]) -> Iterator[ManifestFault]:
        """Yield the faults of a node below; nothing after the first fatal one."""
        for fault in self.faults(node, steps):
            yield fault
            if self._left < 0:
                return

    def _of_mapping(
        self, node: yaml.MappingNode, steps: tuple[Step, ...]
    ) -> Iterator[ManifestFault]:
        first: dict[str, int] = {}
        for key, value in node.value:
            if self._left < 0:
                return
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is None:
                sentence = f"has a key that is not text; write text{_TEMPLATE}"
                yield self._fault(key, steps, sentence, "NotYAML")
                continue
            line = key.start_mark.line + 1
            if key.tag not in (_MERGE, "tag:yaml.org,2002:str"):
                kind = _TYPES.get(key.tag, "other")
                quoted = repr(short(name))
                sentence = f"the key {quoted} reads as {kind}, not as text; put it in quotes"
                yield self._fault(key, (*steps, name), sentence, "KeyNotText")
            elif name in first and key.tag != _MERGE:
                sentence = f"duplicate key; it is also in line {first[name]}; keep one of the two"
                yield self._fault(key, (*steps, name), sentence, "DuplicateKey")
            first.setdefault(name, line)
            inside = steps if key.tag == _MERGE else (*steps, name)
            yield from self._below(value, inside)

    def _fault(
        self, node: yaml.Node, steps: tuple[Step, ...], sentence: str, code: str
    ) -> ManifestFault:
        place = path(steps)
        line = node.start_mark.line + 1
        return ManifestFault(self._source, "", place, sentence, code=code, steps=steps, line=line)


def _not_yaml(error: Exception, text: str, source: str, line: int = 0) -> ManifestFault:
    """Return the fault of a text that is not YAML, with the line of the error."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None)
    if mark is not None:
        line = mark.line + 1
    elif isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, int(error.position)) + 1
        problem = f"the control character U+{int(error.character):04X} is not allowed"
    elif isinstance(error, RecursionError):
        problem = "nested too deeply"
    told = problem_of(problem or "a value does not have the form of its type")
    hint = _TEMPLATE if "{{" in text else ""
    sentence = f"not valid YAML: {told}{hint}"
    return ManifestFault(source, "", "", sentence, code="NotYAML", line=line)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _below(node: yaml.Node | None, step: Step) -> tuple[yaml.Node | None, yaml.Node | None]:
    """Return the key and the value of a step; the key is None for an item of a list."""
    match node, step:
        case yaml.MappingNode(), str():
            pairs = ((key, value) for key, value in node.value if key.value == step)
            return next(pairs, (None, None))
        case yaml.SequenceNode(), int() if step < len(node.value):
            return None, node.value[step]
        case _:
            return None, None

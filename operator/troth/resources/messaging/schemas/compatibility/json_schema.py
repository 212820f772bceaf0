"""Comparison of JSON Schemas: whether each value that one accepts, the other accepts too.

The question has no general answer. The rules decide the common keywords; for what they cannot
decide, such as two patterns, the problem is not certain. They never miss a problem, because a
constraint counts as implied only if one of the other schema implies it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jsonschema_rs import ValidationError

from troth.resources.messaging.schemas import json_schema as reading
from troth.resources.messaging.schemas import json_text
from troth.resources.messaging.schemas.compatibility import json_bounds
from troth.resources.messaging.schemas.compatibility.changes import Problem
from troth.resources.messaging.schemas.compatibility.json_subschemas import (
    ANY,
    NONE,
    TYPES,
    Root,
    Subschema,
    UnreadableSchemaError,
    bare,
    has_reference,
    types_of,
    values_of,
)

MOST_STEPS = 5_000
"""Maximum number of pairs of schemas that are compared."""

_DECIDED = frozenset(
    {"type", "enum", "const", "required", "properties", "additionalProperties", "items"}
    | {"multipleOf", "uniqueItems", *json_bounds.LEAST, *json_bounds.MOST, *json_bounds.NUMERIC}
)
_BRANCHES = ("anyOf", "oneOf")
_APPLIES = {"pattern": "string", "format": "string"}
_UNKNOWABLE = "the rules cannot compare the schemas here"


class _TooManyStepsError(Exception):
    pass


def problems(narrow: Subschema, wide: Subschema) -> Iterator[Problem]:
    """Yield why a value that `narrow` accepts may not be accepted by `wide`."""
    roots = Root(narrow), Root(wide)
    if roots[0].draft != roots[1].draft or "draft-04" in roots[0].draft:
        yield Problem("", "the rules do not compare schemas of these drafts", certain=False)
        return
    try:
        yield from list(_Comparison(*roots).problems(roots[0].conjuncts(narrow), wide, ""))
    except (UnreadableSchemaError, RecursionError):
        yield Problem("", "the rules do not follow a reference of the schema", certain=False)
    except _TooManyStepsError:
        yield Problem("", "the schemas are too large to compare", certain=False)


@dataclass(slots=True)
class _Comparison:
    """Comparison of two roots.

    A pair of schemas that is met again is assumed to hold: its problems are reported where it was
    met first. So the assumptions of an attempt whose problems are not reported are withdrawn.
    """

    narrow: Root = field(repr=False)
    wide: Root = field(repr=False)
    assumed: set[tuple[tuple[int, ...], int]] = field(default_factory=set)
    rests: dict[int, Subschema] = field(default_factory=dict, repr=False)
    """Schemas without their anyOf or oneOf, kept because `assumed` has identities."""
    steps: int = 0

    def problems(
        self, narrow: Iterator[Subschema] | Sequence[Subschema], wide: object, path: str
    ) -> Iterator[Problem]:
        """Yield why values that satisfy all of `narrow` may not satisfy `wide`."""
        conjuncts = list({id(each): each for each in narrow}.values())
        for each in self.wide.conjuncts(wide):
            yield from self._of_new_conjunct(conjuncts, each, path)

    def _of_conjunct(
        self, narrow: list[Subschema], wide: Subschema, path: str
    ) -> Iterator[Problem]:
        if any(each is NONE or bare(each) == NONE for each in narrow):
            return
        if any(_same(each, wide) for each in narrow):
            return
        before = self.assumed.copy()
        found = list(self._direct(narrow, wide, path))
        if not found:
            return
        split = next((each for each in narrow if any(name in each for name in _BRANCHES)), None)
        if split is not None:
            after, self.assumed = self.assumed, before
            if not list(self._of_branches(narrow, split, wide, path)):
                return
            self.assumed = after
            found = [replace(each, certain=False) for each in found]
        elif any(set(bare(each)) - _DECIDED for each in narrow):
            # A keyword that the rules do not read may exclude the values in question.
            found = [replace(each, certain=False) for each in found]
        yield from found

    def _of_branches(
        self, narrow: list[Subschema], split: Subschema, wide: Subschema, path: str
    ) -> Iterator[Problem]:
        """Yield the problems of each branch of an anyOf or oneOf."""
        name = next(name for name in _BRANCHES if name in split)
        if id(split) not in self.rests:
            self.rests[id(split)] = {key: split[key] for key in split if key != name}
        others = [each for each in narrow if each is not split]
        others.append(self.rests[id(split)])
        for branch in split[name]:
            conjuncts = [*others, *self.narrow.conjuncts(branch)]
            yield from self._of_new_conjunct(conjuncts, wide, path)

    def _of_new_conjunct(
        self, narrow: list[Subschema], wide: Subschema, path: str
    ) -> Iterator[Problem]:
        """Yield problems of a conjunct of `wide`, which is not resolved again."""
        narrow = [each for each in narrow if bare(each)] or [ANY]
        key = tuple(sorted({*map(id, narrow)})), id(wide)
        if key not in self.assumed:
            self.assumed.add(key)
            self._count()
            yield from self._of_conjunct(narrow, wide, path)

    def _holds(self, narrow: list[Subschema], wide: object, path: str) -> bool:
        """Return whether there is no problem."""
        before = self.assumed.copy()
        if not list(self.problems(narrow, wide, path)):
            return True
        self.assumed = before
        return False

    def _count(self) -> None:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise _TooManyStepsError

    def _direct(self, narrow: list[Subschema], wide: Subschema, path: str) -> Iterator[Problem]:
        allowed = TYPES.intersection(*map(types_of, narrow)) if narrow else TYPES
        listed = next((found for each in narrow if (found := values_of(each)) is not None), None)
        if listed is None:
            yield from self._of_types(narrow, wide, path, allowed)
        elif not has_reference(bare(wide)):
            yield from _of_values(listed, narrow, wide, self.wide.draft, path)
        else:
            for each in self._of_types(narrow, wide, path, allowed):
                yield replace(each, certain=False)

    def _of_types(
        self, narrow: list[Subschema], wide: Subschema, path: str, allowed: frozenset[str]
    ) -> Iterator[Problem]:
        excess = allowed - types_of({"type": wide["type"]} if "type" in wide else ANY)
        if excess:
            names = sorted(excess - {"fraction"} | ({"number"} if "fraction" in excess else set()))
            yield Problem(path, f"the type may be {' or '.join(names)}")
            allowed -= excess
        if values_of(wide) is not None:
            yield Problem(
                path,
                "the value need not be one of enum",
                certain=bool(allowed - {"null", "boolean"}),
            )
        if allowed & {"integer", "fraction"}:
            yield from _of_numbers(narrow, wide, path, whole="fraction" not in allowed)
        yield from _of_counts(narrow, wide, path, allowed)
        if "object" in allowed:
            yield from self._of_objects(narrow, wide, path)
        if "array" in allowed:
            yield from self._of_arrays(narrow, wide, path)
        yield from self._of_branched(narrow, wide, path, allowed)
        for keyword in sorted(set(bare(wide)) - _DECIDED - {"anyOf", "oneOf"}):
            if _APPLIES.get(keyword, "") in {"", *allowed} and not _has(narrow, wide, keyword):
                yield Problem(path, f"{keyword} differs; {_UNKNOWABLE}", certain=False)

    def _of_branched(
        self, narrow: list[Subschema], wide: Subschema, path: str, allowed: frozenset[str]
    ) -> Iterator[Problem]:
        for name in _BRANCHES:
            if name not in wide:
                continue
            for position, branch in enumerate(wide[name]):
                alone = name == "anyOf" or all(
                    not allowed & self._types(other)
                    for number, other in enumerate(wide[name])
                    if number != position
                )
                if alone and self._holds(narrow, branch, path):
                    break
            else:
                yield Problem(path, f"{name} may have no branch for it", certain=False)

    def _types(self, schema: object) -> frozenset[str]:
        return TYPES.intersection(*map(types_of, self.wide.conjuncts(schema)))

    def _of_objects(self, narrow: list[Subschema], wide: Subschema, path: str) -> Iterator[Problem]:
        required = {name for each in narrow for name in each.get("required", ())}
        for name in wide.get("required", ()):
            if name not in required:
                yield Problem(f"{path}/{name}", "the property is required, and may be missing")
        named = wide.get("properties", {})
        for name, schema in named.items():
            yield from self._of_property(narrow, name, schema, f"{path}/{name}")
        if "additionalProperties" not in wide:
            return
        if "patternProperties" in wide:
            if not _has(narrow, wide, "additionalProperties", "patternProperties", "properties"):
                yield Problem(path, f"patternProperties differs; {_UNKNOWABLE}", certain=False)
            return
        others = wide["additionalProperties"]
        for name in sorted({name for each in narrow for name in each.get("properties", ())}):
            if name not in named:
                yield from self._of_property(narrow, name, others, f"{path}/{name}")
        further = [
            True if "patternProperties" in each else each.get("additionalProperties", True)
            for each in narrow
        ] or [True]
        yield from self._beneath(further, others, f"{path}/*", "a property without a schema")

    def _of_property(
        self, narrow: list[Subschema], name: str, wide: object, path: str
    ) -> Iterator[Problem]:
        declared = any(name in each.get("properties", {}) for each in narrow)
        schemas = [
            each["properties"][name]
            if name in each.get("properties", {})
            # A pattern may cover the name, and then additionalProperties does not.
            else True
            if "patternProperties" in each
            else each.get("additionalProperties", True)
            for each in narrow
        ] or [True]
        yield from self._beneath(schemas, wide, path, "" if declared else "a property without one")

    def _beneath(
        self, narrow: list[Any], wide: object, path: str, undeclared: str
    ) -> Iterator[Problem]:
        """Yield problems of a member; `undeclared` if the narrow schema does not name it."""
        conjuncts = [found for each in narrow for found in self.narrow.conjuncts(each)]
        if any(bare(each) == NONE for each in conjuncts):
            return
        if wide is False:
            yield Problem(path, "the property is not allowed", certain=True)
            return
        found = list(self.problems(conjuncts, wide, path))
        if found and undeclared and not any(map(bare, conjuncts)):
            yield Problem(path, "messages may have the property with any value", certain=False)
        else:
            yield from found

    def _of_arrays(self, narrow: list[Subschema], wide: Subschema, path: str) -> Iterator[Problem]:
        if wide.get("uniqueItems") is True and not any(
            each.get("uniqueItems") is True or each.get("maxItems", 2) <= 1 for each in narrow
        ):
            yield Problem(path, "items may be repeated")
        if "items" not in wide:
            return
        tuples = any(
            "prefixItems" in each or isinstance(each.get("items"), list) for each in narrow
        )
        if tuples or "prefixItems" in wide or isinstance(wide["items"], list):
            if not _has(narrow, wide, "items", "prefixItems", "additionalItems"):
                yield Problem(path, f"items differs; {_UNKNOWABLE}", certain=False)
            return
        if any(each.get("maxItems") == 0 for each in narrow):
            return
        items = [each.get("items", True) for each in narrow] or [True]
        if any(each is False for each in items):
            return
        conjuncts = [found for each in items for found in self.narrow.conjuncts(each)]
        yield from self.problems(conjuncts, wide["items"], f"{path}/*")


def _of_values(
    listed: list[Any], narrow: list[Subschema], wide: Subschema, draft: str, path: str
) -> Iterator[Problem]:
    """Yield a problem if one of a few values is not valid; the real validator decides."""
    try:
        judges = [_judge(each, draft) for each in narrow if not has_reference(bare(each))]
        accepted = [value for value in listed if all(each.is_valid(value) for each in judges)]
        judge = _judge(wide, draft)
    except (ValidationError, ValueError):
        yield Problem(path, _UNKNOWABLE, certain=False)
        return
    refused = [value for value in accepted if not judge.is_valid(value)]
    if refused:
        shown = json_text.shown(json_text.written(refused[0]))
        yield Problem(path, f"the value may be {shown}", certain=len(judges) == len(narrow))


def _judge(schema: Subschema, draft: str) -> Any:  # noqa: ANN401 - a validator
    named = {"$schema": draft} if draft else {}
    return reading.compiled(json_text.canonical(bare(schema) | named))


def _of_numbers(
    narrow: list[Subschema], wide: Subschema, path: str, *, whole: bool
) -> Iterator[Problem]:
    for keyword in json_bounds.exceeded(narrow, wide, whole=whole):
        yield Problem(path, f"the number may be outside {keyword} {wide[keyword]}")
    if "multipleOf" in wide:
        implied = json_bounds.divides(narrow, wide["multipleOf"], whole=whole)
        if not implied:
            sentence = f"the number need not be a multiple of {wide['multipleOf']}"
            yield Problem(path, sentence, certain=implied is False)


def _of_counts(
    narrow: list[Subschema], wide: Subschema, path: str, allowed: frozenset[str]
) -> Iterator[Problem]:
    for keyword, type_ in json_bounds.LEAST.items():
        least = wide.get(keyword, 0)
        if type_ in allowed and json_bounds.least_count(narrow, keyword) < least:
            yield Problem(path, f"the {type_} may have less than {keyword} {least}")
    for keyword, type_ in json_bounds.MOST.items():
        if keyword in wide and type_ in allowed:
            most = wide[keyword]
            if json_bounds.most_count(narrow, keyword) > most:
                yield Problem(path, f"the {type_} may have more than {keyword} {most}")


def _same(narrow: Subschema, wide: Subschema) -> bool:
    """Return whether two conjuncts are the same without their annotations."""
    if _OF_ALL & wide.keys():  # these see the keywords of allOf and $ref too
        return not has_reference(wide) and json_text.canonical(narrow) == json_text.canonical(wide)
    if has_reference(bare(wide)):
        return False
    return json_text.canonical(bare(narrow)) == json_text.canonical(bare(wide))


_TOGETHER = (
    ("if", "then", "else"),
    ("contains", "minContains", "maxContains"),
    ("prefixItems", "items", "additionalItems"),
    ("contentEncoding", "contentMediaType", "contentSchema"),
)
_OF_ALL = frozenset({"unevaluatedProperties", "unevaluatedItems"})
"""Keywords whose meaning depends on all others of the schema."""


def _has(narrow: list[Subschema], wide: Subschema, *keywords: str) -> bool:
    """Return whether one of the narrow schemas has the same value of keywords.

    Keywords that belong to them are compared too.
    """
    if _OF_ALL & set(keywords):
        return False
    names = {name for group in _TOGETHER if set(group) & set(keywords) for name in group}
    names |= set(keywords)
    wanted = {name: wide.get(name) for name in names}
    if has_reference(wanted):
        return False
    text = json_text.canonical(wanted)
    return any(
        text == json_text.canonical({name: each.get(name) for name in names}) for each in narrow
    )

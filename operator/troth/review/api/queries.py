"""Parses the parameters and bodies of requests. Unknown and repeated members are rejected."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from troth.pki.encodings import base64url, strict_json
from troth.resources.faults import faults_of
from troth.resources.reviews.dead_letter_review import (
    Letters,
    ReviewAction,
)
from troth.resources.schema.scalars import parse_moment
from troth.review.api.problems import bad_request
from troth.review.letters.letter import LetterState, Position

PAGE, LARGEST_PAGE = 100, 500
"""Default and maximum number of letters in a page."""

_FILTERS = frozenset({"reason", "since", "until"})
_IDENTITIES = frozenset({"producer", "consumer"})
_PARAMETERS = _FILTERS | _IDENTITIES | {"tenant", "state", "limit", "continue"}
_TOKEN = "continue"  # noqa: S105 - a parameter's name


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Letters of one page: a selection, their state, the number, and the letter before them."""

    select: Letters
    state: LetterState = LetterState.PENDING
    limit: int = PAGE
    after: Position | None = None


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a review would be asked for. `until` is the time of the review, None for now."""

    select: Letters
    action: ReviewAction
    until: datetime | None = None


def read_list_query(parameters: Iterable[tuple[str, str]]) -> ListQuery:
    """Return the query of a list; raises `ProblemError`."""
    given = _once(parameters)
    select: dict[str, Any] = {}
    for name, value in given.items():
        if name in _IDENTITIES:
            select[name] = _identity(name, value)
        elif name in _FILTERS or name == "tenant":
            select[name] = value
    token = given.get(_TOKEN)
    return ListQuery(
        selection(select),
        _state(given.get("state", LetterState.PENDING)),
        _limit(given.get("limit")),
        None if token is None else read_continue(token),
    )


def read_dry_run(body: bytes) -> DryRun:
    """Return the dry run that a body asks for; raises `ProblemError`."""
    try:
        document = strict_json.parse(body)
    except ValueError as error:
        raise bad_request(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict) or not document.keys() <= {"select", "action", "until"}:
        raise bad_request("the body is not an object with select, action and until")
    action, until = document.get("action"), document.get("until")
    if not isinstance(action, str) or action not in set(ReviewAction):
        raise bad_request(f"action is not one of {', '.join(ReviewAction)}")
    try:
        moment = None if until is None else parse_moment(until)
    except ValueError:  # PydanticCustomError is one
        raise bad_request("until is not a time such as 2026-11-28T12:00:00Z") from None
    select = document.get("select")
    return DryRun(selection({} if select is None else select), ReviewAction(action), moment)


def selection(given: object) -> Letters:
    """Return the letters that an object selects; raises `ProblemError`."""
    try:
        return Letters.model_validate(given)
    except ValidationError as error:
        # of the fault, only the place and the sentence: a value may be anything
        fault = faults_of(error, "", "")[0]
        raise bad_request(f"{fault.field or 'select'}: {fault.sentence}") from None


def write_continue(position: Position) -> str:
    """Return the token of the page after a letter."""
    return base64url.encode(f"{position.partition}.{position.offset}".encode())


def read_continue(token: str) -> Position:
    """Return the place that a token names; raises `ProblemError`."""
    try:
        partition, _, offset = base64url.decode(token).decode("ascii").partition(".")
        if not (partition.isdigit() and offset.isdigit()) or len(partition) + len(offset) > 30:  # noqa: PLR2004 - digits of both
            raise ValueError("not two numbers")  # noqa: TRY301 - the one way out
        return Position(int(partition), int(offset))
    except ValueError:
        raise bad_request("continue is not the value of an earlier answer") from None


def _once(parameters: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    given: dict[str, str] = {}
    for name, value in parameters:
        if name not in _PARAMETERS:
            raise bad_request(f"unknown parameter; write one of {', '.join(sorted(_PARAMETERS))}")
        if name in given:
            raise bad_request(f"the parameter {name} is repeated")
        given[name] = value
    return given


def _identity(name: str, text: str) -> dict[str, str]:
    namespace, slash, identity = text.rpartition("/")
    if slash and not namespace:
        raise bad_request(f"{name} is not a ServiceIdentity such as shop/checkout")
    return {"name": identity} | ({"namespace": namespace} if slash else {})


def _state(text: str) -> LetterState:
    if text not in set(LetterState):
        raise bad_request(f"state is not one of {', '.join(LetterState)}")
    return LetterState(text)


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE
    if text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST_PAGE)):
        number = int(text)
        if 1 <= number <= LARGEST_PAGE:
            return number
    raise bad_request(f"limit is not a number from 1 to {LARGEST_PAGE}")

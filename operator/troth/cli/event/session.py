"""A consumer that opens messages for a person: events, and dead letters with their originals."""

from collections.abc import Callable
from dataclasses import dataclass

from troth.cli.event.explain import Case, Judgement, judge
from troth.cli.event.mounts import Choice, Mounted
from troth.edge.events.consumption.dead_letters import TYPE, DeadLetter, DeadLetterReader
from troth.edge.events.event import Event
from troth.edge.events.message import Message
from troth.edge.events.opening import Opener
from troth.edge.events.rejection import Rejection


@dataclass(frozen=True, slots=True)
class Opened:
    """A message as a consumer opens it now."""

    case: Case
    result: Event | Rejection

    @property
    def accepted(self) -> bool:
        """Whether the message is accepted."""
        return isinstance(self.result, Event)


@dataclass(frozen=True, slots=True)
class OpenedLetter:
    """A dead letter, and its original as the consumer opens it now.

    `letter` is a rejection if nothing of the dead letter is verified; then there is no original.
    """

    case: Case
    letter: DeadLetter | Rejection
    original: Opened | None

    @property
    def accepted(self) -> bool:
        """Whether the original is accepted now."""
        return self.original is not None and self.original.accepted


class Session:
    """Opens messages by one policy of a mounted identity."""

    def __init__(self, mount: Mounted, choice: Choice, clock: Callable[[], float]) -> None:
        """Create a session; `clock` returns seconds since the epoch."""
        self._mount = mount
        self._choice = choice
        self._clock = clock
        identity, policy, group = mount.identity, choice.policy, choice.group
        self._opener = Opener(identity, policy, group=group, clock=clock)
        self._letters = DeadLetterReader(identity, policy, group=group, clock=clock)

    def open(self, message: Message) -> Opened | OpenedLetter:
        """Return an event or its rejection; of a dead letter, that of its original too."""
        if not is_dead_letter(message):
            return self._opened(message)
        letter = self._letters.read(message)
        original = None
        if isinstance(letter, DeadLetter):
            original = self._of(letter)._opened(letter.message)  # noqa: SLF001 - of this class
        return OpenedLetter(self._case(message), letter, original)

    def explain(self, message: Message) -> Judgement:
        """Return every check of an event. Of a dead letter, give its original."""
        return judge(self._case(message), self._opener.explain(message))

    def original(self, letter: DeadLetter) -> Judgement:
        """Return every check of a dead letter's original, by the policy of its consumer."""
        return self._of(letter).explain(letter.message)

    def _opened(self, message: Message) -> Opened:
        return Opened(self._case(message), self._opener.open(message))

    def _of(self, letter: DeadLetter) -> "Session":
        if letter.policy == self._choice.policy:
            return self
        return Session(self._mount, Choice(letter.policy), self._clock)

    def _case(self, message: Message) -> Case:
        snapshot = self._mount.identity.current
        rights = self._choice.consumed(snapshot)
        return Case(message, snapshot, self._choice.policy, rights, self._clock())


def is_dead_letter(message: Message) -> bool:
    """Return whether a message says that it is a dead letter."""
    return message.attributes.get("type") == TYPE

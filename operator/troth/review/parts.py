"""What the policies of one worker share."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from troth.documents.identity.document import Messages
from troth.edge.events.rejection import Rejection
from troth.edge.identity.files import Identity
from troth.resources.references import Ref
from troth.review.brokers import DeadLetterTopic
from troth.review.four_eyes import Admission
from troth.review.index.store import LetterIndex
from troth.review.objects.cache import ReviewCache
from troth.review.objects.events import Recorder
from troth.review.objects.finalizers import Finalizers
from troth.review.objects.statuses import StatusWriter
from troth.review.ports import Audit


@dataclass(frozen=True, slots=True)
class Parts:
    """What the policies of one worker share."""

    identity: Identity
    credentials: Path
    connect: Callable[[Messages, Path], DeadLetterTopic]
    index: LetterIndex
    audit: Audit
    cache: ReviewCache
    statuses: StatusWriter
    finalizers: Finalizers
    recorder: Recorder
    admission: Callable[[], Awaitable[Admission]]
    require: Callable[[], None]
    """Raises an exception unless this process may act now."""
    unreadable: Callable[[Ref], Callable[[Rejection], None]] = lambda _: lambda _: None
    """Returns what counts the messages on a policy's topic that are no valid dead letter."""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

"""Follows a review until it ends: a line for each change of its phase, counts and conditions."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from rich.console import Console
from rich.text import Text

from troth.cli.deadletters.render import utc_now
from troth.cli.deadletters.reviews import KIND
from troth.cli.inputs.access import PersonalServer, refusal
from troth.cli.inputs.latest import FINAL, Latest, one
from troth.cli.inputs.single import fault
from troth.cli.quoting import quoted
from troth.cluster.watching.informer import Informer
from troth.resources.manifests import Manifest, parse_resource
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.resources.reviews.dead_letter_review_status import (
    DeadLetterReviewStatus,
    ReviewPhase,
)

_STYLES = {
    ReviewPhase.COMPLETED: "bold green",
    ReviewPhase.REFUSED: "bold red",
    ReviewPhase.WITHDRAWN: "bold yellow",
}
_COUNTS = ("redriven", "discarded", "quarantined", "skipped", "failed", "repeated")


@dataclass(slots=True)
class Progress:
    """What was shown of a review. `now` is for the times of the lines."""

    console: Console
    now: Callable[[], datetime] = utc_now
    _shown: tuple[str, str, str] = field(default=("", "", ""), init=False)
    _trouble: str = field(default="", init=False)

    def show(self, status: DeadLetterReviewStatus) -> None:
        """Print what changed."""
        self._trouble = ""
        line = (status.phase.value, counts(status), why(status))
        if line == self._shown:
            return
        self._shown = line
        said = ": ".join(part for part in (line[1], line[2]) if part)
        text = Text.assemble(
            f"{self.now():%H:%M:%S}Z  ", (line[0], _STYLES.get(status.phase, "cyan"))
        )
        self.console.print(text.append(quoted(f"  {said}") if said else ""))

    def trouble(self, sentence: str) -> None:
        """Print why the state cannot be read at present, once."""
        if sentence != self._trouble:
            self._trouble = sentence
            line = f"{self.now():%H:%M:%S}Z  {sentence}; retrying"
            self.console.print(Text(quoted(line), "red"))


def counts(status: DeadLetterReviewStatus) -> str:
    """Return how many letters of a review are done, with their outcomes."""
    if status.selection is None:
        return ""
    found = {name: getattr(status.counts, name) for name in _COUNTS}
    done = sum(count for name, count in found.items() if name != "repeated")
    parts = ", ".join(f"{count} {name}" for name, count in found.items() if count)
    return f"{done} of {status.selection.count}" + (f" ({parts})" if parts else "")


def why(status: DeadLetterReviewStatus) -> str:
    """Return the message of what the review waits for, or of why it ended early."""
    for type_, value in (("Stalled", "True"), ("Ready", "False")):
        for condition in status.conditions:
            if condition.type == type_ and condition.status == value:
                return str(condition.message)
    return ""


def is_clean(status: DeadLetterReviewStatus) -> bool:
    """Return whether a review was completed with each of its letters."""
    left = status.counts.skipped + status.counts.failed
    return status.phase is ReviewPhase.COMPLETED and not left


async def follow(server: PersonalServer, ref: Ref, progress: Progress) -> DeadLetterReviewStatus:
    """Show each change of a review until it ends, and return its last status.

    While the API server cannot be reached, it retries. Raises `ApiError` if the user may not read
    the review, and `FaultyManifests` if it does not exist any more.
    """
    await server.get(KIND, ref)
    latest = Latest(KIND)
    informer = Informer(server, one(KIND, ref), latest, latest.failed)
    task = asyncio.create_task(informer.run())
    try:
        while True:
            await latest.news(informer.synced, [task])
            if latest.failure is not None:
                if latest.failure.status in FINAL:
                    raise latest.failure
                progress.trouble(refusal(latest.failure))
            elif informer.synced.is_set():
                status = _status(latest.objects.get(KIND), ref)
                progress.show(status)
                if status.phase.ended:
                    return status
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _status(manifest: Manifest | None, ref: Ref) -> DeadLetterReviewStatus:
    if manifest is None:
        raise fault(f"{KIND} {ref}", "was deleted; what is left of it is in the audit log")
    review = parse_resource(manifest)
    assert isinstance(review, DeadLetterReview)
    return review.status

"""What all runs of one policy's reviews share: its readers, its judge and its seals."""

from typing import Protocol

from troth.edge.events.redriving import RedriveSealer
from troth.resources.reviews.dead_letter_review_status import DeadLetterReviewStatus
from troth.review.brokers import DeadLetterTopic
from troth.review.letters.judgement import Judge
from troth.review.letters.reading import LetterReader
from troth.review.letters.records import Records
from troth.review.parts import Parts
from troth.review.ports import Following
from troth.review.running.courier import Courier, Source
from troth.review.running.job import Desk, Job, Tools
from troth.review.running.pace import TokenBucket
from troth.review.running.progress import Progress
from troth.review.running.runner import Runner


class StatusDesk(Desk, Protocol):
    """Desk of a review that has the review's status."""

    status: DeadLetterReviewStatus


class Equipment:
    """Makes the runner of each review of one policy."""

    def __init__(self, policy: str, parts: Parts) -> None:
        """`policy` is `<namespace>/<name>`."""

        def seconds() -> float:
            return parts.now().timestamp()

        identity = parts.identity
        self._parts = parts
        self._sealer = RedriveSealer(identity, policy, clock=seconds)
        self._records = Records(identity, policy, clock=seconds)
        self.originals = LetterReader(identity, policy, clock=seconds)
        self.judge = Judge(identity, policy, clock=seconds)

    def runner(
        self,
        job: Job,
        desk: StatusDesk,
        topic: DeadLetterTopic,
        source: Source,
        following: Following | None = None,
    ) -> Runner:
        """Return the runner of a review; `source` fetches its letters.

        `following` feeds the index, None if nothing does.
        """
        tools = Tools(
            topic=topic,
            index=self._parts.index,
            courier=Courier(topic, source, self.originals, self.judge, self._sealer),
            records=self._records,
            audit=self._parts.audit,
            bucket=TokenBucket(job.review.spec.rate),
            following=following,
        )
        return Runner(job, tools, desk, Progress(desk.status.counts.repeated))

"""Topics of Kafka to which a consumer subscribes."""

from typing import NamedTuple, Self

from troth.documents.identity.document import Messages


class Topics(NamedTuple):
    """Topics of one consumer: one topic, or all with a prefix; its retry topic; and its group."""

    topic: str | None
    prefix: str | None
    retry: str | None
    group: str | None

    @classmethod
    def of(cls, granted: Messages) -> Self:
        """Return the topics of an entry of `identity.json`."""
        retry = None if granted.retry is None else granted.retry.topic
        return cls(granted.topic, granted.prefix, retry, granted.group)

    @property
    def named(self) -> list[str]:
        """The topics that are known by their name."""
        return [each for each in (self.topic, self.retry) if each is not None]

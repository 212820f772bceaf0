"""Letters as rows of the index."""

from datetime import UTC, datetime
from typing import Any, Final

from troth.resources.references import Ref
from troth.review.letters.letter import Letter, LetterState, Position

COLUMNS: Final = (
    'policy, partition, offset, id, time, consumer, "group", reason, origin, attempts, digest, '
    "size, event_id, producer, tenant, redrives, state, review_namespace, review_name, "
    "review_uid, settled"
)

INSERT: Final = f"INSERT INTO letters ({COLUMNS}) VALUES ({', '.join('?' * 21)})"  # noqa: S608 - no values
# A copy of a letter takes the place of the first one only when the broker has removed that. The
# places of open letters decide which ones a review selects, so a copy must not change them.
COPY: Final = (
    " ON CONFLICT (policy, id) DO UPDATE SET "
    "partition = CASE WHEN state = 'Gone' THEN excluded.partition ELSE partition END, "
    "offset = CASE WHEN state = 'Gone' THEN excluded.offset ELSE offset END, "
    "state = CASE WHEN state = 'Gone' THEN 'Pending' ELSE state END, "
    "settled = CASE WHEN state = 'Gone' THEN NULL ELSE settled END "
    "WHERE digest = excluded.digest AND consumer = excluded.consumer"
)
SETTLE: Final = (
    "UPDATE letters SET state = ?, review_namespace = ?, review_name = ?, review_uid = ?, "
    "settled = ? WHERE policy = ? AND id = ? AND (state IN ('Pending', 'Gone') "
    "OR (state = 'Quarantined' AND ? <> 'Quarantined'))"
)
DECIDE: Final = (
    "INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
    "state = excluded.state, review_namespace = excluded.review_namespace, "
    "review_name = excluded.review_name, review_uid = excluded.review_uid, at = excluded.at "
    "WHERE state = 'Quarantined' AND excluded.state <> 'Quarantined'"
)


def row_of(number: int, letter: Letter) -> tuple[Any, ...]:
    """Return the row of a letter of a policy, given by its number."""
    review = letter.review
    seconds = int(letter.time.timestamp())
    return (
        number,
        *letter.position,
        letter.id,
        seconds,
        letter.consumer,
        letter.group,
        letter.reason,
        letter.origin,
        letter.attempts,
        letter.digest,
        letter.size,
        letter.event_id,
        letter.producer,
        letter.tenant,
        letter.redrives,
        letter.state.value,
        None if review is None else review.namespace,
        None if review is None else review.name,
        letter.review_uid,
        None if letter.state is LetterState.PENDING else seconds,
    )


def letter_of(policy: Ref, row: tuple[Any, ...]) -> Letter:
    """Return the letter of a row with `COLUMNS`."""
    return Letter(
        id=row[3],
        policy=policy,
        position=Position(row[1], row[2]),
        time=datetime.fromtimestamp(row[4], UTC),
        consumer=row[5],
        group=row[6],
        reason=row[7],
        origin=row[8],
        attempts=row[9],
        digest=row[10],
        size=row[11],
        event_id=row[12],
        producer=row[13],
        tenant=row[14],
        redrives=row[15],
        state=LetterState(row[16]),
        review=None if row[17] is None else Ref(row[17], row[18]),
        review_uid=row[19],
    )

"""Times of Troth and of a floor, counts and sizes, with their quantiles and ratios.

All times are in seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

QUANTILES: Mapping[str, float] = {"p50": 0.5, "p99": 0.99, "max": 1.0}
JUDGED = (QUANTILES["p50"], QUANTILES["p99"])


@dataclass(frozen=True, slots=True)
class Comparison:
    """Times of Troth and of the floor for the same operation, one for each repetition."""

    what: str
    troth: Sequence[float]
    floor: Sequence[float]
    aim: float | None = None
    """Maximum ratio, for the median and for the 99th percentile."""

    @property
    def kept(self) -> bool | None:
        """Whether the ratios meet the aim; None if there is none."""
        return None if self.aim is None else max(map(self.ratio, JUDGED)) <= self.aim

    def ratio(self, share: float) -> float:
        """Return the ratio of Troth's quantile to the floor's."""
        return quantile(self.troth, share) / quantile(self.floor, share)


@dataclass(frozen=True, slots=True)
class Figure:
    """A count, a size or another value without a floor; it may have a maximum as aim."""

    what: str
    value: float
    unit: str = ""
    aim: float | None = None

    @property
    def kept(self) -> bool | None:
        """Whether the value meets the aim; None if there is none."""
        return None if self.aim is None else self.value <= self.aim


@dataclass(frozen=True, slots=True)
class Report:
    """The results of one benchmark; without rows and figures, `note` gives the reason."""

    title: str
    rows: Sequence[Comparison] = ()
    note: str = ""
    figures: Sequence[Figure] = ()

    def content(self) -> dict[str, Any]:
        """Return the report as JSON, with every measured time."""
        return {
            "title": self.title,
            "note": self.note,
            "rows": [
                {
                    "what": row.what,
                    "ratio": {each: row.ratio(share) for each, share in QUANTILES.items()},
                    "aim": row.aim,
                    "kept": row.kept,
                    "troth": _content(row.troth),
                    "floor": _content(row.floor),
                }
                for row in self.rows
            ],
            "figures": [{**asdict(figure), "kept": figure.kept} for figure in self.figures],
        }


def quantile(times: Sequence[float], share: float) -> float:
    """Return the quantile of times for a share from 0 to 1.

    Values between two times are interpolated (Hyndman and Fan, definition 7).
    """
    ordered = sorted(times)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def _content(times: Sequence[float]) -> dict[str, Any]:
    quantiles = {each: quantile(times, share) for each, share in QUANTILES.items()}
    return {**quantiles, "seconds": list(times)}

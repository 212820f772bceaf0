"""Times of Troth's and of a floor's, counts and sizes, and what can be said of them.

Times are in seconds throughout.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

QUANTILES: Mapping[str, float] = {"p50": 0.5, "p99": 0.99, "max": 1.0}
JUDGED = (QUANTILES["p50"], QUANTILES["p99"])


@dataclass(frozen=True, slots=True)
class Comparison:
    """How long one thing took Troth, and how long the floor, each time it was done."""

    what: str
    troth: Sequence[float]
    floor: Sequence[float]
    aim: float | None = None
    """What its ratios, half of the time and but for one time in a hundred, should not exceed."""

    @property
    def kept(self) -> bool | None:
        """Whether the aim was kept; None if there is none."""
        return None if self.aim is None else max(map(self.ratio, JUDGED)) <= self.aim

    def ratio(self, share: float) -> float:
        """Return how many times the floor's quantile Troth's is."""
        return quantile(self.troth, share) / quantile(self.floor, share)


@dataclass(frozen=True, slots=True)
class Figure:
    """A count, a size, or whatever else has no floor but perhaps an aim not to be exceeded."""

    what: str
    value: float
    unit: str = ""
    aim: float | None = None

    @property
    def kept(self) -> bool | None:
        """Whether the aim was kept; None if there is none."""
        return None if self.aim is None else self.value <= self.aim


@dataclass(frozen=True, slots=True)
class Report:
    """What one benchmark found; without rows and figures, `note` says why there are none."""

    title: str
    rows: Sequence[Comparison] = ()
    note: str = ""
    figures: Sequence[Figure] = ()

    def content(self) -> dict[str, Any]:
        """Return it as JSON has it, with every time that was taken."""
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
    """Return the time that a share of all, from 0 to 1, does not exceed.

    Between two times it is interpolated, as in Hyndman and Fan's seventh definition.
    """
    ordered = sorted(times)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def _content(times: Sequence[float]) -> dict[str, Any]:
    quantiles = {each: quantile(times, share) for each, share in QUANTILES.items()}
    return {**quantiles, "seconds": list(times)}

"""The machine on which benchmarks run: what a reader needs to judge the figures."""

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.harness.cores import available

BUSY = 1.0
"""Load average above which other processes disturb a measurement."""
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Machine:
    """Processor, cores that this process may use, memory in GB, and the load when it was read."""

    processor: str
    cores: int
    memory: float
    system: str
    python: str
    load: float

    @classmethod
    def here(cls) -> Self:
        """Return this machine, with its load average of the last minute."""
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return cls(
            processor=_processor(),
            cores=len(available()),
            memory=round(pages / 1e9, 1),
            system=f"{platform.system()} {platform.machine()}",
            python=platform.python_version(),
            load=round(os.getloadavg()[0], 1),
        )

    @property
    def busy(self) -> bool:
        """Whether other processes use so much of the machine that they disturb a measurement."""
        return self.load > BUSY

    def content(self) -> dict[str, Any]:
        """Return the machine as JSON; it has no name and no address."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.processor}, {self.cores} cores, {self.memory:.0f} GB, {self.system}, "
            f"Python {self.python}, load {self.load}"
        )


def _processor() -> str:
    """Return the model of the processor, as Linux names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or UNKNOWN
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or UNKNOWN)

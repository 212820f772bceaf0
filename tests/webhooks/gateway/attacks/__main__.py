"""Try every attack, and print the two tables of docs/reference/webhook-attacks.md:

python -m tests.webhooks.gateway.attacks
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from tests.webhooks.gateway.attacks import of_bytes, of_deliveries
from tests.webhooks.gateway.attacks.observing import bare, observed, table


async def _of_deliveries() -> AsyncIterator[list[str]]:
    for each in of_deliveries.ATTACKS.values():
        with tempfile.TemporaryDirectory() as directory:
            yield await observed(each, Path(directory))


async def _of_bytes() -> AsyncIterator[list[str]]:
    async with bare() as port:
        for name in of_bytes.ATTACKS:
            with tempfile.TemporaryDirectory() as directory:
                yield await of_bytes.row(name, Path(directory), port)


async def main() -> None:
    """Print both."""
    deliveries = table(of_deliveries.ATTACKS.titles, [row async for row in _of_deliveries()])
    of_those_signed = table(of_bytes.TITLES, [row async for row in _of_bytes()])
    sys.stdout.write(f"{deliveries}\n\n{of_those_signed}\n")


if __name__ == "__main__":
    asyncio.run(main())

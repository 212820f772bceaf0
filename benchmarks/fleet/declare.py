"""A fleet in the API server, and Troth's lists of it as the plain client reads them."""

import asyncio
from collections.abc import AsyncIterator

from benchmarks.fleet.topology import Manifest, declarations, path
from benchmarks.harness.client import PAGE, Bare, Write
from sandbox.demo.programs import NAMESPACE as SYSTEM
from troth.cluster.resources import RESOURCES
from troth.cluster.selection import Selection
from troth.reconcile.loop.informers import selections


async def declare(bare: Bare, identities: int) -> None:
    """Declare a ring of identities, or enlarge an existing one."""
    await bare.send(
        Write(path(each["kind"], object_name=each["metadata"]["name"]), each)
        for each in declarations(identities)
    )


async def read(bare: Bare) -> int:
    """Read all lists that Troth reads when it starts; return the number of pages.

    The selections and the size of the pages are the same as Troth's.
    """

    async def pages(selection: Selection) -> int:
        return sum([1 async for _ in _pages(bare, selection)])

    return sum(await asyncio.gather(*map(pages, selections(SYSTEM))))


async def _pages(bare: Bare, selection: Selection) -> AsyncIterator[Manifest]:
    place = RESOURCES[selection.kind].path(namespace=selection.namespace or None)
    query = f"limit={PAGE}&labelSelector={selection.labels}&fieldSelector={selection.fields}"
    token = ""
    while True:
        page = await bare.get(f"{place}?{query}&continue={token}")
        yield page
        token = page["metadata"].get("continue", "")
        if not token:
            return

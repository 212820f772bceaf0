"""Generation of slow private keys, which no worker of the reconcile loop waits for.

An RSA key of 4096 bits takes about a second of a processor. If workers waited for the keys of a
fleet, a revoked edge would stay open until every key of the fleet is generated. So a step that
needs such a key only requests it, and its resource is reconciled again when the key exists.
"""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from troth.pki.keys.parsing import PrivateKey
from troth.pki.keys.private import generate_key
from troth.planning.steps.step import Target
from troth.resources.algorithms import SLOW, KeyAlgorithm
from troth.world.keys import Key, Keys


def at_once() -> int:
    """Return how many keys are generated at once: one processor is left for the event loop."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(4, (usable or 1) - 1))  # macOS and Windows have no affinity


class KeyNotReady(Exception):  # noqa: N818 - no error: the key is generated first
    """The private key that a step needs does not exist yet."""

    def __init__(self, algorithm: KeyAlgorithm) -> None:
        super().__init__(algorithm)
        self.algorithm = algorithm


@dataclass(slots=True)
class _Request:
    """A key for one Secret, which `resource` waits for; `failed` is why it was not generated."""

    resource: Key
    algorithm: KeyAlgorithm
    made: PrivateKey | None = field(default=None, repr=False)
    failed: Exception | None = field(default=None, repr=False)

    @property
    def ended(self) -> bool:
        """Whether the generation has ended, with a key or an exception."""
        return self.made is not None or self.failed is not None


class KeyMaker:
    """Generates requested keys in threads of its own, in the order of the requests.

    It holds each key until the resource takes it or no longer needs it. `concern` is called with a
    resource whose key exists or could not be generated. Use it from one event loop only.
    """

    def __init__(
        self,
        concern: Callable[[Keys], None],
        generate: Callable[[KeyAlgorithm], PrivateKey] = generate_key,
    ) -> None:
        self._concern = concern
        self._generate = generate
        self._at_once = at_once()
        self._pool = ThreadPoolExecutor(self._at_once, thread_name_prefix="private-keys")
        self._requests: dict[Target, _Request] = {}
        self._targets: dict[Key, Target] = {}
        self._waiting: OrderedDict[Target, _Request] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def __contains__(self, resource: Key) -> bool:
        """Return whether a resource has requested a key that it has not taken."""
        return resource in self._targets

    @property
    def resources(self) -> Keys:
        """Resources that have requested a key that they have not taken."""
        return set(self._targets)

    def take(self, target: Target, algorithm: KeyAlgorithm) -> PrivateKey:
        """Return a new private key for a Secret.

        Raises `KeyNotReady` until it exists, or the exception that prevented its generation, once:
        the next request generates it again.
        """
        if algorithm not in SLOW:
            return self._generate(algorithm)
        request = self._requests.get(target)
        if request is None or not request.ended or request.algorithm != algorithm:
            raise KeyNotReady(algorithm)
        self.withdraw(request.resource)
        if request.made is None:
            assert request.failed is not None
            raise request.failed
        return request.made

    def request(self, resource: Key, target: Target, algorithm: KeyAlgorithm) -> bool:
        """Request a private key for a Secret; return whether it is a new request.

        If its generation has ended already, the resource is concerned again: it may have met
        `KeyNotReady` before that, in a reconcile that still goes on.
        """
        request = self._requests.get(target)
        if request is not None and request.algorithm == algorithm:
            if request.ended:
                self._concern({resource})
            return False
        self.withdraw(resource)
        self._requests[target] = self._waiting[target] = _Request(resource, algorithm)
        self._targets[resource] = target
        self._go_on()
        return True

    def withdraw(self, resource: Key) -> None:
        """Record that a resource needs no key. One that is being generated is dropped then."""
        target = self._targets.pop(resource, None)
        if target is not None:
            del self._requests[target]
            self._waiting.pop(target, None)

    async def close(self) -> None:
        """Drop all requests, without waiting for keys that are being generated."""
        self._waiting.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _go_on(self) -> None:
        while self._waiting and len(self._tasks) < self._at_once:
            _, request = self._waiting.popitem(last=False)
            task = asyncio.create_task(self._make(request))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def _make(self, request: _Request) -> None:
        loop = asyncio.get_running_loop()
        try:
            request.made = await loop.run_in_executor(self._pool, self._generate, request.algorithm)
        except Exception as error:  # noqa: BLE001 - `take` raises it in the resource's reconcile
            request.failed = error
        self._concern({request.resource})

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._go_on()

"""Cancellations that a task has missed."""

import asyncio


def raise_if_cancelled() -> None:
    """Raise `CancelledError` if somebody has cancelled the current task.

    A task misses its cancellation in two cases. `asyncio.wait_for` of Python 3.11 drops one if its
    result is ready (https://github.com/python/cpython/issues/86296), and nats-py uses it for each
    answer. A TaskGroup that fails at the same time hides one.
    Do not call this in a task that has caught the error of its own TaskGroup: before Python 3.13,
    such a task counts as cancelled.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError

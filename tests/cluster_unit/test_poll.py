"""Polling continues after errors."""

import asyncio

from tests.virtual_time import run
from troth.cluster.errors import ApiError
from troth.cluster.watching.poll import poll


def test_polling_continues_after_errors_and_reports_them_without_text() -> None:
    looks: list[Exception] = [
        ApiError(403, "Forbidden", "you may not"),
        ApiError(0, "ClientConnectorError", "the API server cannot be reached"),
        KeyError("hunter2"),
    ]
    failures: list[ApiError] = []

    async def look() -> None:
        if looks:
            raise looks.pop(0)
        await asyncio.Event().wait()

    async def story() -> None:
        task = asyncio.create_task(poll(look, 2.0, failures.append))
        await asyncio.sleep(60)
        assert not task.done()
        assert [each.status for each in failures] == [403, 0]
        assert failures[1].reason.startswith("KeyError in test_poll.py:")
        assert "hunter2" not in str(failures[1])
        task.cancel()

    run(story())

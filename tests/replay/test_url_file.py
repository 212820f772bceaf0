"""The replay store's password is rotated under load, and its server is checked."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from valkey.asyncio import Valkey as Client

from sandbox.valkey import ValkeyServer
from tests.webhooks.gateway.running import until
from troth.replay import url_file as store_file
from troth.replay.store import Claimed, Repeated, StoreUnavailableError
from troth.replay.url_file import StoreFile

LEASE, WINDOW = 30.0, 3600.0
NEXT = "the-next-password"


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    """One of the test's own, for its passwords and its policy are changed."""
    with ValkeyServer.serving() as started:
        yield started


@asynccontextmanager
async def followed(server: ValkeyServer, directory: Path) -> AsyncIterator[StoreFile]:
    (directory / "url").write_text(server.url + "\n")
    file = StoreFile(directory / "url")
    try:
        yield file
    finally:
        await file.store.close()


def password(server: ValkeyServer) -> str:
    return server.url.split(":")[2].partition("@")[0]


def with_next(server: ValkeyServer) -> str:
    return server.url.replace(password(server), NEXT)


async def claim(file: StoreFile) -> Claimed:
    found = await file.store.claim(os.urandom(32), LEASE)
    assert isinstance(found, Claimed)
    return found


async def others(client: Client) -> set[str]:
    """The connections that there are beside this one."""
    mine = await client.client_id()
    return {each["id"] for each in await client.client_list()} - {str(mine)}


async def test_password_is_rotated_without_failed_claims(
    server: ValkeyServer, tmp_path: Path
) -> None:
    async with (
        followed(server, tmp_path) as file,
        Client.from_url(server.url) as client,
    ):
        turned, kept = asyncio.Event(), await claim(file)

        async def deliver() -> int:
            """Claim and mark until the password is replaced, and once more."""
            made = 0
            while not turned.is_set():
                await file.store.done(await claim(file), WINDOW)
                made += 1
            await file.store.done(await claim(file), WINDOW)
            return made

        delivering = [asyncio.create_task(deliver()) for _ in range(20)]
        before = await others(client)
        await client.execute_command("ACL", "SETUSER", "default", f">{NEXT}")
        (tmp_path / "url").write_text(with_next(server))
        await file.look()
        await until(lambda: not file.store._successors)
        turned.set()
        assert all(await asyncio.gather(*delivering))
        assert before
        assert not before & await others(client), "those of the one before are closed"
        await client.execute_command("ACL", "SETUSER", "default", f"<{password(server)}")
        await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert await file.store.claim(kept.key, LEASE) is Repeated.IN_FLIGHT


async def test_rejected_next_password_changes_nothing(
    server: ValkeyServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "troth.replay")
    async with (
        followed(server, tmp_path) as file,
        Client.from_url(server.url) as client,
    ):
        await claim(file)
        (tmp_path / "url").write_text(with_next(server))
        await file.look()
        await file.look()
        await claim(file)
        (line,) = caplog.messages
        assert line.startswith("replay store not reconnected: ")
        await client.execute_command("ACL", "SETUSER", "default", f">{NEXT}")
        await file.look()
        assert caplog.messages[1:] == ["replay store reconnected"]
        assert NEXT not in caplog.text
        await client.execute_command("ACL", "SETUSER", "default", f"<{password(server)}")
        await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await claim(file)


@pytest.mark.parametrize("text", ["", "http://a", None])
async def test_unusable_file_changes_nothing(
    text: str | None, server: ValkeyServer, tmp_path: Path
) -> None:
    async with (
        followed(server, tmp_path) as file,
        Client.from_url(server.url) as client,
    ):
        await asyncio.gather(claim(file), claim(file))
        before = await others(client)
        if text is None:
            (tmp_path / "url").unlink()
        else:
            (tmp_path / "url").write_text(text)
        await file.look()
        await claim(file)
        (tmp_path / "url").write_text(server.url)
        await file.look()
        assert await others(client) == before


async def test_server_that_starts_to_evict_is_no_longer_used(
    server: ValkeyServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        followed(server, tmp_path) as file,
        Client.from_url(server.url) as client,
    ):
        held = await claim(file)
        await client.config_set("maxmemory-policy", "allkeys-lru")
        await file.store.look()
        await file.store.look()
        (line,) = caplog.records
        assert line.levelname == "WARNING"
        assert line.getMessage().startswith("replay store not used: ")
        with pytest.raises(StoreUnavailableError, match="noeviction"):
            await claim(file)
        await file.store.done(held, WINDOW)  # of what the target has taken it is told all the same
        await client.config_set("maxmemory-policy", "noeviction")
        await file.store.look()
        assert not file.store.unfit
        assert await file.store.claim(held.key, LEASE) is Repeated.DONE


async def test_file_and_server_are_checked_repeatedly(
    server: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_file, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(store_file, "CHECK_EVERY", 0.05)
    async with (
        followed(server, tmp_path) as file,
        Client.from_url(server.url) as client,
    ):
        await asyncio.gather(claim(file), claim(file))
        following = asyncio.create_task(file.follow())
        await client.config_set("maxmemory-policy", "volatile-ttl")
        await until(lambda: file.store.unfit)
        monkeypatch.setattr(store_file, "CHECK_EVERY", 3600.0)
        await client.config_set("maxmemory-policy", "noeviction")
        await until(lambda: not file.store.unfit)
        before = await others(client)
        await client.execute_command("ACL", "SETUSER", "default", f">{NEXT}")
        (tmp_path / "url").write_text(with_next(server))
        while before & await others(client):  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.01)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

"""The list API presents the worker's SVID, and bounds what a client may send."""

import asyncio
import ssl
from pathlib import Path

import aiohttp
import pytest

from tests.cluster.person import until
from tests.edge.mounts import Mounts, svid, workload
from tests.review.api.desk import LETTERS, letter, served
from tests.review.api.serving import (
    REVIEWER,
    client_tls,
    running,
    worker_identity,
)
from troth.edge.identity.snapshot import IdentityError
from troth.edge.outbound.servers import WrongServerError
from troth.review.api.serving import Server

AUTHORIZED = {"Authorization": "Bearer token-of-alice"}


async def test_client_reads_letters_from_the_worker_whose_svid_it_expects(tmp_path: Path) -> None:
    api = served(letter(1))
    async with running(api.application, tmp_path) as worker, aiohttp.ClientSession() as session:
        url = f"{worker.url}{LETTERS}"
        async with session.get(url, headers=AUTHORIZED, ssl=client_tls()) as answer:
            assert [each["id"] for each in (await answer.json())["letters"]] == ["letter-0001"]
        with pytest.raises(aiohttp.ClientConnectionError) as caught:
            await session.get(url, headers=AUTHORIZED, ssl=client_tls(workload("other")))
        assert isinstance(caught.value.__cause__, WrongServerError)
    assert len(api.cluster.reviews("TokenReview")) == 1


async def test_renewed_certificate_is_presented_to_new_connections(tmp_path: Path) -> None:
    async with running(served().application, tmp_path) as worker:
        first = await certificate(worker.port)
        worker.files.write(svid(REVIEWER), spiffeID=REVIEWER, accepts=[])
        await until(lambda: certificate(worker.port), lambda shown: shown != first)


async def certificate(port: int) -> bytes:
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_tls())
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return bytes(shown)


async def test_old_tls_is_rejected(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with running(served().application, tmp_path) as worker:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", worker.port, ssl=context)


async def test_plain_http_has_no_answer(tmp_path: Path) -> None:
    async with running(served().application, tmp_path) as worker:
        reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
        writer.write(f"GET {LETTERS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert b"HTTP" not in await reader.read()
        writer.close()


async def test_ambiguous_request_is_rejected_unread(tmp_path: Path) -> None:
    api = served(letter(1))
    refused: list[str] = []
    async with running(api.application, tmp_path, on_refused=refused.append) as worker:
        reader, writer = await asyncio.open_connection("127.0.0.1", worker.port, ssl=client_tls())
        writer.write(
            f"POST {LETTERS}/dry-run HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
            "Transfer-Encoding: chunked\r\nAuthorization: Bearer token-of-alice\r\n\r\n"
            "0\r\n\r\n".encode()
        )
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()
    assert refused
    assert api.cluster.asked == []


def test_worker_without_a_certificate_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(IdentityError):
        Server(served().application, worker_identity(Mounts(tmp_path)), "127.0.0.1", 0)

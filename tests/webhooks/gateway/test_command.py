"""`troth gateway` as started by a person, and in a pod without its API server."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
import structlog
import yaml
from typer.testing import CliRunner

from sandbox.control_plane import free_port
from tests.patience import PATIENCE
from tests.webhooks.gateway.attacks.wire import send_parts
from troth.cli.main import app


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """What the command logs to is gone with it; the tests after it must not go on with that."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """An API server where nothing listens."""
    file = tmp_path / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    user = {"name": "u", "user": {"token": "t"}}
    config = {"clusters": [cluster], "contexts": [context], "users": [user]}
    file.write_text(yaml.safe_dump({"current-context": "c", **config}))
    return file


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "write either --valkey FILE, or --single-replica for a gateway with one replica"),
        (["--valkey=url", "--single-replica"], "write either --valkey FILE, or"),
        (
            ["--single-replica", "--workers=2"],
            "--workers is 2, but processes do not share the memory of --single-replica",
        ),
        (["--single-replica", "--workers=2"], "write --valkey FILE, or --workers 1"),
        (["--valkey=url", "--workers=0"], "Invalid value for '--workers'"),
        (["--valkey=url", "--workers=17"], "Input should be less than or equal to 16"),
        (["--single-replica", "--resolve=here"], "'here' is not host:port=address:port"),
        (["--single-replica", "--listen=here"], "'here' is not host:port"),
    ],
)
def test_invalid_option_is_reported(options: list[str], complaint: str) -> None:
    ended = CliRunner().invoke(app, ["gateway", *options])
    assert ended.exit_code == 2
    assert complaint in " ".join(ended.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--valkey={}/none"], "/none: cannot be read"),
        (["--valkey={}/url"], "/url: the URL of the replay store is invalid"),
        (["--single-replica", "--tls={}"], "tls.crt and tls.key cannot be used: No such file"),
        (["--single-replica", "--trusted-proxies=10.0.0.0/99"], "--trusted-proxies: "),
    ],
)
def test_unusable_setup_is_reported_in_one_sentence(
    options: list[str], complaint: str, kubeconfig: Path, tmp_path: Path
) -> None:
    (tmp_path / "url").write_text("hunter2")
    given = [each.format(tmp_path) for each in options]
    ended = CliRunner().invoke(app, ["gateway", f"--kubeconfig={kubeconfig}", *given])
    assert ended.exit_code == 2
    assert complaint in ended.output
    assert "hunter2" not in ended.output
    assert "Traceback" not in ended.output


async def test_gateway_without_api_server_is_live_not_ready_and_stops(
    kubeconfig: Path, tmp_path: Path
) -> None:
    listen, health = free_port(), free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "troth.cli", "gateway", "--single-replica"),
        *(f"--kubeconfig={kubeconfig}", f"--identity={tmp_path}", f"--bundle={tmp_path}"),
        *(f"--listen=127.0.0.1:{listen}", f"--health-listen=127.0.0.1:{health}"),
        "--log-format=json",
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as http:
            while True:
                try:
                    async with http.get(f"http://127.0.0.1:{health}/readyz") as answer:
                        assert answer.status == 503
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)
            async with http.get(f"http://127.0.0.1:{health}/healthz") as answer:
                assert answer.status == 200
            unknown = b"POST /shop/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
            assert (await send_parts(listen, unknown)).status == 404
            assert (await send_parts(listen, b"rubbish\r\n\r\n")).status == 400
            async with http.get(f"http://127.0.0.1:{health}/metrics") as answer:
                metrics = await answer.text()
        assert 'troth_gateway_malformed_requests_total{reason="malformed"} 1.0' in metrics
        assert "troth_gateway_endpoints 0.0" in metrics
        assert "troth_event_loop_longest_stall_seconds " in metrics
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            _, said = await process.communicate()
        assert process.returncode == 0
        assert b'"event":"started"' in said
        assert b"Traceback" not in said
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

"""`troth issue`: errors at start, and the format of its log lines."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import yaml
from typer.testing import CliRunner

from troth.cli.main import app
from troth.serving.logs import LogFormat, configure


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    file = tmp_path / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    user = {"name": "u", "user": {"token": "t"}}
    config = {"clusters": [cluster], "contexts": [context], "users": [user]}
    file.write_text(yaml.safe_dump({"current-context": "c", **config}))
    return file


def test_missing_tls_files_are_reported(kubeconfig: Path, tmp_path: Path) -> None:
    options = ("--domain", "production", "--kubeconfig", str(kubeconfig), "--tls", str(tmp_path))
    ended = CliRunner().invoke(app, ["issue", *options, "--health-listen", "127.0.0.1:0"])
    assert ended.exit_code == 2
    assert "tls.crt, tls.key and ca.crt cannot be used: No such file" in ended.output
    assert "Traceback" not in ended.output


def test_domain_is_required() -> None:
    ended = CliRunner().invoke(app, ["issue"])
    assert ended.exit_code == 2
    assert "--domain" in ended.output


@pytest.mark.parametrize("command", [("issue", "--domain", "production"), ("run",)])
@pytest.mark.parametrize("option", ["--log-format", "--log-level"])
def test_invalid_log_option_is_rejected(command: tuple[str, ...], option: str) -> None:
    ended = CliRunner().invoke(app, [*command, option, "loudly"])
    assert ended.exit_code == 2
    assert option in ended.output
    assert "'loudly' is not one of" in ended.output


def written(capsys: pytest.CaptureFixture[str], *, direct: bool) -> list[dict[str, str]]:
    configure(LogFormat.JSON, "info", direct=direct)
    log = structlog.get_logger()
    log.debug("not told")
    log.info("decided", caller="spiffe://a/b", scope='x"y')
    logging.getLogger("another.library").warning("from %s", "elsewhere")
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_direct_log_lines_equal_all_others(capsys: pytest.CaptureFixture[str]) -> None:
    by_way, direct = written(capsys, direct=False), written(capsys, direct=True)
    for line in (*by_way, *direct):
        assert line.pop("timestamp").endswith("Z")
    assert direct == by_way
    assert [line["level"] for line in direct] == ["info", "warning"]

"""Kafka's jars match their digests, and a server leaves nothing behind."""

import socket
from pathlib import Path
from typing import Any

import pytest

from sandbox import BuildError
from sandbox.brokers import kafka_jars
from sandbox.brokers.kafka import KafkaServer
from sandbox.brokers.kafka_jars import cached, ensure_kafka
from sandbox.processes import Tether
from tests.brokers.kafka.serving import skip_without_java
from tests.sandbox.observing import processes_of


@pytest.mark.usefixtures("cache")
def test_missing_java_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_jars, "missing", lambda: "there is no Java")
    with pytest.raises(BuildError, match="there is no Java"), KafkaServer.start():
        pass


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("replaced", [True, False])
def test_jars_with_a_wrong_digest_are_rejected(
    monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    def fetched(tether: Tether, argv: list[Any], **_: Any) -> None:
        assert argv[0] == "mvn"
        (tether.directory / "jars").mkdir()
        if replaced:
            (tether.directory / "jars" / "kafka_2.13-4.4.0.jar").write_bytes(b"another")

    monkeypatch.setattr(kafka_jars, "missing", lambda: None)
    monkeypatch.setattr(kafka_jars, "run", fetched)
    with pytest.raises(BuildError, match=r"jars\.sha256 lists: .*kafka_2\.13-4\.4\.0\.jar"):
        ensure_kafka()
    assert not cached().exists()


@pytest.mark.long
def test_server_and_its_files_end_with_the_context() -> None:
    skip_without_java()
    with KafkaServer.start() as server:
        directory = server.authority.certificate.parent
        assert processes_of(directory)
        for address in (server.admin_address, server.client_address):
            host, port = address.split(":")
            socket.create_connection((host, int(port)), timeout=5).close()
        assert readable_by_others(directory) == []
    assert not directory.exists()
    assert processes_of(directory) == []


def readable_by_others(directory: Path) -> list[Path]:
    """Return private keys that other users of the machine could read."""
    keys = (path for path in directory.iterdir() if path.suffix in (".key", ".pem"))
    return [path for path in keys if path.stat().st_mode & 0o077]

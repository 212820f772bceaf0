"""What stops a connection, and whether anything answers at all."""

import errno
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from tests.patience import PATIENCE
from troth.cli.probe import connection
from troth.cli.probe.connection import resolver_answers
from troth.documents.probes import Outcome

V4, V6, LOCAL = 2, 3, 1
UNREACHABLE_V4, UNREACHABLE_V6 = 3, 1


class Failed:
    """A socket whose connection failed, with its error queue."""

    def __init__(self, *queued: tuple[int, int, int]) -> None:
        self.queued = queued

    def recvmsg(self, *_: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, None]:
        if not self.queued:
            raise BlockingIOError
        errors = [struct.pack("=IBBBBII", 111, *each, 0, 0, 0) for each in self.queued]
        return b"", [(0, 11, each) for each in errors], 0, None


@pytest.mark.parametrize(
    ("code", "queued", "outcome"),
    [
        (errno.ECONNREFUSED, [], Outcome.RESET),
        (errno.ECONNREFUSED, [(V4, UNREACHABLE_V4, 3)], Outcome.REJECTED),
        (errno.EHOSTUNREACH, [(V4, UNREACHABLE_V4, 10)], Outcome.REJECTED),
        (errno.EHOSTUNREACH, [(V4, UNREACHABLE_V4, 13)], Outcome.REJECTED),
        (errno.EACCES, [(V6, UNREACHABLE_V6, 1)], Outcome.REJECTED),
        (errno.ECONNREFUSED, [(V6, UNREACHABLE_V6, 4)], Outcome.REJECTED),
        # a router without a route, or a neighbour that does not answer: no packet filter
        (errno.EHOSTUNREACH, [(V4, UNREACHABLE_V4, 1)], Outcome.UNREACHABLE),
        (errno.EHOSTUNREACH, [(V6, UNREACHABLE_V6, 3)], Outcome.UNREACHABLE),
        (errno.EHOSTUNREACH, [(LOCAL, 0, 0)], Outcome.UNREACHABLE),
        (errno.EHOSTUNREACH, [], Outcome.UNREACHABLE),
        (errno.ENETUNREACH, [], Outcome.UNREACHABLE),
        (errno.EPERM, [], Outcome.UNREACHABLE),
        (errno.EAGAIN, [], Outcome.TIMEOUT),
        (errno.ETIMEDOUT, [], Outcome.TIMEOUT),
    ],
)
def test_only_messages_of_packet_filters_are_rejections(
    code: int, queued: list[tuple[int, int, int]], outcome: Outcome
) -> None:
    assert connection._outcome(Failed(*queued), code) is outcome  # type: ignore[arg-type]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Yield the socket of a resolver on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        monkeypatch.setattr(connection, "_DNS", server.getsockname()[1])
        yield server


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "resolv.conf"
    file.write_text(text)
    return file


def test_resolver_answers_if_its_second_answer_is_for_the_question(
    resolver: socket.socket, tmp_path: Path
) -> None:
    def serve() -> None:
        query, client = resolver.recvfrom(512)
        resolver.sendto(bytes(each ^ 1 for each in query[:2]), client)
        query, client = resolver.recvfrom(512)
        resolver.sendto(query[:2] + b"an answer", client)

    thread = Thread(target=serve, daemon=True)
    thread.start()
    file = written(tmp_path, "search a.b\nnameserver 127.0.0.1\noptions ndots:5\n")
    assert resolver_answers(PATIENCE, file)
    thread.join()


def test_resolver_with_another_number_or_none_does_not_answer(
    resolver: socket.socket, tmp_path: Path
) -> None:
    file = written(tmp_path, "nameserver 127.0.0.1\n")
    assert not resolver_answers(0.01, file)
    resolver.close()
    assert not resolver_answers(0.01, file), "the port is closed"


@pytest.mark.parametrize("text", ["", "nameserver not-an-address\n", "search a.b\n"])
def test_pod_without_a_resolver_has_no_answer(tmp_path: Path, text: str) -> None:
    assert not resolver_answers(0.01, written(tmp_path, text))
    assert not resolver_answers(0.01, tmp_path / "missing")

"""An API server for commands that only read: it lists objects in pages, over HTTP."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml

from tests.builders import Manifest


@dataclass
class Served:
    """The objects that a server has, by the plural of their kind, and the requests that it got."""

    kubeconfig: Path
    objects: Mapping[str, list[Manifest]]
    forbidden: frozenset[str] = frozenset()
    """Plurals that the user may not list."""
    confined: frozenset[str] = frozenset()
    """Plurals that the user may list only in a namespace."""
    logs: Mapping[str, bytes] = field(default_factory=dict)
    """The logs of pods, by name."""
    discovery: Iterable[tuple[str, str]] = ()
    """Groups with their versions, and plurals, that discovery shows; without any it fails."""
    requests: list[tuple[str, bool]] = field(default_factory=list)
    """The plural, and whether only metadata was asked for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a head sent by itself delays its body until the client acknowledges it

    def __init__(self, served: Served, page: int, *arguments: Any) -> None:
        self._served = served
        self._page = page
        super().__init__(*arguments)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        prefix, *steps = url.path.strip("/").split("/")
        if not steps:
            self._answer(self._discovery() if prefix == "apis" else {"kind": "None"})
            return
        steps = steps[1 if prefix == "api" else 2 :]
        namespace = steps[1] if steps[0] == "namespaces" and len(steps) > 2 else ""
        plural, name = [*(steps[2:] if namespace else steps), ""][:2]
        self._served.requests.append((plural, "PartialObject" in self.headers.get("Accept", "")))
        found = [
            each
            for each in self._served.objects.get(plural, [])
            if namespace in ("", each["metadata"].get("namespace"))
        ]
        query = dict(parse_qsl(url.query))
        if plural == "pods" and not name:
            selector = query.get("labelSelector", "")
            chosen = dict(each.split("=") for each in selector.split(",") if each)
            found = [each for each in found if chosen.items() <= each["metadata"]["labels"].items()]
        if steps[-1] == "log" and name in self._served.logs:
            self._send(HTTPStatus.OK, self._served.logs[name])
        elif steps[-1] == "log":
            self._answer(None)
        elif plural in self._served.forbidden or (
            not namespace and plural in self._served.confined
        ):
            self._answer(None, HTTPStatus.FORBIDDEN)
        elif name:
            found = [each for each in found if each["metadata"]["name"] == name]
            self._answer(found[0] if found else None)
        elif plural not in self._served.objects:
            self._answer(None)
        else:
            start = int(query.get("continue", 0))
            end = start + self._page
            rest = {"continue": str(end)} if end < len(found) else {}
            metadata = {"resourceVersion": "7", **rest}
            self._answer({"kind": "List", "metadata": metadata, "items": found[start:end]})

    def _discovery(self) -> Manifest | None:
        items = [
            {
                "metadata": {"name": version.rpartition("/")[0]},
                "versions": [
                    {"version": version.rpartition("/")[2], "resources": [{"resource": plural}]}
                ],
            }
            for version, plural in self._served.discovery
        ]
        return {"items": items} if items else None

    def _answer(
        self, document: Manifest | None, failure: HTTPStatus = HTTPStatus.NOT_FOUND
    ) -> None:
        code = HTTPStatus.OK if document else failure
        status = {"kind": "Status", "code": code, "reason": code.phrase, "message": "no"}
        self._send(code, json.dumps(document or status).encode())

    def _send(self, code: HTTPStatus, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def serving(
    directory: Path,
    objects: Mapping[str, list[Manifest]],
    page: int = 500,
    forbidden: Iterable[str] = (),
    logs: Mapping[str, bytes] | None = None,
    *,
    discovery: Iterable[tuple[str, str]] = (),
    confined: Iterable[str] = (),
) -> Iterator[Served]:
    """Serve objects, by the plural of their kind, to a kubeconfig with the namespace `shop`."""
    served = Served(
        directory / "kubeconfig",
        objects,
        frozenset(forbidden),
        frozenset(confined),
        logs or {},
        discovery,
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, served, page))
    context = {"cluster": "c", "user": "u", "namespace": "shop"}
    cluster = {"server": f"http://127.0.0.1:{server.server_address[1]}"}
    config = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": context}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {}}],
    }
    served.kubeconfig.write_text(yaml.safe_dump(config))
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""A git repository, served on loopback by `git http-backend`."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

AUTHOR = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (("NAME", "Ada"), ("EMAIL", "ada@shop.example"))
}
ALONE = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
"""Environment of a git that no setting of this machine's user changes."""


class Repository:
    """A bare repository, and a work tree whose commits are pushed to it."""

    def __init__(self, directory: Path) -> None:
        self.tree = directory / "tree"
        self._bare = directory / "served" / "fleet.git"
        git(directory, "init", "--quiet", "--bare", "--initial-branch=main", str(self._bare))
        git(directory, "init", "--quiet", "--initial-branch=main", str(self.tree))

    def push(self, message: str) -> str:
        """Commit and push the work tree; return the commit's hash."""
        git(self.tree, "add", "--all")
        git(self.tree, "commit", "--quiet", f"--message={message}")
        git(self.tree, "push", "--quiet", str(self._bare), "main")
        return git(self.tree, "rev-parse", "HEAD").strip()

    def revert(self) -> str:
        """Revert the last commit and push; return the new commit's hash."""
        git(self.tree, "revert", "--no-edit", "HEAD")
        git(self.tree, "push", "--quiet", str(self._bare), "main")
        return git(self.tree, "rev-parse", "HEAD").strip()

    @contextmanager
    def served(self) -> Iterator[str]:
        """Serve the repository; yield its URL."""
        root = self._bare.parent
        handler = type("Handler", (_Handler,), {"root": root})
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}/{self._bare.name}"
            server.shutdown()


def git(where: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments],
        cwd=where,
        env=os.environ | ALONE | AUTHOR,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    ).stdout


class _Handler(BaseHTTPRequestHandler):
    """Passes each request to git by CGI (RFC 3875)."""

    root: Path

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length")
        self._serve(self.rfile.read(int(length)) if length else b"".join(self._chunks()))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _serve(self, body: bytes) -> None:
        url = urlsplit(self.path)
        variables = ALONE | {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": unquote(url.path),
            "QUERY_STRING": url.query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        answer = subprocess.run(
            ["git", "http-backend"], input=body, env=variables, capture_output=True, check=True
        ).stdout
        head, _, content = answer.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing."""

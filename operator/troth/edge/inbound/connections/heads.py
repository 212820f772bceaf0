"""Bounds on the head of a request, the same at every server of a service and of Troth."""

from collections.abc import Sequence, Sized

MAX_HEAD = 32 * 1024
"""Maximum size in bytes of a request line with its headers, of trailers, and of the line that
begins a chunk."""
MAX_HEADERS = 100
"""Maximum number of headers of a request."""


def is_too_large(method: Sized, target: Sized, headers: Sequence[tuple[Sized, Sized]]) -> bool:
    """Return whether a head exceeds a bound, as written by a client that adds no spaces."""
    if len(headers) > MAX_HEADERS:
        return True
    size = len(method) + len(target) + len("  HTTP/1.1\r\n\r\n")
    return size + sum(len(name) + len(value) + len(": \r\n") for name, value in headers) > MAX_HEAD

"""Proxies in pods that authenticate users and pass who they are in headers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from troth.audit.facts.members import items, text, texts

_IMAGE = "oauth2-proxy"
_UPSTREAM = re.compile(r"(https?)://([A-Za-z0-9.-]{1,253})(?::([0-9]{1,5}))?(?:[/\s]|$)")
_PORTS = {"http": 80, "https": 443}
_OFF = ("false", "0", "f", "no")


@dataclass(frozen=True, slots=True)
class Upstream:
    """Server to which a proxy forwards."""

    host: str
    port: int
    field: str


@dataclass(frozen=True, slots=True)
class Proxy:
    """Container of oauth2-proxy that forwards requests with headers such as X-Forwarded-User."""

    field: str
    upstreams: tuple[Upstream, ...]


def proxies(containers: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[Proxy]:
    """Yield the proxies among containers, given with their places.

    A proxy whose configuration passes no header about users is not one.
    """
    for where, each in containers:
        if _IMAGE not in text(each, "image")[:512]:
            continue
        options = list(_options(where, each))
        if not _passes_users(options):
            continue
        upstreams = tuple(
            found
            for field, name, value in options
            if name == "upstream"
            for found in _upstreams(field, value)
        )
        if upstreams:
            yield Proxy(where, upstreams)


def _upstreams(field: str, value: str) -> Iterator[Upstream]:
    for each in value.split(","):
        found = _UPSTREAM.match(each)
        if found:
            scheme, host, port = found.groups()
            yield Upstream(host.lower(), int(port) if port else _PORTS[scheme], field)


def _passes_users(options: list[tuple[str, str, str]]) -> bool:
    values = {name: value.lower() for _, name, value in options}
    off = [values.get(name) in _OFF for name in ("pass-user-headers", "pass-basic-auth")]
    return not all(off)  # both are on by default


def _options(where: str, container: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield place, name and value of each option, from arguments and variables."""
    for group in ("command", "args"):
        arguments = texts(container, group)
        for number, argument in enumerate(arguments):
            name, given, value = argument.lstrip("-").partition("=")
            after = arguments[number + 1 : number + 2]
            if name == "upstream" and not given and after:  # the value is a word of its own
                (value,) = after
            yield f"{where}.{group}[{number}]", name.replace("_", "-"), value
    for number, each in items(container, "env"):
        name, value = text(each, "name"), text(each, "value")
        if name.startswith("OAUTH2_PROXY_"):
            option = name.removeprefix("OAUTH2_PROXY_").lower().replace("_", "-")
            yield f"{where}.env[{number}]", option.replace("upstreams", "upstream"), value

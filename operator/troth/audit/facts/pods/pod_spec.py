"""Facts of a pod spec. They have names and references, never a value of the environment."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from troth.audit.facts.ingress.auth_proxies import Proxy, proxies
from troth.audit.facts.ingress.identity_headers import headers_in

_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ADDRESS = re.compile(
    rf"(?<![\w.-])({_LABEL}(?:\.{_LABEL}){{0,9}}):([0-9]{{1,5}})(?![\w.@])", re.ASCII
)
"""Host and port, without the scheme and the credentials before them. Every repetition is bounded,
so that a search takes a time in proportion to the text."""

_PORTS = {
    "http": 80,
    "https": 443,
    "amqp": 5672,
    "amqps": 5671,
    "mongodb": 27017,
    "mysql": 3306,
    "nats": 4222,
    "postgres": 5432,
    "postgresql": 5432,
    "redis": 6379,
    "rediss": 6379,
}
"""Ports that a URL of a scheme means if it names none."""
_URL = re.compile(
    rf"(?<![\w.+-])({'|'.join(_PORTS)})://(?:[^/@\s,]*@)?"
    r"([a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*)(?![\w.:@-])"
)


@dataclass(frozen=True, slots=True)
class Use:
    """Reference of a pod spec to a Secret or a ConfigMap."""

    name: str
    key: str
    """Key that is read, empty for all."""
    field: str
    """Path below the pod spec, such as `containers[0].env[2]`."""
    variable: str = ""
    """Environment variable that holds it; empty for files."""
    containers: tuple[str, ...] = ()
    """Containers that have it, such as `containers[0]`."""


@dataclass(frozen=True, slots=True)
class Address:
    """Host and port that a container's environment or arguments name."""

    host: str
    port: int
    field: str


@dataclass(frozen=True, slots=True)
class HeaderName:
    """Identity header that a container's environment or arguments name."""

    header: str
    field: str
    variable: str = ""
    """Environment variable or option that has it; empty for a plain argument."""


@dataclass(frozen=True, slots=True)
class Port:
    """Port that a container declares."""

    name: str
    number: int
    protocol: str
    container: int


@dataclass(frozen=True, slots=True)
class PodSpec:
    """What rules read of a pod spec. Equal for all pods of a template, so they share one."""

    service_account: str
    mounts_token: bool | None
    """`automountServiceAccountToken`, None if it is not set."""
    host_network: bool
    ports: tuple[Port, ...]
    secrets: tuple[Use, ...]
    config_maps: tuple[Use, ...]
    addresses: tuple[Address, ...]
    headers: tuple[HeaderName, ...]
    containers: int
    """Number of its containers, without those that only initialize it."""
    proxies: tuple[Proxy, ...] = ()
    """Containers that authenticate users in front of another server."""


def pod_spec(spec: Mapping[str, Any]) -> PodSpec:
    """Return the facts of a pod spec. Members of a wrong type are left out."""
    containers = list(_containers(spec))
    texts = [text for where, each in containers for text in _texts(where, each)]
    mounts = spec.get("automountServiceAccountToken")
    return PodSpec(
        service_account=str(spec.get("serviceAccountName") or "default"),
        mounts_token=mounts if isinstance(mounts, bool) else None,
        host_network=spec.get("hostNetwork") is True,
        ports=tuple(_ports(spec)),
        secrets=tuple(_uses(spec, containers, _SECRET)),
        config_maps=tuple(_uses(spec, containers, _CONFIG_MAP)),
        addresses=tuple(
            Address(host, int(port), where)
            for where, text, _ in texts
            for host, port in _addresses(text.lower())
            if int(port) <= 65535  # noqa: PLR2004 - the highest port
        ),
        headers=tuple(
            HeaderName(name, where, variable)
            for where, text, variable in texts
            for name in headers_in(text)
        ),
        containers=len(_items(spec.get("containers"))),
        proxies=tuple(proxies(containers)),
    )


@dataclass(frozen=True, slots=True)
class _Words:
    """How a pod spec refers to a Secret or to a ConfigMap."""

    key_ref: str
    env_from: str
    volume: str
    volume_name: str


_SECRET = _Words("secretKeyRef", "secretRef", "secret", "secretName")
_CONFIG_MAP = _Words("configMapKeyRef", "configMapRef", "configMap", "name")


def _items(value: object) -> list[tuple[int, Mapping[str, Any]]]:
    """Return the members of a list that are objects, with their positions."""
    if not isinstance(value, list):
        return []
    return [(number, each) for number, each in enumerate(value) if isinstance(each, dict)]


def _containers(spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for group in ("containers", "initContainers", "ephemeralContainers"):
        for number, each in _items(spec.get(group)):
            yield f"{group}[{number}]", each


def _ports(spec: Mapping[str, Any]) -> Iterator[Port]:
    for position, container in _items(spec.get("containers")):
        for _, each in _items(container.get("ports")):
            number = each.get("containerPort")
            if isinstance(number, int):
                protocol = str(each.get("protocol") or "TCP")
                yield Port(str(each.get("name") or ""), number, protocol, position)


def _texts(where: str, container: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield each value and argument with its place, and its variable or option."""
    for number, each in _items(container.get("env")):
        if isinstance(each.get("value"), str):
            yield f"{where}.env[{number}]", each["value"], str(each.get("name") or "")
    for name in ("command", "args"):
        values = container.get(name)
        for number, text in enumerate(values if isinstance(values, list) else ()):
            if isinstance(text, str):
                option = text[:64].partition("=")[0] if text.startswith("-") else ""
                yield f"{where}.{name}[{number}]", text, option


def _addresses(text: str) -> Iterator[tuple[str, str | int]]:
    yield from _ADDRESS.findall(text)
    yield from ((host, _PORTS[scheme]) for scheme, host in _URL.findall(text))


def _uses(
    spec: Mapping[str, Any], containers: list[tuple[str, Mapping[str, Any]]], words: _Words
) -> Iterator[Use]:
    for where, container in containers:
        for number, each in _items(container.get("env")):
            source = _member(_member(each, "valueFrom"), words.key_ref)
            if source.get("name"):
                variable = str(each.get("name") or "")
                key = str(source.get("key") or "")
                yield Use(str(source["name"]), key, f"{where}.env[{number}]", variable, (where,))
        for number, each in _items(container.get("envFrom")):
            source = _member(each, words.env_from)
            if source.get("name"):
                yield Use(str(source["name"]), "", f"{where}.envFrom[{number}]", "*", (where,))
    mounting = _mounting(containers)
    for number, volume in _items(spec.get("volumes")):
        place, mounted = f"volumes[{number}]", mounting.get(str(volume.get("name")), ())
        source = _member(volume, words.volume)
        if source.get(words.volume_name):
            yield from _files(source, str(source[words.volume_name]), place, words.volume, mounted)
        for part, each in _items(_member(volume, "projected").get("sources")):
            source = _member(each, words.volume)
            if source.get("name"):
                where = f"{place}.projected.sources[{part}]"
                yield from _files(source, str(source["name"]), where, words.volume, mounted)


def _mounting(containers: list[tuple[str, Mapping[str, Any]]]) -> dict[str, tuple[str, ...]]:
    """Return the containers that mount each volume, by the volumes' names."""
    found: dict[str, tuple[str, ...]] = {}
    for where, container in containers:
        for _, each in _items(container.get("volumeMounts")):
            name = str(each.get("name"))
            if where not in found.get(name, ()):
                found[name] = (*found.get(name, ()), where)
    return found


def _files(
    source: Mapping[str, Any], name: str, place: str, member: str, mounted: tuple[str, ...]
) -> Iterator[Use]:
    """Yield the use of each key that a volume selects, of all keys if it selects none."""
    selected = _items(source.get("items"))
    for number, each in selected:
        where = f"{place}.{member}.items[{number}]"
        yield Use(name, str(each.get("key") or ""), where, containers=mounted)
    if not selected:
        yield Use(name, "", place, containers=mounted)


def _member(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}

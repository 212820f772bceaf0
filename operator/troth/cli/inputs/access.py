"""Access to the API server from a terminal: with a kubeconfig and the user's own rights."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from troth.cluster.api import ApiServer
from troth.cluster.connection.connecting import configuration, in_a_pod, pod_namespace
from troth.cluster.connection.library import (
    KUBE_CONFIG_DEFAULT_LOCATION,
    ConfigException,
    Configuration,
    list_kube_config_contexts,
)
from troth.cluster.errors import ApiError
from troth.cluster.selection import Selection
from troth.resources.faults import FaultyManifests, ManifestFault
from troth.resources.manifests import Manifest, problem_of
from troth.resources.references import Ref

FIELD_MANAGER = "troth-cli"
"""Field manager of the fields that a user sets with `troth`; others own the rest."""

FORBIDDEN, NOT_FOUND, CONFLICT = 403, 404, 409

UNUSABLE = (
    ConfigException,
    OSError,
    yaml.YAMLError,
    # raised by the library for a file whose content does not have the form of a kubeconfig
    TypeError,
    AttributeError,
    LookupError,
    ValueError,
    RecursionError,
)


class PersonalServer(ApiServer):
    """Client that never forces a conflict when it applies an object."""

    async def ask(self, manifest: Manifest) -> Manifest:
        """Apply the fields of a manifest for the user, and return the object.

        Omitted fields keep their values. Raises `ApiError` 409 if another manager owns one of the
        fields with a different value.
        """
        return await self._apply(manifest)

    async def find(self, kind: str, ref: Ref) -> Manifest | None:
        """Return an object, None if it does not exist or the user may not read it."""
        try:
            return await self.get(kind, ref)
        except ApiError as error:
            if error.status in (NOT_FOUND, FORBIDDEN):
                return None
            raise

    async def listed(
        self, kind: str, namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> list[Manifest]:
        """Return the objects of a kind in a namespace, or in all if it is empty.

        `labels` and `fields` are selectors.
        """
        return [
            {**item, "kind": kind}
            async for page in self.pages(Selection(kind, namespace, labels, fields))
            for item in page["items"]
        ]


@asynccontextmanager
async def connected(kubeconfig: Path | None, context: str | None) -> AsyncIterator[PersonalServer]:
    """Connect to the API server of a kubeconfig; without one, to the one of the pod or of kubectl.

    Raises `FaultyManifests` if the connection or a later request fails.
    """
    place = _place(kubeconfig)
    config = await reach(kubeconfig, context)
    try:
        opened = PersonalServer(config)  # reads the files of certificates
    except UNUSABLE as error:
        raise _unusable(place, error) from None
    try:
        async with opened as server:
            yield server
    except ApiError as error:
        raise FaultyManifests([ManifestFault(place, "", "", refusal(error))]) from None


async def reach(kubeconfig: Path | None, context: str | None) -> Configuration:
    """Return the client configuration, also inside a pod; raises `FaultyManifests`."""
    place = _place(kubeconfig)
    try:
        config = await configuration(str(kubeconfig) if kubeconfig else None, context)
        _verify(config)
    except UNUSABLE as error:
        raise _unusable(place, error) from None
    return config


def _verify(config: Configuration) -> None:
    """Raise `ConfigException` if the client could not make a request with a configuration.

    The library takes any value from a kubeconfig, and fails at the first request.
    """
    for name in ("host", "proxy", "ssl_ca_cert", "cert_file", "key_file"):
        value = getattr(config, name, None)
        if value is not None and not isinstance(value, str):
            raise ConfigException(f"the value of {name} is not text")
    for name, value in (("server", config.host), ("proxy-url", config.proxy)):
        if not value and name == "proxy-url":
            continue
        url = urlsplit(value)
        if url.scheme not in ("http", "https") or not url.hostname or url.port == 0:
            raise ConfigException(f"{name} is not a URL such as https://cluster.example:6443")


def home(kubeconfig: Path | None, context: str | None) -> str:
    """Return the namespace of a kubeconfig context, `default` if it names none.

    Inside a pod and without a kubeconfig, it is the pod's. Raises `FaultyManifests`.
    """
    if kubeconfig is None and in_a_pod():
        try:
            return pod_namespace() or "default"
        except OSError as error:
            raise _unusable("namespace of the pod", error) from None
    place = _place(kubeconfig)
    try:
        contexts, current = list_kube_config_contexts(place)
    except UNUSABLE as error:
        raise _unusable(place, error) from None
    if context is not None and all(each["name"] != context for each in contexts):
        known = ", ".join(sorted(str(each["name"]) for each in contexts))
        sentence = f"has no context {context}; name one of {known}"
        raise FaultyManifests([ManifestFault(place, "", "", sentence)])
    chosen = next((each for each in contexts if each["name"] == context), current)
    return str(chosen["context"].get("namespace") or "default")


def refusal(error: ApiError) -> str:
    """Return the API server's reason for rejecting a request, as one sentence."""
    return error.message or f"the API server answered {error.status} {error.reason}"


def _place(kubeconfig: Path | None) -> str:
    """Return how errors name the source of a connection; raises `FaultyManifests` without one."""
    if kubeconfig is None and in_a_pod():
        return "API server"
    place = str(kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION)
    if not any(Path(each).expanduser().is_file() for each in place.split(os.pathsep) if each):
        sentence = "no such file; name a kubeconfig file with --kubeconfig"
        raise FaultyManifests([ManifestFault(place, "", "", sentence)])
    return place


def _unusable(place: str, error: Exception) -> FaultyManifests:
    """Return the error of a kubeconfig.

    It quotes only errors whose text does not quote the file, which contains credentials.
    """
    cause = ""
    if isinstance(error, ConfigException):
        # the library writes the content of the user's entry with its credentials into some
        cause = " ".join(str(error).partition("{")[0].split()).removesuffix(" in")
    elif isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        context = problem_of(error.context or "not valid YAML")
        cause = f"{context}: line {error.problem_mark.line + 1}: {problem_of(error.problem)}"
    elif isinstance(error, OSError):
        cause = error.strerror or "cannot be read"
    return FaultyManifests([ManifestFault(place, "", "", cause or "is not a valid kubeconfig")])

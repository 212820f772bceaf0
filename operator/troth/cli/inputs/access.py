"""Access to the API server from a terminal: with a kubeconfig and the user's own rights."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import yaml
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import (
    KUBE_CONFIG_DEFAULT_LOCATION,
    ConfigException,
    list_kube_config_contexts,
)

from troth.cluster.api import ApiServer, Selection
from troth.cluster.connecting import configuration
from troth.cluster.errors import ApiError
from troth.resources.faults import FaultyManifests, ManifestFault
from troth.resources.manifests import Manifest
from troth.resources.references import Ref

FIELD_MANAGER = "troth-cli"
"""Field manager of the fields that a user sets with `troth`; others own the rest."""

FORBIDDEN, NOT_FOUND, CONFLICT = 403, 404, 409

# the library raises the last two for YAML that is not a mapping
UNUSABLE = (ConfigException, OSError, yaml.YAMLError, TypeError, AttributeError)


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

    async def listed(self, kind: str, namespace: str = "") -> list[Manifest]:
        """Return the objects of a kind in a namespace, or in all if it is empty."""
        return [
            {**item, "kind": kind}
            async for page in self.pages(Selection(kind, namespace))
            for item in page["items"]
        ]


@asynccontextmanager
async def connected(kubeconfig: Path | None, context: str | None) -> AsyncIterator[PersonalServer]:
    """Connect to the API server of a kubeconfig; without one, to the API server kubectl uses.

    Raises `FaultyManifests` if the connection or a later request fails.
    """
    place = _place(kubeconfig)
    config = await reach(kubeconfig, context)
    try:
        async with PersonalServer(config) as server:
            yield server
    except ApiError as error:
        raise FaultyManifests([ManifestFault(place, "", "", refusal(error))]) from None


async def reach(kubeconfig: Path | None, context: str | None) -> Configuration:
    """Return the client configuration, also inside a pod; raises `FaultyManifests`."""
    place = _place(kubeconfig) if kubeconfig else KUBE_CONFIG_DEFAULT_LOCATION
    try:
        return await configuration(str(kubeconfig) if kubeconfig else None, context)
    except UNUSABLE as error:
        raise _unusable(place, error) from None


def home(kubeconfig: Path | None, context: str | None) -> str:
    """Return the namespace of a kubeconfig context, `default` if it names none."""
    place = _place(kubeconfig)
    try:
        contexts, current = list_kube_config_contexts(place)
    except UNUSABLE as error:
        raise _unusable(place, error) from None
    chosen = next((each for each in contexts if each["name"] == context), current)
    return str(chosen["context"].get("namespace") or "default")


def refusal(error: ApiError) -> str:
    """Return the API server's reason for rejecting a request, as one sentence."""
    return error.message or f"the API server answered {error.status} {error.reason}"


def _place(kubeconfig: Path | None) -> str:
    place = str(kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION)
    if not any(Path(each).expanduser().is_file() for each in place.split(os.pathsep) if each):
        sentence = "no such file; name a kubeconfig file with --kubeconfig"
        raise FaultyManifests([ManifestFault(place, "", "", sentence)])
    return place


def _unusable(place: str, error: Exception) -> FaultyManifests:
    cause = "" if isinstance(error, (TypeError, AttributeError)) else " ".join(str(error).split())
    return FaultyManifests([ManifestFault(place, "", "", cause or "is not a valid kubeconfig")])

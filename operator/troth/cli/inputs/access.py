"""The API server as a person reaches it from a terminal: by a kubeconfig, with their own rights."""

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
from troth.resources.manifests import Fault, FaultyManifests, Manifest
from troth.resources.references import Ref

FIELD_MANAGER = "troth-cli"
"""Owns the fields that a person sets from a terminal, beside whoever owns the rest."""

FORBIDDEN, NOT_FOUND, CONFLICT = 403, 404, 409

# the last two are what the library answers with to YAML that is no mapping
UNUSABLE = (ConfigException, OSError, yaml.YAMLError, TypeError, AttributeError)


class PersonalServer(ApiServer):
    """An API server that is asked for things, and never made to give them."""

    async def ask(self, manifest: Manifest) -> Manifest:
        """Apply the fields of a manifest as the person's own, and return the object.

        Fields left out stay as they are. Raises `ApiError` 409 where somebody else owns one of
        them with another value.
        """
        return await self._json(
            "apply",
            "patch",
            manifest["kind"],
            Ref.of(manifest),
            body=manifest,
            content_type="application/apply-patch+yaml",
            field_manager=FIELD_MANAGER,
        )

    async def find(self, kind: str, ref: Ref) -> Manifest | None:
        """Return an object, None where there is none or the person may not see it."""
        try:
            return await self.get(kind, ref)
        except ApiError as error:
            if error.status in (NOT_FOUND, FORBIDDEN):
                return None
            raise

    async def listed(self, kind: str, namespace: str = "") -> list[Manifest]:
        """Return the objects of a kind, in a namespace or in all."""
        return [
            {**item, "kind": kind}
            async for page in self.pages(Selection(kind, namespace))
            for item in page["items"]
        ]


@asynccontextmanager
async def connected(kubeconfig: Path | None, context: str | None) -> AsyncIterator[PersonalServer]:
    """Reach the API server that a kubeconfig names, or else the one that kubectl would reach.

    Raises `FaultyManifests` with a sentence where that fails, now or later.
    """
    place = _place(kubeconfig)
    config = await reach(kubeconfig, context)
    try:
        async with PersonalServer(config) as server:
            yield server
    except ApiError as error:
        raise FaultyManifests([Fault(place, "", "", refusal(error))]) from None


async def reach(kubeconfig: Path | None, context: str | None) -> Configuration:
    """Return how to reach the API server, also from inside a pod; raises `FaultyManifests`."""
    place = _place(kubeconfig) if kubeconfig else KUBE_CONFIG_DEFAULT_LOCATION
    try:
        return await configuration(str(kubeconfig) if kubeconfig else None, context)
    except UNUSABLE as error:
        raise _unusable(place, error) from None


def home(kubeconfig: Path | None, context: str | None) -> str:
    """Return the namespace that a kubeconfig's context names, else `default`."""
    place = _place(kubeconfig)
    try:
        contexts, current = list_kube_config_contexts(place)
    except UNUSABLE as error:
        raise _unusable(place, error) from None
    chosen = next((each for each in contexts if each["name"] == context), current)
    return str(chosen["context"].get("namespace") or "default")


def refusal(error: ApiError) -> str:
    """Return in a sentence why the API server did not do what it was asked for."""
    return error.message or f"the API server answered {error.status} {error.reason}"


def _place(kubeconfig: Path | None) -> str:
    place = str(kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION)
    if not any(Path(each).expanduser().is_file() for each in place.split(os.pathsep) if each):
        sentence = "there is no such file; name a cluster with --kubeconfig"
        raise FaultyManifests([Fault(place, "", "", sentence)])
    return place


def _unusable(place: str, error: Exception) -> FaultyManifests:
    told = "" if isinstance(error, (TypeError, AttributeError)) else " ".join(str(error).split())
    return FaultyManifests([Fault(place, "", "", told or "this is no kubeconfig")])

"""The content of a pod's volumes, including the tokens that are issued for it."""

import time
from collections.abc import Mapping
from typing import Any

from sandbox.node.api import Api
from sandbox.node.podspec import NotYetError, field
from sandbox.node.projection import Payload, Sources

Manifest = Mapping[str, Any]

RENEW_AT = 0.8  # share of a token's lifetime, as in the kubelet
DEFAULT_LIFETIME = 3600


class Volumes:
    """Computes the content of a pod's volumes."""

    def __init__(self, api: Api, sources: Sources) -> None:
        self._api = api
        self._sources = sources
        self._tokens: dict[tuple[str, str], tuple[float, str]] = {}

    async def payload(self, pod: Manifest, volume: Manifest) -> Payload | None:
        """Return the files of a volume; `None` for an empty directory.

        Raises `NotYetError` if a source does not exist yet, or if this tier does not support it.
        """
        namespace = pod["metadata"]["namespace"]
        match volume:
            case {"emptyDir": _}:
                return None
            case {"secret": source}:
                return self._sources.payload("secret", namespace, source["secretName"], source)
            case {"configMap": source}:
                return self._sources.payload("configmap", namespace, source["name"], source)
            case {"downwardAPI": source}:
                return _fields(pod, source)
            case {"projected": {"sources": sources}}:
                merged: dict[str, bytes] = {}
                for source in sources:
                    merged |= await self._projected(pod, namespace, source)
                return merged
        raise NotYetError(f"a process pod cannot have the volume {volume['name']}")

    def forget(self, uid: str) -> None:
        """Drop the tokens of a deleted pod."""
        for key in [key for key in self._tokens if key[0] == uid]:
            del self._tokens[key]

    def renewal_is_due(self) -> bool:
        """Whether the token of any pod should be replaced."""
        return any(due <= time.time() for due, _ in self._tokens.values())

    async def _projected(self, pod: Manifest, namespace: str, source: Manifest) -> Payload:
        match source:
            case {"secret": each}:
                return self._sources.payload("secret", namespace, each["name"], each)
            case {"configMap": each}:
                return self._sources.payload("configmap", namespace, each["name"], each)
            case {"downwardAPI": each}:
                return _fields(pod, each)
            case {"serviceAccountToken": each}:
                return {each["path"]: (await self._token(pod, each)).encode()}
        raise NotYetError(f"a process pod cannot have a volume projected from {', '.join(source)}")

    async def _token(self, pod: Manifest, source: Manifest) -> str:
        metadata = pod["metadata"]
        audience = source.get("audience", "")
        key = metadata["uid"], audience
        due, token = self._tokens.get(key, (0.0, ""))
        if time.time() < due:
            return token
        lifetime = source.get("expirationSeconds", DEFAULT_LIFETIME)
        account = pod["spec"].get("serviceAccountName", "default")
        path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
        issued = await self._api.create(
            path,
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {
                    "audiences": [audience] if audience else [],
                    "expirationSeconds": lifetime,
                    "boundObjectRef": {
                        "apiVersion": "v1",
                        "kind": "Pod",
                        "name": metadata["name"],
                        "uid": metadata["uid"],
                    },
                },
            },
        )
        token = issued["status"]["token"]
        self._tokens[key] = time.time() + RENEW_AT * lifetime, token
        return str(token)


def _fields(pod: Manifest, source: Manifest) -> Payload:
    return {
        item["path"]: field(pod, item["fieldRef"]["fieldPath"]).encode() for item in source["items"]
    }

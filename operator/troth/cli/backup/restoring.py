"""Creates what a backup has and a cluster lacks."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from troth.cli.backup.collect import stored
from troth.cli.backup.portable import (
    OWNED,
    Manifest,
    Place,
    content,
    in_order,
    is_unobserved,
    place_of,
)
from troth.cli.inputs.access import CONFLICT, PersonalServer, connected
from troth.cluster.errors import ApiError
from troth.reconcile.operator import LEASE
from troth.resources.faults import FaultyManifests, ManifestFault
from troth.resources.references import Ref

POLICY = "ValidatingAdmissionPolicy"
TICK = 1.1
"""Seconds after which an object is created in another second, the resolution of its age."""


@dataclass
class Report:
    """What a restore came to: numbers of objects, and sentences about those left as they are."""

    created: int = 0
    kept: int = 0
    findings: list[str] = field(default_factory=list)


async def restored(
    manifests: list[Manifest],
    kubeconfig: Path | None,
    context: str | None,
    own_namespace: str | None = None,
) -> Report:
    """Restore objects; raises `FaultyManifests` at the first that the API server rejects.

    `own_namespace` is Troth's, None if the user has not named it.
    """
    async with connected(kubeconfig, context) as server:
        live = {place_of(each): each async for each in stored(server)}
        live |= {place_of(each): each for each in await server.listed("Namespace")}
        await _refuse_leader(server, own_namespace)
        known = {place_of(each) for each in manifests} | live.keys()
        if own_namespace is not None and ("Namespace", Ref("", own_namespace)) not in known:
            sentence = f'"{own_namespace}" does not exist; name the namespace that Troth runs in'
            raise FaultyManifests([ManifestFault("", "--own-namespace", "", sentence)])
        restoring = _Restore(server, live)
        for each in in_order(manifests):
            await restoring.put(each)
    return restoring.report


async def _refuse_leader(server: PersonalServer, own_namespace: str | None) -> None:
    """Raise `FaultyManifests` if an operator leads: it would create roots and keys meanwhile.

    A user of any namespace can create a Lease of that name, so only the one in Troth's namespace
    counts if the namespace is known.
    """
    for lease in await server.listed("Lease", own_namespace or "", fields=f"metadata.name={LEASE}"):
        if holder := (lease.get("spec") or {}).get("holderIdentity"):
            namespace = lease["metadata"]["namespace"]
            sentence = (
                f"the operator {holder} leads, and would create what is about to be restored; "
                f"scale its Deployment in the namespace {namespace} to 0 (if no operator runs, "
                "delete the Lease; if Troth runs in another namespace, name that one with "
                "--own-namespace)"
            )
            raise FaultyManifests([ManifestFault("", f"Lease {namespace}/{LEASE}", "", sentence)])


class _Restore:
    """Restores one object after the other; `live` is what the cluster has."""

    def __init__(self, server: PersonalServer, live: dict[Place, Manifest]) -> None:
        self._server = server
        self._live = live
        self._spiffe_domains: set[str] = set()
        self.report = Report()

    async def put(self, manifest: Manifest) -> None:
        """Restore an object, unless it exists."""
        place = place_of(manifest)
        found = self._live.get(place)
        try:
            if manifest["kind"] in OWNED:
                await self._put_owned(manifest, found)
            elif found is None:
                await self._create(manifest)
            elif manifest["kind"] == "Namespace" or content(found) == content(manifest):
                await self._resume(manifest, found)
            else:
                self._find(manifest, "exists with another spec, and was not changed")
        except ApiError as error:
            kind, ref = place
            raise FaultyManifests(
                [ManifestFault("", f"{kind} {ref}", "", refusal(kind, error))]
            ) from None

    async def _create(self, manifest: Manifest) -> None:
        """Create a resource with its status and its field managers, or a namespace."""
        await self._keep_age(manifest)
        bare = {name: value for name, value in manifest.items() if name != "status"}
        metadata = dict(manifest["metadata"])
        managers = metadata.pop("managedFields", None)
        made = await self._server.create({**bare, "metadata": metadata})
        made = {**made, "kind": manifest["kind"]}
        self._live[place_of(manifest)] = made
        made = await self._put_status(manifest, made)
        if managers:
            patch = {"metadata": {**_unchanged(made), "managedFields": managers}}
            await self._server.merge_patch(*place_of(manifest), patch)
        self.report.created += 1

    async def _resume(self, manifest: Manifest, found: Manifest) -> None:
        """Give a resource that nobody has observed yet its status."""
        if is_unobserved(found):
            await self._put_status(manifest, found)
        self.report.kept += 1

    async def _put_status(self, manifest: Manifest, made: Manifest) -> Manifest:
        """Write the status of an object that is still as it was read; return the object."""
        if status := manifest.get("status"):
            patch = {"metadata": _unchanged(made), "status": status}
            return await self._server.merge_patch(*place_of(manifest), patch, "status")
        return made

    async def _keep_age(self, manifest: Manifest) -> None:
        """Wait until the next second if the older of two TrustDomains has their domain."""
        if manifest["kind"] == "TrustDomain":
            domain = str((manifest.get("spec") or {}).get("domain"))
            if domain in self._spiffe_domains:
                await asyncio.sleep(TICK)
            self._spiffe_domains.add(domain)

    async def _put_owned(self, manifest: Manifest, found: Manifest | None) -> None:
        """Apply an owned object as the operator does, with the owners that exist now."""
        metadata = manifest["metadata"]
        owners, lost = self._owners(manifest)
        if lost:
            self._find(manifest, f"was not restored, because its owner {lost} does not exist")
            return
        wanted = {**manifest, "metadata": {**metadata, "ownerReferences": owners}}
        wanted["metadata"].pop("creationTimestamp", None)
        if found is None:
            await self._apply_new(wanted)
        elif content(found) != content(manifest):
            self._find(manifest, "exists with other content, and was not changed")
        else:
            if not _uids(owners) <= _uids(found["metadata"].get("ownerReferences") or []):
                wanted["metadata"] |= _unchanged(found)
                await self._server.apply(wanted)
            self.report.kept += 1

    async def _apply_new(self, wanted: Manifest) -> None:
        try:
            await self._server.apply_new(wanted)
        except ApiError as error:
            if error.status != CONFLICT:
                raise
            self._find(wanted, "is not managed by Troth here, and was not changed")
        else:
            self.report.created += 1

    def _owners(self, manifest: Manifest) -> tuple[list[Manifest], str]:
        """Return owner references with the UIDs of this cluster, and an owner that is missing."""
        owners = []
        for each in manifest["metadata"].get("ownerReferences") or []:
            owner = each["kind"], Ref(manifest["metadata"]["namespace"], each["name"])
            found = self._live.get(owner)
            if found is None:
                return [], f"{owner[0]} {owner[1]}"
            owners.append({**each, "uid": found["metadata"]["uid"]})
        return owners, ""

    def _find(self, manifest: Manifest, sentence: str) -> None:
        kind, ref = place_of(manifest)
        self.report.findings.append(f"{kind} {ref} {sentence}")


def refusal(kind: str, error: ApiError) -> str:
    """Return why an object was not written, without the answer about a Secret: it may quote it."""
    if POLICY in error.message:
        return (
            f"the chart's {POLICY} denies it; restore before you install the chart, or name your "
            "user in its value admissionPolicy.exemptUsers"
        )
    said = f"the API server answered {error}"
    return f"{said}: {error.line}" if kind != "Secret" and error.line else said


def _unchanged(found: Manifest) -> Manifest:
    """Return the metadata by which the API server rejects a write if the object has changed."""
    return {name: found["metadata"][name] for name in ("uid", "resourceVersion")}


def _uids(owners: list[Manifest]) -> set[str]:
    return {each["uid"] for each in owners}

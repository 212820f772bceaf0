"""A rotated root verifies events, until it is declared compromised or too old; on a real server."""

import base64
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cluster.stage import DOMAIN, Stage
from tests.cluster.test_rotate import (
    arrive,
    authorities,
    live_on,
    of_root,
    opened_shop,
    requested,
    rotate_root,
)
from tests.edge.mounts import Mount
from troth.documents.event_bundles import FILE as EVENTS_BUNDLE_MAP
from troth.documents.event_bundles import TOLERANCE
from troth.edge.identity.files import Identity
from troth.edge.identity.snapshot import Snapshot
from troth.pki.certificates.leaf import short
from troth.pki.certificates.paths import subject_key_id
from troth.pki.encodings.pem import fingerprint, read_certificates
from troth.resources.references import Ref

WEEK = timedelta(hours=168)


async def mounted(stage: Stage, payments: Ref, path: Path) -> Snapshot:
    """Return what a service reads from the Secret and the ConfigMap."""
    bundle = await stage.person.the("ConfigMap", Ref(stage.shop, "trust-bundle"))
    secret = await stage.secret(payments)
    mounts = Mount(path / "identity"), Mount(path / "bundle")
    mounts[0].write({name: base64.b64decode(each) for name, each in secret["data"].items()})
    mounts[1].write({name: each.encode() for name, each in bundle["data"].items()})
    return Identity(path / "identity", path / "bundle").current


class Root(NamedTuple):
    """Fingerprint of a root in the status, and its key: it has another certificate in bundles."""

    fingerprint: str
    key: bytes


def roots(snapshot: Snapshot, *, events: bool) -> set[bytes]:
    """Return the keys of the roots that verify requests, or events."""
    bundles = snapshot.event_bundles if events else snapshot.bundles
    pem = b"".join(bundles[snapshot.trust_domain].x509_authorities)
    return set(map(subject_key_id, read_certificates(pem, "the bundle")))


async def signing(stage: Stage) -> Root:
    """Return the only root of the trust domain."""
    (told,) = await authorities(stage)
    secret = await stage.person.the("Secret", Ref(stage.own, f"{stage.name}-authority"))
    pem = base64.b64decode(secret["data"]["tls.crt"])
    (certificate,) = read_certificates(pem, "tls.crt")
    assert short(fingerprint(certificate)) == told
    return Root(told, subject_key_id(certificate))


async def rotated(stage: Stage) -> tuple[Root, Root]:
    """Rotate the root; return the old and the new one."""
    old = await signing(stage)
    async with rotate_root(stage, "--now", "--watch") as command:
        await arrive(stage, await requested(stage, of_root(stage)))
        ended = await live_on(stage, command)
    assert ended.code == 0, ended.errors
    new = await signing(stage)
    assert new.key != old.key
    return old, new


@pytest.mark.long
async def test_rotated_root_verifies_events_until_the_maximum_age_has_passed(
    stage: Stage, tmp_path: Path
) -> None:
    payments = await opened_shop(stage)
    await stage.settled()
    old, new = await rotated(stage)
    await stage.settled()
    snapshot = await mounted(stage, payments, tmp_path / "after")
    assert roots(snapshot, events=False) == {new.key}
    assert roots(snapshot, events=True) == {old.key, new.key}
    status = (await stage.person.the(DOMAIN, Ref("", stage.name)))["status"]
    assert [each["fingerprint"] for each in status["retiredAuthorities"]] == [old.fingerprint]

    await stage.later(WEEK + timedelta(seconds=TOLERANCE))
    await stage.settled()
    bundle = await stage.person.the("ConfigMap", Ref(stage.shop, "trust-bundle"))
    assert bundle["data"][EVENTS_BUNDLE_MAP] == bundle["data"]["bundle-map.json"]
    status = (await stage.person.the(DOMAIN, Ref("", stage.name)))["status"]
    assert "retiredAuthorities" not in status


@pytest.mark.long
async def test_retired_root_that_is_declared_compromised_verifies_no_event(
    stage: Stage, tmp_path: Path
) -> None:
    payments = await opened_shop(stage)
    await stage.settled()
    old, new = await rotated(stage)
    retired = old.fingerprint
    async with rotate_root(stage, "--compromised", retired, "--now") as command:
        ended = await command.ended()
    assert ended.code == 1
    assert f"the retired root {retired} will be revoked" in ended.errors

    async with rotate_root(stage, "--compromised", retired, "--now", "--yes", "-w") as command:
        ended = await live_on(stage, command)
    assert ended.code == 0, ended.errors
    await stage.settled()
    snapshot = await mounted(stage, payments, tmp_path / "after")
    assert roots(snapshot, events=True) == roots(snapshot, events=False) == {new.key}
    secret = await stage.person.the("Secret", Ref(stage.own, f"{stage.name}-authority"))
    assert "retired.json" not in secret["data"]

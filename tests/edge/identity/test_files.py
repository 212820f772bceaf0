"""Mounted files are reread when they change; an incomplete set keeps the last one."""

import json
import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.edge.mounts import (
    CHECKOUT,
    DOMAIN,
    KEY,
    PARTNER,
    PARTNER_KEY,
    PARTNER_ROOT,
    PAYMENTS,
    ROOT,
    Mounts,
    accepted,
    bundle_map,
    document,
    known,
    svid,
)
from tests.patience import PATIENCE
from tests.pki.builders import own_root
from troth.edge.identity.files import LOOK_EVERY, Identity, IdentityError
from troth.pki.bundles.spiffe_bundle import bundle_document, bundle_map_document
from troth.pki.keys.jwk import public_jwk

RETIRED_ROOT = own_root(which="retired")


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def later(self) -> None:
        self.now += LOOK_EVERY + 0.001


@pytest.fixture
def mounts(tmp_path: Path) -> Mounts:
    made = Mounts(tmp_path)
    made.write()
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def identity(mounts: Mounts, clock: Clock) -> Identity:
    return Identity(mounts.identity.path, mounts.bundle.path, clock=clock)


def test_mounted_files_are_read(identity: Identity, mounts: Mounts) -> None:
    current = identity.current
    assert (current.spiffe_id, current.trust_domain) == (PAYMENTS, DOMAIN)
    assert set(current.bundles) == {DOMAIN, PARTNER}
    assert current.certificate_thumbprint == known(PAYMENTS).thumbprint
    assert current.tls_key == mounts.identity.path / "tls.key"
    assert current.issuers == current.document.issuers


def test_unchanged_files_give_the_same_object(identity: Identity, clock: Clock) -> None:
    first = identity.current
    clock.later()
    assert identity.current is first


def test_rewritten_files_with_the_same_content_give_the_same_object(
    identity: Identity, mounts: Mounts, clock: Clock
) -> None:
    first = identity.current
    mounts.write()
    clock.later()
    assert identity.current is first


def test_files_are_checked_once_a_second(identity: Identity, mounts: Mounts, clock: Clock) -> None:
    first = identity.current
    mounts.write(accepts=[])
    assert identity.current is first
    clock.later()
    second = identity.current
    assert second.document.accepts == ()
    assert second != first
    assert second.generation > first.generation


def test_new_certificate_and_keys_are_used(
    identity: Identity, mounts: Mounts, clock: Clock
) -> None:
    first = identity.current
    fresh = svid(PAYMENTS)
    mounts.write(fresh, bundles=bundle_map(keys={DOMAIN: PARTNER_KEY}))
    clock.later()
    current = identity.current
    assert current.certificate_thumbprint == fresh.thumbprint
    assert current.bundles[DOMAIN].jwt_keys != first.bundles[DOMAIN].jwt_keys
    assert PARTNER not in current.bundles


def retired_beside() -> dict[str, Any]:
    """A bundle map for events: it has a retired root beside the live one."""
    anchors = (*ROOT.authority.anchors, *RETIRED_ROOT.authority.anchors)
    keys = [public_jwk(each.public_key()) for each in (KEY, PARTNER_KEY)]
    return bundle_map_document({DOMAIN: bundle_document(anchors, keys)})


def test_bundle_for_events_is_read_beside_the_live_one(
    identity: Identity, mounts: Mounts, clock: Clock
) -> None:
    first = identity.current
    assert first.event_bundles == first.bundles
    mounts.write_bundle(for_events=retired_beside())
    clock.later()
    current = identity.current
    assert current.bundles == first.bundles
    assert len(current.bundles[DOMAIN].x509_authorities) == 1
    assert len(current.event_bundles[DOMAIN].x509_authorities) == 2
    assert len(current.event_bundles[DOMAIN].jwt_keys) == 2


def test_bundle_for_events_that_changes_alone_is_read(
    identity: Identity, mounts: Mounts, clock: Clock
) -> None:
    mounts.write_bundle(for_events=retired_beside())
    assert len(identity.current.event_bundles[DOMAIN].x509_authorities) == 2
    write(mounts.bundle.path / "events-bundle-map.json", json.dumps(bundle_map()).encode())
    clock.later()
    assert identity.current.event_bundles == identity.current.bundles


def test_bundle_for_events_that_is_gone_is_the_live_one(
    identity: Identity, mounts: Mounts, clock: Clock
) -> None:
    mounts.write_bundle(for_events=retired_beside())
    assert identity.current.event_bundles != identity.current.bundles
    mounts.write_bundle()
    clock.later()
    assert identity.current.event_bundles == identity.current.bundles


@pytest.mark.parametrize(
    "content",
    [b"", b"{", json.dumps(retired_beside()).encode()[:200], b'{"trust_domains": {}}'],
    ids=["empty", "half", "cut", "of others"],
)
def test_unusable_bundle_for_events_leaves_the_last_files_in_use(
    content: bytes, identity: Identity, mounts: Mounts, clock: Clock
) -> None:
    mounts.write_bundle(for_events=retired_beside())
    first = identity.current
    write(mounts.bundle.path / "events-bundle-map.json", content)
    clock.later()
    assert identity.current is first
    whole = json.dumps(retired_beside()).encode()
    write(mounts.bundle.path / "events-bundle-map.json", whole)
    clock.later()
    assert identity.current is first, "its content is the same again"


def test_mount_without_a_certificate_has_none(
    identity: Identity, mounts: Mounts, clock: Clock
) -> None:
    for name in ("tls.crt", "tls.key"):
        (mounts.identity.path / name).unlink()
    assert identity.current.certificate_thumbprint is None
    with pytest.raises(IdentityError):
        identity.server_context()


def write(path: Path, content: bytes) -> None:
    """Write one file as a program does that knows nothing of readers."""
    path.unlink()
    path.write_bytes(content)


def half(name: str, mount: str = "identity") -> Callable[[Mounts], None]:
    def spoil(mounts: Mounts) -> None:
        path = getattr(mounts, mount).path / name
        content = path.read_bytes()
        write(path, content[: len(content) // 2])

    return spoil


def empty(name: str, mount: str = "identity") -> Callable[[Mounts], None]:
    return lambda mounts: write(getattr(mounts, mount).path / name, b"")


def gone(name: str, mount: str = "identity") -> Callable[[Mounts], None]:
    return lambda mounts: (getattr(mounts, mount).path / name).unlink()


def directory(mounts: Mounts) -> None:
    (mounts.identity.path / "ca.crt").unlink()
    (mounts.identity.path / "ca.crt").mkdir()


SPOILED: dict[str, Callable[[Mounts], None]] = {
    "identity.json half-written": half("identity.json"),
    "bundle half-written": half("bundle-map.json", "bundle"),
    "tls.crt half-written": half("tls.crt"),
    "tls.key half-written": half("tls.key"),
    "ca.crt half-written": half("ca.crt"),
    "identity.json empty": empty("identity.json"),
    "bundle empty": empty("bundle-map.json", "bundle"),
    "tls.crt empty": empty("tls.crt"),
    "identity.json gone": gone("identity.json"),
    "bundle gone": gone("bundle-map.json", "bundle"),
    "tls.key gone": gone("tls.key"),
    "ca.crt gone": gone("ca.crt"),
    "another key": lambda mounts: write(mounts.identity.path / "tls.key", svid(PAYMENTS).key),
    "another identity's certificate": lambda mounts: mounts.write(known(CHECKOUT)),
    "another identity's document": lambda mounts: write(
        mounts.identity.path / "identity.json", json.dumps(document(spiffeID=CHECKOUT)).encode()
    ),
    "a bundle of others": lambda mounts: mounts.write_bundle(
        bundle_map(keys={PARTNER: PARTNER_KEY}, roots={PARTNER: PARTNER_ROOT})
    ),
    "a directory": directory,
    "the mount gone": lambda mounts: shutil.rmtree(mounts.identity.path),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED.keys())
def test_incomplete_files_leave_the_last_ones_in_use(
    spoil: Callable[[Mounts], None],
    identity: Identity,
    mounts: Mounts,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = identity.current
    spoil(mounts)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            clock.later()
            assert identity.current is first
    assert len(caplog.records) == 1, "it is said once"
    assert "PRIVATE" not in caplog.text


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED.keys())
def test_identity_error_without_any_complete_files(
    spoil: Callable[[Mounts], None], identity: Identity, mounts: Mounts
) -> None:
    spoil(mounts)
    with pytest.raises(IdentityError):
        _ = identity.current


def test_file_completed_later_is_read_then(
    identity: Identity, mounts: Mounts, clock: Clock
) -> None:
    first = identity.current
    whole = json.dumps(document(accepts=[accepted(CHECKOUT, "new")])).encode()
    write(mounts.identity.path / "identity.json", whole[:100])
    clock.later()
    assert identity.current is first
    write(mounts.identity.path / "identity.json", whole)
    clock.later()
    assert identity.current.document.callers[CHECKOUT].granted["https"] == frozenset({"new"})


def test_certificate_is_used_once_its_key_has_followed(
    identity: Identity, mounts: Mounts, clock: Clock
) -> None:
    first, fresh = identity.current, svid(PAYMENTS)
    write(mounts.identity.path / "tls.crt", fresh.pem)
    clock.later()
    assert identity.current is first
    write(mounts.identity.path / "tls.key", fresh.key)
    clock.later()
    assert identity.current.certificate_thumbprint == fresh.thumbprint


def test_another_fault_is_logged_again(
    identity: Identity, mounts: Mounts, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    _ = identity.current
    for spoil in (half("identity.json"), gone("identity.json")):
        spoil(mounts)
        clock.later()
        _ = identity.current
    assert len(caplog.records) == 2


def test_identity_mounted_later_is_found(tmp_path: Path) -> None:
    mounts = Mounts(tmp_path)
    identity = Identity(mounts.identity.path, mounts.bundle.path)
    with pytest.raises(IdentityError):
        _ = identity.current
    mounts.write()
    assert identity.current.spiffe_id == PAYMENTS


def test_files_replaced_while_reading_are_read_again(
    identity: Identity, mounts: Mounts, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The document of one version and the certificate of the next are no set."""
    _ = identity.current
    turned: list[bool] = []
    read = Path.read_bytes

    def turning(path: Path) -> bytes:
        content = read(path)
        if path.name == "identity.json" and not turned:
            turned.append(True)
            mounts.write(accepts=[accepted(CHECKOUT, "second")])
        return content

    mounts.write(accepts=[accepted(CHECKOUT, "first")])
    monkeypatch.setattr(Path, "read_bytes", turning)
    clock.later()
    assert identity.current.document.callers[CHECKOUT].granted["https"] == frozenset({"second"})


def test_many_threads_read_while_files_are_replaced(mounts: Mounts) -> None:
    clock = Clock()
    identity = Identity(mounts.identity.path, mounts.bundle.path, clock=clock)
    failed: list[Exception] = []
    begun, done = threading.Barrier(5, timeout=PATIENCE), threading.Event()

    def read() -> None:
        try:
            assert identity.current.spiffe_id == PAYMENTS  # the first set may not change meanwhile
            begun.wait()
            while not done.is_set():
                clock.later()
                assert identity.current.spiffe_id == PAYMENTS
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a failure
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    begun.wait()
    for number in range(10):
        mounts.write(accepts=[accepted(CHECKOUT, f"scope-{number}")])
    done.set()
    for thread in threads:
        thread.join()
    assert not failed
    clock.later()
    assert identity.current.document.callers[CHECKOUT].granted["https"] == frozenset({"scope-9"})


def test_repr_has_no_secret(identity: Identity) -> None:
    shown = repr(identity.current) + str(identity.current)
    assert "PRIVATE" not in shown
    assert known(PAYMENTS).key.decode() not in shown
    assert ROOT.authority.fingerprint

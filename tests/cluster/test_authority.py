"""Unusable authorities: Troth reports them, does not replace them, and keeps what they signed.

Every leaf chains to its authority: a silently recreated root would cut every service off from every
other at its next renewal.
"""

import base64
from datetime import timedelta
from typing import Any

import pytest

from tests import builders
from tests.cluster.person import Manifest, condition, version
from tests.cluster.stage import DOMAIN, IDENTITY, Stage
from tests.pki.builders import Made, by_hand
from troth.resources.references import Ref

CHILDREN = ("Secret", "NetworkPolicy", "ConfigMap")
ROOT = by_hand("corporate root")
INTERMEDIATE = by_hand("corporate intermediate", ROOT, path_length=0)
LEAF = by_hand("no authority", ROOT, ca=False)


def encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()


def given(stage: Stage, made: Made = INTERMEDIATE, root: Made | None = ROOT) -> Manifest:
    """Return the Secret of a given authority; without `root` its chain has no trust anchor."""
    files = {"tls_crt": made.pem, "tls_key": made.key_pem}
    if root is not None:
        files["ca_crt"] = root.pem
    return builders.secret("corporate", stage.own, **files)


async def issued_by_a_given_authority(stage: Stage) -> tuple[Ref, Ref]:
    await stage.person.put(given(stage))
    domain = await stage.domain(authority={"secretRef": {"name": "corporate"}})
    await stage.run()
    payments, _ = await stage.pair()
    await stage.person.ready(DOMAIN, domain)
    await stage.settled()
    return domain, payments


def of(kinds: tuple[str, ...], versions: dict[tuple[str, str, str], str]) -> dict[Any, str]:
    return {key: number for key, number in versions.items() if key[0] in kinds}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        pytest.param({"tls.crt": encoded(b"no PEM")}, "NotPEM", id="not PEM"),
        pytest.param({"tls.crt": encoded(INTERMEDIATE.pem[:90])}, "PEMUnreadable", id="truncated"),
        pytest.param({"tls.crt": None}, "CertificateMissing", id="no certificate"),
        pytest.param({"tls.key": encoded(b"no PEM")}, "PrivateKeyUnreadable", id="key not PEM"),
        pytest.param({"tls.key": None}, "PrivateKeyUnreadable", id="no key"),
        pytest.param({"tls.key": encoded(ROOT.key_pem)}, "PrivateKeyMismatch", id="another's key"),
        pytest.param(
            {"tls.crt": encoded(LEAF.pem), "tls.key": encoded(LEAF.key_pem)},
            "NotAnAuthority",
            id="not a CA",
        ),
        pytest.param({"ca.crt": None}, "AnchorMissing", id="chain without root"),
        pytest.param({"ca.crt": encoded(by_hand("x").pem)}, "AnchorMismatch", id="foreign root"),
        pytest.param(
            {"ca.crt": encoded(INTERMEDIATE.pem)}, "AnchorNotSelfSigned", id="root is none"
        ),
    ],
)
async def test_corrupt_authority_is_reported_and_its_leaves_stay(
    stage: Stage, damage: Manifest, reason: str
) -> None:
    domain, payments = await issued_by_a_given_authority(stage)
    before, corporate = await stage.written(), Ref(stage.own, "corporate")
    await stage.person.edit("Secret", corporate, {"data": damage})
    said = await stage.person.hears(DOMAIN, domain, "AuthorityReady", reason, "False")
    assert said.startswith(f"Secret {corporate}: ")
    late = await stage.identity("late")
    await stage.person.hears(IDENTITY, late, "Ready", "AuthorityNotReady", "False")
    await stage.person.hears(
        IDENTITY, payments, "CertificateIssued", "AuthorityNotReady", "Unknown"
    )
    await stage.settled()
    now = await stage.written()
    assert of(("Secret", "ConfigMap"), now) == of(("Secret", "ConfigMap"), before)

    await stage.person.put(given(stage))
    await stage.person.edit("Secret", corporate, {"data": given(stage)["data"]})
    await stage.person.ready(DOMAIN, domain)
    await stage.person.ready(IDENTITY, late)
    await stage.person.ready(IDENTITY, payments)
    healed = await stage.written()
    assert of(("Secret", "ConfigMap"), before).items() <= healed.items()


async def test_fault_of_a_key_is_reported_without_the_key(stage: Stage) -> None:
    domain, _ = await issued_by_a_given_authority(stage)
    secret = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgLEAKED"
    damage = f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n"
    patch = {"data": {"tls.key": encoded(damage.encode())}}
    await stage.person.edit("Secret", Ref(stage.own, "corporate"), patch)
    told = await stage.person.sees(
        DOMAIN, domain, lambda seen: condition(seen, "AuthorityReady")["status"] == "False"
    )
    await stage.settled()
    events = await stage.person.all("Event", "default")
    assert secret not in str(told)
    assert secret not in str(events)


async def test_exchanged_authority_takes_over_step_by_step(stage: Stage) -> None:
    domain, payments = await issued_by_a_given_authority(stage)
    before = await stage.secret(payments)
    root = by_hand("another root")
    intermediate = by_hand("another intermediate", root, path_length=0)
    changed = given(stage, intermediate, root)["data"]
    await stage.person.edit("Secret", Ref(stage.own, "corporate"), {"data": changed})
    both = await stage.person.sees(
        "ConfigMap",
        Ref(stage.shop, "trust-bundle"),
        lambda seen: root.pem.decode() in seen["data"]["ca.crt"],
    )
    assert ROOT.pem.decode() in both["data"]["ca.crt"]
    assert (await stage.secret(payments))["data"]["tls.key"] == before["data"]["tls.key"]
    for _ in range(4):  # each step that others rely on waits for the propagation delay
        await stage.later(timedelta(minutes=4))
        await stage.settled()
    after = await stage.secret(payments)
    assert after["data"]["ca.crt"] == encoded(root.pem)
    assert intermediate.pem in base64.b64decode(after["data"]["tls.crt"])
    await stage.person.ready(DOMAIN, domain)
    bundle = await stage.person.the("ConfigMap", Ref(stage.shop, "trust-bundle"))
    assert bundle["data"]["ca.crt"].encode() == root.pem


async def with_a_root_of_its_own(stage: Stage) -> tuple[Ref, Ref]:
    domain = await stage.domain()
    await stage.run()
    payments, _ = await stage.pair()
    await stage.person.ready(DOMAIN, domain)
    await stage.settled()
    return domain, payments


async def test_deleted_root_is_never_silently_replaced(stage: Stage) -> None:
    domain, payments = await with_a_root_of_its_own(stage)
    root = Ref(stage.own, f"{domain.name}-authority")
    saved, before = await stage.person.the("Secret", root), await stage.written()

    await stage.person.delete("Secret", root)
    said = await stage.person.hears(DOMAIN, domain, "AuthorityReady", "AuthorityMissing", "False")
    assert "restore it from a backup" in said
    late = await stage.identity("late")
    await stage.person.hears(IDENTITY, late, "Ready", "AuthorityNotReady", "False")
    await stage.settled()
    await stage.look_again()
    assert await stage.person.get("Secret", root) is None
    now = await stage.written()
    assert of(("Secret", "ConfigMap"), now) == of(("Secret", "ConfigMap"), before)

    for field in ("uid", "resourceVersion", "creationTimestamp", "managedFields"):
        saved["metadata"].pop(field)
    await stage.person.put(saved)
    await stage.person.ready(DOMAIN, domain)
    await stage.person.ready(IDENTITY, late)
    await stage.person.ready(IDENTITY, payments)
    healed = await stage.written()
    assert of(("Secret", "ConfigMap"), before).items() <= healed.items()


async def test_deleted_root_is_not_replaced_by_a_restart(stage: Stage) -> None:
    domain, _ = await with_a_root_of_its_own(stage)
    root = Ref(stage.own, f"{domain.name}-authority")
    await stage.operator.stop()
    await stage.person.delete("Secret", root)
    await stage.run()
    await stage.person.hears(DOMAIN, domain, "AuthorityReady", "AuthorityMissing", "False")
    await stage.settled()
    assert await stage.person.get("Secret", root) is None


async def test_damaged_root_is_never_overwritten(stage: Stage) -> None:
    domain, payments = await with_a_root_of_its_own(stage)
    root = Ref(stage.own, f"{domain.name}-authority")
    before = await stage.secret(payments)
    damaged = await stage.person.edit("Secret", root, {"data": {"tls.key": encoded(b"gone")}})
    await stage.person.hears(DOMAIN, domain, "AuthorityReady", "PrivateKeyUnreadable", "False")
    await stage.settled()
    await stage.look_again()
    assert version(await stage.person.the("Secret", root)) == version(damaged)
    assert version(await stage.secret(payments)) == version(before)


async def test_root_outlives_its_trust_domain_and_is_used_again(stage: Stage) -> None:
    """A deleted key cannot be recovered, so a mistaken `kubectl delete` must cost nothing."""
    domain, payments = await with_a_root_of_its_own(stage)
    root, before = Ref(stage.own, f"{domain.name}-authority"), await stage.secret(payments)
    kept = version(await stage.person.the("Secret", root))
    await stage.person.delete(DOMAIN, domain)
    await stage.person.misses("ConfigMap", Ref(stage.shop, "trust-bundle"))
    await stage.person.hears(IDENTITY, payments, "Ready", "NoTrustDomain", "False")
    await stage.domain()
    await stage.person.ready(DOMAIN, domain)
    await stage.person.ready(IDENTITY, payments)
    await stage.settled()
    assert version(await stage.person.the("Secret", root)) == kept
    assert (await stage.secret(payments))["data"] == before["data"]

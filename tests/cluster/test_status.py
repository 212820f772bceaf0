"""`troth status` beside the operator, with the rights of its user."""

import json
from pathlib import Path

from tests import builders
from tests.cluster.command import Ended, begun, troth
from tests.cluster.stage import Stage
from tests.cluster.test_rotate import KEPT, ROTATION, ann, authorities, of_payments, opened_shop
from tests.cluster.webhooks.shop import KIND as ENDPOINT
from tests.cluster.webhooks.shop import opened
from tests.webhook_builders import endpoint
from troth.resources.manifests import dump
from troth.resources.references import Ref


async def test_status_shows_domains_rotations_and_identities(stage: Stage) -> None:
    payments = await opened_shop(stage)
    await stage.person.put(builders.rotation(namespace=stage.shop, **KEPT))
    await stage.person.ready(ROTATION, of_payments(stage))
    await stage.settled()  # so that the other rotation is ready, too
    admin = stage.sandbox.kubeconfig
    ended = await troth(admin, "status", "-n", stage.shop)
    assert ended.code == 0, ended.errors
    (root,) = await authorities(stage)
    for shown in (
        f"TrustDomain {stage.name}  ready",
        f"CredentialRotation {of_payments(stage)}  ready",
        "[Idle] → Prepared → Overlapping → Retiring",
        "1 ServiceIdentity, ready",
    ):
        assert shown in ended.output
    (line,) = [line for line in ended.output.splitlines() if root in line]
    assert "Active" in line
    assert "1 certificate" in line

    ended = await troth(admin, "status", "sid/payments", "-n", stage.shop, "-o", "json")
    report = json.loads(ended.output)
    (identity,) = report["serviceIdentities"]
    assert identity["certificate"]["authority"] == root
    assert Ref(identity["namespace"], identity["name"]) == payments
    assert [each["targetName"] for each in report["credentialRotations"]] == ["payments"]


async def test_status_shows_each_user_what_they_may_read(stage: Stage) -> None:
    await opened_shop(stage)
    await stage.person.put(builders.rotation(namespace=stage.shop))
    await stage.person.ready(ROTATION, of_payments(stage))
    kubeconfig = ann(stage, "get", "list")
    ended = await troth(kubeconfig, "status")
    assert ended.code == 0
    assert "1 CredentialRotation" in ended.output
    ended = await troth(kubeconfig, "status", "-n", stage.shop)
    assert f"CredentialRotation {of_payments(stage)}  ready" in ended.output
    assert (
        "TrustDomain: incomplete, because you are not allowed to list all of them" in ended.errors
    )


async def test_status_shows_webhooks_and_the_rotations_of_a_webhook_secret(
    stage: Stage,
) -> None:
    shop = await opened(stage)
    await stage.run()
    await shop.ready()
    await shop.declare(endpoint())
    await stage.person.put(builders.rotation(ENDPOINT, "stripe-charges", stage.shop, **KEPT))
    await stage.person.ready(ROTATION, Ref(stage.shop, "stripe-charges-rotation"))
    admin = stage.sandbox.kubeconfig
    ended = await troth(admin, "status", "-n", stage.shop)
    assert "1 WebhookEndpoint, ready" in ended.output, ended.errors

    ended = await troth(admin, "status", "wh/stripe-charges", "-n", stage.shop)
    (key,) = (await stage.person.the(ENDPOINT, shop.charges))["status"]["keys"]
    for shown in (
        f"WebhookEndpoint {shop.charges}  ready",
        f"StandardWebhooks, to port webhooks of {stage.shop}/payments, workflow settle-charge",
        f"k1  {key['fingerprint']}  Current  not used yet",
        "residual replay: none",
        f"CredentialRotation {stage.shop}/stripe-charges-rotation  ready",
    ):
        assert shown in ended.output, ended.errors
    assert "ServiceIdentity" not in ended.output


async def test_bare_status_shows_the_whole_cluster_on_one_screen(stage: Stage) -> None:
    payments = await opened_shop(stage)
    twin = builders.identity("twin", stage.shop, account="payments")
    await stage.person.put(twin)
    await stage.person.hears("ServiceIdentity", Ref.of(twin), "Ready", "SharedIdentity", "False")
    ended = await troth(stage.sandbox.kubeconfig, "status", "-o", "json")
    assert ended.code == 1, ended.errors
    seen = json.loads(ended.output)["overview"]
    rejected = {each["what"]: each["reason"] for each in seen["rejected"]}
    assert rejected[f"ServiceIdentity {payments}"] == "SharedIdentity"
    assert f"certificate of ServiceIdentity {payments}" in str(seen["expiring"])
    ended = await troth(stage.sandbox.kubeconfig, "status")
    assert "Rejected  " in ended.output
    assert "\x1b" not in ended.output


async def test_watch_shows_each_change(stage: Stage) -> None:
    payments = await opened_shop(stage)
    arguments = ("status", "-n", stage.shop, "--watch", "--interval", "1")
    async with begun(stage.sandbox.kubeconfig, *arguments) as command:
        await command.prints("1 ServiceIdentity, ready")
        await stage.person.put(builders.identity("twin", stage.shop, account="payments"))
        await command.prints(f"ServiceIdentity {payments}  not ready: SharedIdentity")


def said_of(stage: Stage, ended: Ended) -> list[str]:
    """Return the lines about this test's namespaces; the cluster has those of other tests, too."""
    return [line for line in ended.output.splitlines() if stage.name in line]


async def test_check_reports_what_manifests_break_in_the_cluster(
    stage: Stage, tmp_path: Path
) -> None:
    payments = await opened_shop(stage)
    file = tmp_path / "twin.yaml"
    own = ("-f", str(file), "--own-namespace", stage.own)
    file.write_text(dump(builders.identity("other", stage.shop)))
    ended = await troth(stage.sandbox.kubeconfig, "check", *own)
    assert said_of(stage, ended) == []
    file.write_text(dump(builders.identity("twin", stage.shop, account="payments")))
    ended = await troth(stage.sandbox.kubeconfig, "check", *own)
    assert ended.code == 1, ended
    (line,) = said_of(stage, ended)
    assert line.startswith(f"{file}:7: error: ServiceIdentity {stage.shop}/twin: spec.workload: ")
    assert f"ServiceIdentities {payments} and {stage.shop}/twin use the same" in line
    gone = builders.identity("lost", f"{stage.shop}-nowhere")
    file.write_text(dump(gone))
    ended = await troth(stage.sandbox.kubeconfig, "check", *own)
    assert "exists neither in the cluster nor in the manifests" in ended.output

"""The issuer on a real API server: its RBAC, its watch, its outages, and whom it authenticates."""

import asyncio
import base64
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest

from sandbox.faults import FaultyPath
from sandbox.processes import Tether
from tests import builders as declare
from tests.cluster.issuing import Issuer
from tests.cluster.person import Manifest, until
from tests.cluster.process import Process
from tests.cluster.stage import IDENTITY, Stage
from tests.issuer import builders
from tests.issuer.builders import CHECKOUT, DOMAIN, ISSUER, PAYMENTS, configuration, secret_data
from tests.issuer.running import caller, claims
from tests.patience import PATIENCE
from tests.pki.account_tokens import signed
from troth.pki.tokens.checks import verify_access_token
from troth.planning.owned_objects import secret_ref
from troth.resources.references import Ref


@pytest.fixture
def tether(tmp_path: Path) -> Iterator[Tether]:
    with Tether(tmp_path / "processes") as tied:
        tied.directory.mkdir()
        yield tied


@dataclass
class Setting:
    """A trust domain whose issuer Secret the test writes in place of the operator; its issuers."""

    stage: Stage
    tether: Tether
    kubeconfig: Path
    """The issuer's kubeconfig, for the ServiceAccount that the chart made."""
    written: int = field(default=0)

    @property
    def domain(self) -> str:
        return self.stage.name

    @property
    def secret(self) -> Ref:
        return Ref(self.stage.own, f"{self.domain}-tokens")

    @property
    def account(self) -> str:
        return f"{self.stage.own}-issuer-{self.domain}"

    async def write(
        self, document: dict[str, Any] | None = None, parts: dict[str, bytes] | None = None
    ) -> None:
        """Write the Secret as the operator would, with some parts replaced."""
        data = secret_data(document) | (parts or {})
        manifest = builders.secret(data, namespace=self.stage.own)
        manifest["metadata"] = {"name": self.secret.name, "namespace": self.secret.namespace}
        await self.stage.person.put(manifest)

    def issuer(self, name: str = "issuer") -> Issuer:
        return Issuer(self.tether, name, self.kubeconfig, self.stage.own, self.domain)


async def with_issuer(stage: Stage, tether: Tether) -> Setting:
    """Install an issuer for a trust domain of the test from the chart."""
    await stage.install(f"issuers[0].domain={stage.name}")
    account = Ref(stage.own, f"{stage.own}-issuer-{stage.name}")
    kubeconfig = await stage.kubeconfig_of(account)
    return Setting(stage, tether, kubeconfig)


@pytest.fixture
async def setting(stage: Stage, tether: Tether) -> Setting:
    return await with_issuer(stage, tether)


def check(answer: dict[str, Any]) -> Any:
    """Verify a token with the published keys; return the verified token."""
    return verify_access_token(
        answer["access_token"],
        bundles={DOMAIN: configuration().verifying},
        issuers={DOMAIN: ISSUER},
        audience=PAYMENTS,
        now=datetime.now(UTC).timestamp(),
    )


# RBAC


def kubectl(kubeconfig: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["kubectl", f"--kubeconfig={kubeconfig}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


async def test_issuer_can_only_read_one_secret_and_review_tokens(setting: Setting) -> None:
    mine = kubectl(setting.kubeconfig, "auth", "can-i", "--list", "-n", setting.stage.own)
    lines = [line.split() for line in mine.stdout.splitlines()[1:]]
    # every ServiceAccount may review itself and discover the API
    rights = [
        line
        for line in lines
        if not line[0].startswith(("selfsubject", "[/"))
        and not line[0].endswith((".authorization.k8s.io", "selfsubjectreviews"))
    ]
    assert sorted(rights) == [
        ["secrets", "[]", f"[{setting.secret.name}]", "[get", "list", "watch]"],
        ["tokenreviews.authentication.k8s.io", "[]", "[]", "[create]"],
    ]


async def test_issuer_can_read_nothing_else(setting: Setting) -> None:
    await setting.write()
    own, name = setting.stage.own, setting.secret.name
    assert kubectl(setting.kubeconfig, "get", "secret", name, "-n", own).returncode == 0
    for question in (
        ("secrets", "-n", own),
        ("secret", f"{setting.domain}-issuer", "-n", own),
        ("secrets", "-n", setting.stage.shop),
        ("secrets", "-A"),
        ("secrets", "-n", own, f"--field-selector=metadata.name={name}x"),
        ("configmaps", "-n", own),
        ("serviceidentities.troth.dev", "-A"),
        ("namespaces",),
        ("pods", "-n", own),
    ):
        answer = kubectl(setting.kubeconfig, "get", *question)
        assert "Forbidden" in answer.stderr, question
    for verb in ("create", "patch", "delete"):
        asked = kubectl(setting.kubeconfig, "auth", "can-i", verb, f"secret/{name}", "-n", own)
        assert asked.stdout.strip() == "no"


# Configuration


async def test_issuer_issues_only_while_its_configuration_exists(
    setting: Setting, tmp_path: Path
) -> None:
    issuer = setting.issuer()
    await issuer.serves()
    await issuer.unready()
    async with issuer.caller(caller(tmp_path)) as checkout:
        assert (await checkout.ask(PAYMENTS))["error"] == "temporarily_unavailable"
        await setting.write()
        await issuer.ready()
        token = check(await checkout.ask(PAYMENTS))
        assert token.subject == CHECKOUT
        assert token.thumbprint is not None

        await setting.stage.person.delete("Secret", setting.secret)
        await issuer.unready()
        assert (await checkout.ask(PAYMENTS))["error"] == "temporarily_unavailable"


async def test_removed_edge_gets_no_token(setting: Setting, tmp_path: Path) -> None:
    await setting.write()
    issuer = setting.issuer()
    await issuer.ready()
    async with issuer.caller(caller(tmp_path)) as checkout:
        check(await checkout.ask(PAYMENTS))
        await setting.write(builders.without_edge())
        refusal = await until(lambda: checkout.ask(PAYMENTS), lambda answer: "error" in answer)
        assert refusal["error"] == "invalid_target"


async def test_removed_edge_gets_no_token_while_the_watch_is_dead(
    setting: Setting, tmp_path: Path
) -> None:
    await setting.write()
    async with FaultyPath(setting.kubeconfig, tmp_path / "path") as path:
        setting.kubeconfig = path.kubeconfig
        issuer = setting.issuer()
        await issuer.ready()
        async with issuer.caller(caller(tmp_path)) as checkout:
            check(await checkout.ask(PAYMENTS))
            path.muted.add("secrets")
            await setting.write(builders.without_edge())
            await until(lambda: checkout.ask(PAYMENTS), lambda answer: "error" in answer)
        issuer.kill()


async def test_unreadable_configuration_changes_nothing(setting: Setting, tmp_path: Path) -> None:
    await setting.write()
    issuer = setting.issuer()
    await issuer.ready()
    await setting.write(parts={"view.json.gz": b"half"})

    async def told() -> bool:
        return "issuer configuration unreadable" in issuer.output

    await until(told, bool)
    async with issuer.caller(caller(tmp_path)) as checkout:
        check(await checkout.ask(PAYMENTS))
        await setting.write(builders.without_edge())
        await until(lambda: checkout.ask(PAYMENTS), lambda answer: "error" in answer)


# With the operator


async def test_issuer_grants_what_both_sides_declare_until_one_withdraws(
    stage: Stage, tether: Tether, tmp_path: Path
) -> None:
    setting = await with_issuer(stage, tether)
    operator = Process(tether, "operator", stage.kubeconfig, stage.own)
    await stage.domain(tokens={})
    accepts = declare.accept("web", scopes=["payments.charge", "payments.refund"])
    calls = declare.call("payments", scopes=["payments.charge", "payments.admin"])
    callee: Manifest = {"ports": ["https"], "authentication": {"token": {"lifetime": "2m"}}}
    payments = await stage.identity("payments", accepts=[accepts], **callee)
    web = await stage.identity("web", calls=[calls])
    for ref in (payments, web):
        await stage.person.ready(IDENTITY, ref)
    served = Ref(stage.own, f"{setting.domain}-issuer")
    files = await mounted(stage, served, tmp_path / "issuer")
    shown = await mounted(stage, secret_ref(web), tmp_path / "web")
    audience = f"spiffe://{stage.name}.example/ns/{stage.shop}/sa/payments"

    issuer = Issuer(tether, "issuer", setting.kubeconfig, stage.own, setting.domain, tls=files)
    await issuer.ready()
    async with issuer.caller(shown / "tls.crt") as caller_:
        answer = await until(lambda: caller_.ask(audience), lambda told: "error" not in told)
        assert answer["scope"] == "payments.charge"
        assert answer["expires_in"] == 120
        assert (await caller_.ask(audience, scope="payments.admin"))["error"] == "invalid_scope"
        claims_ = claims(answer["access_token"])
        assert claims_["iss"] == f"https://{issuer.host}:8443"
        assert claims_["sub"] == f"spiffe://{stage.name}.example/ns/{stage.shop}/sa/web"

        await stage.identity("payments", accepts=[], **callee)
        refusal = await until(lambda: caller_.ask(audience), lambda told: "error" in told)
        assert refusal["error"] == "invalid_target"

        operator.kill()
        await stage.person.sees("Secret", setting.secret)
        assert (await caller_.ask(audience))["error"] == "invalid_target"


async def mounted(stage: Stage, secret: Ref, directory: Path) -> Path:
    """Write a Secret's files as a kubelet would mount them, once it exists."""
    found = await stage.person.sees("Secret", secret, lambda each: "tls.crt" in each["data"])
    return laid_out(found, directory)


def laid_out(secret: Manifest, directory: Path) -> Path:
    directory.mkdir()
    for name, content in secret["data"].items():
        (directory / name).write_bytes(base64.b64decode(content))
    return directory


# Authentication


async def test_service_account_token_is_accepted_after_a_token_review(
    setting: Setting, tmp_path: Path
) -> None:
    shop = setting.stage.shop
    kubectl_ = setting.stage.sandbox.kubectl
    kubectl_("create", "serviceaccount", "checkout", "-n", shop)
    workload = f"spiffe://{DOMAIN}/ns/{shop}/sa/checkout"
    document = builders.view()
    document["callers"] = {workload: document["callers"][CHECKOUT]}
    await setting.write(document)
    issuer = setting.issuer()
    await issuer.ready()

    def account_token(*options: str) -> str:
        return kubectl_("create", "token", "checkout", "-n", shop, *options).strip()

    good = account_token("--audience", ISSUER)
    async with issuer.caller() as anybody, issuer.caller(caller(tmp_path)) as other:
        token = check(await anybody.exchange(good, PAYMENTS, scope="payments.charge"))
        assert (token.subject, token.scopes) == (workload, {"payments.charge"})
        assert token.thumbprint is None
        assert (await other.exchange(good, PAYMENTS))["error"] == "invalid_grant"
        for bad in (
            account_token(),
            account_token("--audience", f"{ISSUER}/"),
            good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB"),
        ):
            assert (await anybody.exchange(bad, PAYMENTS))["error"] == "invalid_grant"

        kubectl_("delete", "serviceaccount", "checkout", "-n", shop)
        refusal = await until(
            lambda: anybody.exchange(good, PAYMENTS), lambda answer: "error" in answer
        )
        assert refusal["error"] == "invalid_grant"
    assert good not in issuer.output
    assert good.split(".")[2] not in issuer.output


async def test_forged_token_causes_no_token_review(setting: Setting, tmp_path: Path) -> None:
    await setting.write()
    shop, kubectl_ = setting.stage.shop, setting.stage.sandbox.kubectl
    kubectl_("create", "serviceaccount", "checkout", "-n", shop)
    place = ("checkout", "-n", shop, "--audience", ISSUER)
    good = kubectl_("create", "token", *place).strip()
    kid = jwt.get_unverified_header(good)["kid"]
    said = claims(good)
    head, body, _ = good.split(".")
    _, another, signature = kubectl_("create", "token", *place).strip().split(".")
    forged = [
        signed(said, "another", kid),
        signed(said, "another"),
        signed(said, "another", kid, "ES256"),
        f"{head}.{body}.",
        f"{head}.{body}.{signature}",
        f"{head}.{another}x.{signature}",
    ]
    async with FaultyPath(setting.kubeconfig, tmp_path / "path") as path:
        setting.kubeconfig = path.kubeconfig
        issuer = setting.issuer()
        await issuer.ready()

        def reviews() -> int:
            return sum(call.resource == "tokenreviews" for call in path.asked)

        async with issuer.caller() as anybody:
            for token in forged:
                assert (await anybody.exchange(token, PAYMENTS))["error"] == "invalid_grant"
            assert reviews() == 0
            # the review identifies the account, which has no declared edge here
            assert (await anybody.exchange(good, PAYMENTS))["error"] == "unauthorized_client"
            assert reviews() == 1
        assert "troth_issuer_cluster_keys_readable 1.0" in await issuer.health("metrics")
        issuer.kill()


# Outages


async def test_issuer_works_without_the_api_server_and_revokes_when_it_is_back(
    lonely_stage: Stage, tether: Tether, tmp_path: Path
) -> None:
    setting = await with_issuer(lonely_stage, tether)
    await setting.write()
    issuer = setting.issuer()
    await issuer.ready()
    kubectl_ = lonely_stage.sandbox.kubectl
    kubectl_("create", "serviceaccount", "checkout", "-n", lonely_stage.shop)
    account = kubectl_(
        *("create", "token", "checkout", "-n", lonely_stage.shop, "--audience", ISSUER)
    ).strip()

    lonely_stage.sandbox.stop_api_server(grace=0)
    async with issuer.caller(caller(tmp_path)) as checkout, issuer.caller() as anybody:
        for _ in range(5):
            check(await checkout.ask(PAYMENTS))
            refusal = await anybody.exchange(account, PAYMENTS)
            assert refusal["error"] == "temporarily_unavailable"
            await asyncio.sleep(0.5)
        assert await issuer.health("readyz") == "ok\n"

        lonely_stage.sandbox.start_api_server()
        await setting.write(builders.without_edge())
        await until(lambda: checkout.ask(PAYMENTS), lambda answer: "error" in answer)


async def test_copies_share_nothing_and_one_may_be_killed(setting: Setting, tmp_path: Path) -> None:
    await setting.write()
    first, second = setting.issuer("first"), setting.issuer("second")
    await first.ready()
    await second.ready()
    certificate = caller(tmp_path)
    async with first.caller(certificate) as one, second.caller(certificate) as other:
        tokens = [check(await each.ask(PAYMENTS)) for each in (one, other)]
        assert tokens[0].token_id != tokens[1].token_id
        first.kill()
        check(await other.ask(PAYMENTS))
    again = setting.issuer("again")
    await again.ready()
    async with again.caller(certificate) as one:
        check(await one.ask(PAYMENTS))


async def test_issuer_stops_on_sigterm_and_logs_no_secret(setting: Setting, tmp_path: Path) -> None:
    await setting.write()
    issuer = setting.issuer()
    await issuer.ready()
    async with issuer.caller(caller(tmp_path)) as checkout:
        answer = await checkout.ask(PAYMENTS)
        metrics = await issuer.health("metrics")
        issuer.stop()
    issued = 'troth_issuer_decisions_total{grant="client_credentials",outcome="issued"} 1.0'
    assert issued in metrics
    assert "troth_issuer_view_age_seconds " in metrics
    assert "troth_event_loop_longest_stall_seconds " in metrics
    lines = [json.loads(line) for line in issuer.output.splitlines()]
    (decided,) = [line for line in lines if line["event"] == "decided"]
    assert decided["token_id"] == check(answer).token_id
    for secret in (answer["access_token"], answer["access_token"].split(".")[2], "PRIVATE KEY"):
        assert secret not in issuer.output
    assert "Traceback" not in issuer.output
    assert not [line for line in lines if line["level"] in ("error", "critical")]

"""Actions of users, faults, and changes in the cluster during one run of the operator."""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping

from tests import builders
from tests.cluster.person import Manifest, Refused, condition, until
from tests.cluster.stage import DOMAIN, IDENTITY, Stage, leaf_of
from tests.cluster.test_authority import ROOT, encoded, given
from tests.leaks.run import CONSOLE, JSON, Run
from tests.pki.builders import by_hand
from troth.pki.keys.private import generate_key, private_key_pem
from troth.planning.owned_objects import secret_ref
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.manifests import dump
from troth.resources.references import Ref
from troth.world.facts.objects import MANAGED_BY, OWNER_KIND, OWNER_NAME

SUCCESSOR = by_hand("corporate successor", ROOT, path_length=0)
MISLAID = private_key_pem(generate_key(KeyAlgorithm.ECDSA_P384))
"""A private key that users put into the wrong places."""
PROMPT = {"propagation": "1s"}
EVERY_KEY = {"mtls": {"keystores": ["PKCS12"], "keyAlgorithm": "Ed25519"}}
"""Authentication with a key in PEM and in a keystore, which has a password."""


async def everything_is_made(run: Run) -> tuple[Ref, Ref]:
    """Create a generated and a given root, identities with keys of every kind, and an edge."""
    stage, person = run.stage, run.stage.person
    stage.sandbox.kubectl("apply", "-f", "-", stdin=json.dumps(given(stage)))
    domain = await stage.domain(bundle=PROMPT)
    other = await stage.namespace(f"{stage.name}-given")
    await stage.domain(
        "-given",
        domain="given.example",
        namespaceSelector={"matchLabels": {"domain": f"{stage.name}-given"}},
        authority={"secretRef": {"name": "corporate"}},
        bundle=PROMPT,
    )
    payments = await stage.identity(
        "payments",
        ports=["https"],
        accepts=[builders.accept("web")],
        authentication=EVERY_KEY,
    )
    web = await stage.identity("web", calls=[builders.call("payments")])
    ledger = await stage.identity(
        "ledger", other, authentication={"mtls": {"keyAlgorithm": "RSA-2048"}}
    )
    for ref in (payments, web, ledger):
        await person.ready(IDENTITY, ref)
    for name in ("", "-given"):
        await person.ready(DOMAIN, Ref("", f"{domain.name}{name}"))
    await person.hears(IDENTITY, payments, "PeersAgree", "AllLive", "True")
    return payments, web


async def people_look(run: Run) -> None:
    """Run every command with every right, and scrape the metrics."""
    folder = run.files.parent / "manifests"
    folder.mkdir()
    changed = builders.identity("web", run.stage.shop, ports=["https"])
    (folder / "web.yaml").write_text(dump(changed))
    own = ("-f", str(folder), "--own-namespace", run.stage.own)
    planned = await run.ask("plan", *own)
    assert planned.code == 1, planned.errors
    checked = [await run.ask("check", *own, "-o", form) for form in ("text", "json", "github")]
    assert all(each.code in (0, 1) for each in checked), checked
    told = await asyncio.gather(
        *(run.ask("graph", "-o", output) for output in ("mermaid", "json")),
        *(run.ask("status", "-A", "-o", output) for output in ("text", "json")),
    )
    assert all(each.code in (0, 1) for each in told), told
    for log_format in (CONSOLE, JSON):
        await run.scrape(log_format)


async def everything_is_replaced(run: Run, payments: Ref) -> None:
    """Replace a leaf, a root and a given CA."""
    stage, person = run.stage, run.stage.person
    asked = await run.ask("rotate", "sid/payments", "-n", stage.shop, "--now", "--watch")
    assert asked.code == 0, asked.errors
    asked = await run.ask("rotate", f"td/{stage.name}", "-n", stage.own, "--now", "--watch")
    assert asked.code == 0, asked.errors
    before = await person.the(DOMAIN, Ref("", f"{stage.name}-given"))
    corporate = Ref(stage.own, "corporate")
    for data in ({"tls.crt": SUCCESSOR.pem}, {"tls.key": SUCCESSOR.key_pem}):  # one at a time
        await person.edit("Secret", corporate, {"data": in_a_secret(data)})
    await person.sees(
        DOMAIN,
        Ref("", f"{stage.name}-given"),
        lambda seen: seen["status"]["authorities"] != before["status"]["authorities"],
    )


async def people_mislay_keys(run: Run, payments: Ref) -> None:
    """Put broken and foreign keys into Secrets, and keys in place of certificates and names."""
    stage, person = run.stage, run.stage.person
    place = secret_ref(payments)
    whole = base64.b64decode((await stage.secret(payments))["data"]["tls.key"])
    for damage in (
        {"tls.key": MISLAID},
        {"tls.key": whole[:-40]},
        {"tls.key": b"no key at all, copied in a hurry"},
        {"tls.crt": leaf_pem(await stage.secret(payments)) + MISLAID},
        {"ca.crt": MISLAID},
        {"identity.json": MISLAID},
        {"identity.json": json.dumps({"tls.key": MISLAID.decode()}).encode()},
        {"keystore-password": b"a password of somebody's own"},
        {"keystore.p12": MISLAID},
    ):
        data = in_a_secret(damage)
        await person.edit("Secret", place, {"data": data})
        await person.sees("Secret", place, unlike(data))
    await a_plan_meets_a_mislaid_key(run, place)
    await strange_secrets_stand_in_the_way(run)
    corporate = Ref(stage.own, "corporate")
    for key in (MISLAID, MISLAID[:-60], ROOT.key_pem + MISLAID):
        await person.edit("Secret", corporate, {"data": {"tls.key": encoded(key)}})
    mixed = in_a_secret({"tls.crt": SUCCESSOR.pem + MISLAID, "tls.key": SUCCESSOR.key_pem})
    await person.edit("Secret", corporate, {"data": mixed})
    await person.hears(DOMAIN, Ref("", f"{stage.name}-given"), "Ready", "NotACertificate", "False")


async def a_plan_meets_a_mislaid_key(run: Run, place: Ref) -> None:
    """Run `troth plan` on Secrets that the operator did not restore, because its watch is muted."""
    run.wire.path.muted.add("secrets")
    for mislaid in (MISLAID, json.dumps({"tls.key": MISLAID.decode()}).encode()):
        data = in_a_secret({"identity.json": mislaid, "ca.crt": MISLAID})
        await run.stage.person.edit("Secret", place, {"data": data})
        folder = str(run.files.parent / "manifests")
        planned = await run.ask("plan", "-f", folder, "--namespace", run.stage.own)
        assert f"~ Secret {place}" in planned.output
    run.wire.path.muted.clear()
    run.wire.path.cut("secrets")
    await run.stage.person.sees("Secret", place, unlike(data))


async def strange_secrets_stand_in_the_way(run: Run) -> None:
    """Create Secrets of needed names: a foreign one, and one with Troth's labels."""
    stage, person = run.stage, run.stage.person
    for name, labels in (("mine", {}), ("yours", ours("yours"))):
        strange = builders.secret(
            f"{name}-identity", stage.shop, tls_key=MISLAID, other=b"\xff" * 20
        )
        strange["metadata"]["labels"] = labels
        await person.put({**strange, "type": "example.com/odd"})
        ref = await stage.identity(name)
        await person.hears(IDENTITY, ref, "CertificateIssued", "Conflict", "False")


def ours(name: str) -> dict[str, str]:
    return {MANAGED_BY: "troth", OWNER_KIND: IDENTITY, OWNER_NAME: name}


async def refusals_quote(run: Run) -> None:
    """Reject every write of a Secret, a status or an Event with a message that quotes it."""
    stage, person, wire = run.stage, run.stage.person, run.wire
    for code in (403, 422, 500):
        # payments' own Secret is contested, since people changed it often
        damaged = await stage.identity(f"damaged-{code}", authentication=EVERY_KEY)
        await person.ready(IDENTITY, damaged)
        wire.path.always("PATCH", "secrets", wire.echo(code))
        wire.path.once("PATCH", "serviceidentities", wire.echo(code))
        wire.path.once("PATCH", "networkpolicies", wire.echo(code))
        wire.path.always("POST", "events", wire.echo(code))
        late = await stage.identity(f"late-{code}")
        await person.sees(IDENTITY, late, tells_of_a_refusal)
        data = in_a_secret({"identity.json": b"{}", "tls.key": MISLAID})
        await person.edit("Secret", secret_ref(damaged), {"data": data})
        await person.sees(IDENTITY, damaged, tells_of_a_refusal)
        wire.be_well()
        await person.ready(IDENTITY, late)
        await person.ready(IDENTITY, damaged)
    for code in (500, 410):  # the second one causes a new list
        wire.path.once("WATCH", "secrets", wire.echo(code))
    wire.path.once("GET", "secrets", wire.echo(500))
    wire.path.cut("secrets")
    await until(wire.pending, lambda calls: not calls)


def tells_of_a_refusal(identity: Manifest) -> bool:
    said = condition(identity, "CertificateIssued").get("message", "")
    return "cannot be written" in said


async def a_policy_of_the_api_server_quotes(run: Run) -> None:
    """Have the API server itself reject a Secret with a message that quotes its key."""
    stage, name = run.stage, f"quoting-{run.stage.name}"
    constraints = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": stage.shop}},
        "resourceRules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["secrets"],
            }
        ],
    }
    rule = {
        "expression": "object.metadata.name != 'unwanted-identity'",
        "messageExpression": "'not with the key ' + string(object.data['tls.key'])",
    }
    group = "admissionregistration.k8s.io/v1"
    policy = {
        "apiVersion": group,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {"matchConstraints": constraints, "validations": [rule]},
    }
    binding = {
        "apiVersion": group,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    kubectl = stage.sandbox.kubectl
    kubectl("apply", "-f", "-", stdin=dump(policy) + "---\n" + dump(binding))
    try:
        probe = builders.secret("unwanted-identity", stage.shop, tls_key=MISLAID)
        await until(lambda: refused_with_the_key(stage, probe), bool)
        unwanted = await stage.identity("unwanted")
        await stage.person.sees(IDENTITY, unwanted, tells_of_a_refusal)
    finally:
        for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
            kubectl("delete", kind, name)


async def refused_with_the_key(stage: Stage, probe: Manifest) -> bool:
    """Return whether the policy is in force, which takes a moment; its message then has the key."""
    try:
        await stage.person.put(probe)
    except Refused as refusal:
        return probe["data"]["tls.key"] in str(refusal)
    await stage.person.delete("Secret", Ref.of(probe))
    return False


async def answers_make_no_sense(run: Run, web: Ref, log_format: str) -> None:
    """Cause tracebacks: by a malformed response, and by one after a rejection that quotes."""
    person, wire = run.stage.person, run.wire
    before = leaf_of(await run.stage.secret(web)).serial_number
    wire.path.once("PATCH", "secrets", wire.nonsense)
    await person.edit("Secret", secret_ref(web), {"data": {"tls.key": encoded(MISLAID)}})
    await person.sees("Secret", secret_ref(web), lambda seen: leaf_of(seen).serial_number != before)
    wire.path.once("PATCH", "secrets", wire.echo(409))
    wire.path.once("GET", "secrets", wire.nonsense)
    await person.ready(IDENTITY, await run.stage.identity(f"logged-in-{log_format}"))


async def people_err(run: Run) -> None:
    """Run commands that must fail: without access, or with malformed input."""
    folder = run.files.parent / "faulty"
    folder.mkdir()
    secret = builders.secret("a", "b", tls_key=MISLAID)
    (folder / "secret.yaml").write_text(dump(secret) + f"\nx: [{MISLAID.decode()}\n")
    (folder / "named.yaml").write_text(dump({**secret, "metadata": {"tls.key": "x"}}))
    text = run.stage.kubeconfig.read_text()
    commands = [run.ask("plan", "-f", str(folder))]
    for command, broken in (
        (["status"], text.replace("token: ", "token: [") + "]"),
        (["status"], text.replace("token: ", "tokens: ")),
        (["rotate", "sid/payments", "--now"], text.replace("token: ", "token: x")),
    ):
        kubeconfig = folder / f"{len(commands)}.kubeconfig"
        kubeconfig.write_text(broken)
        commands.append(run.ask(*command, "-n", run.stage.shop, kubeconfig=kubeconfig))
    told = await asyncio.gather(*commands)
    assert [each.code for each in told] == [2] * 4, told


async def everything_goes(run: Run, payments: Ref) -> None:
    """Delete everything that was declared."""
    stage, person = run.stage, run.stage.person
    await person.delete(IDENTITY, Ref(stage.shop, ""))
    await person.misses("Secret", secret_ref(payments))
    for name in stage.domains:
        await person.delete(DOMAIN, Ref("", name))
    await run.scrape(JSON)


async def a_watch_makes_no_sense(run: Run) -> None:
    """Send malformed events; the operator logs them and continues."""
    run.wire.path.always("WATCH", "secrets", run.wire.nonsense_watched)
    run.wire.path.cut("secrets")

    async def log() -> str:
        return run.log(JSON)

    await until(log, lambda text: "MalformedEvent" in text)


def in_a_secret(data: Mapping[str, bytes]) -> dict[str, str]:
    return {key: encoded(value) for key, value in data.items()}


def unlike(data: Manifest) -> Callable[[Manifest], bool]:
    """Return a predicate: whether a Secret's values differ from these."""
    return lambda secret: all(secret["data"].get(key) != value for key, value in data.items())


def leaf_pem(secret: Manifest) -> bytes:
    return base64.b64decode(secret["data"]["tls.crt"])

"""`troth check` says what is wrong in which line, and its exit code says whether anything is."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from tests.broker_builders import publisher
from tests.builders import Manifest, gateway_only, namespace, stamp, unverified
from tests.cli import market
from tests.cli.api_server import serving
from tests.cli.running import Ended, troth
from tests.cli.shop import SHOP, written
from tests.messaging import broker
from troth.cli.inputs import files
from troth.cluster.resources import RESOURCES
from troth.reconcile.loop.informers import selections
from troth.resources.manifests import dump

AGREED = SHOP.replace("  - {to: {name: ledger}, ports: [https]}\n", "")
"""A shop in which both sides declare every edge."""
NAMESPACE = AGREED.partition("---")[0]
REST = AGREED.partition("---")[2]


def checked(text: str, *arguments: str) -> Ended:
    return troth("check", "-f", "-", *arguments, given=text.encode())


def test_correct_manifests_have_no_findings() -> None:
    ended = checked(AGREED)
    assert (ended.code, ended.output, ended.errors) == (0, "", "")


@pytest.mark.parametrize(
    ("wrong", "right", "line"),
    [
        (
            "prts: [https], scopes",
            "ports: [https], scopes",
            (
                "<stdin>:25: error: ServiceIdentity shop/payments: spec.accepts[0].prts: unknown "
                "field; "
                "did you mean ports? [UnknownField]"
            ),
        ),
        (
            "mtls: {lifetime: soon}}\n  accepts",
            "mtls: {}}\n  accepts",
            (
                "<stdin>:23: error: ServiceIdentity shop/payments: "
                "spec.authentication.mtls.lifetime: "
                '"soon": write a duration in hours, minutes and seconds, such as 24h, 90m or 1h30m '
                "[InvalidField]"
            ),
        ),
        (
            "{serviceAccountName: checkout, serviceAccountName: web, podSel",
            "{serviceAccountName: checkout, podSel",
            (
                "<stdin>:31: error: ServiceIdentity shop/checkout: "
                "spec.workload.serviceAccountName: "
                "duplicate key; it is also in line 31; keep one of the two [DuplicateKey]"
            ),
        ),
        (
            "apiVersion: troth.dev/v1beta1\nkind: TrustDomain",
            "apiVersion: troth.dev/v1alpha1\nkind: TrustDomain",
            (
                '<stdin>:6: error: TrustDomain production: apiVersion: "troth.dev/v1beta1": has '
                "no such "
                "kind; write troth.dev/v1alpha1 [WrongAPIVersion]"
            ),
        ),
        (
            "apiVersion: throt.dev/v1alpha1\nkind: TrustDomain",
            "apiVersion: troth.dev/v1alpha1\nkind: TrustDomain",
            (
                '<stdin>:6: error: TrustDomain production: apiVersion: "throt.dev/v1alpha1": has '
                "no "
                "such kind; write troth.dev/v1alpha1 [WrongAPIVersion]"
            ),
        ),
        (
            "kind: ServiceIdentiy\nmetadata: {name: checkout",
            "kind: ServiceIdentity\nmetadata: {name: checkout",
            (
                '<stdin>:28: error: ServiceIdentiy shop/checkout: kind: "ServiceIdentiy": '
                "unknown; did "
                "you mean ServiceIdentity? write one of TrustDomain, ServiceIdentity, "
                "MessageBroker, "
                "TopicPolicy, WebhookEndpoint, CredentialRotation, FindingException, "
                "DeadLetterReview [UnknownKind]"
            ),
        ),
        (
            "metadata: {name: checkout}",
            "metadata: {name: checkout, namespace: shop}",
            (
                "<stdin>:29: error: ServiceIdentity default/checkout: metadata.namespace: "
                "required; add "
                "it, or name with --namespace the namespace to which the manifests are applied "
                "[NamespaceUnset]"
            ),
        ),
    ],
)
def test_fault_is_one_line_with_place_value_and_what_to_write(
    wrong: str, right: str, line: str
) -> None:
    assert right in AGREED
    ended = checked(AGREED.replace(right, wrong, 1))
    assert ended.code == 1
    assert ended.lines == [line]


def test_fault_of_one_resource_is_not_a_finding_of_its_peers() -> None:
    ended = checked(AGREED.replace("mtls: {}}\n  accepts", "mtls: {lifetime: soon}}\n  accepts"))
    assert len(ended.lines) == 1


@pytest.mark.parametrize(
    "manifest",
    [
        "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: a}\nspec: 7",
        "apiVersion: serviceusage.cnrm.cloud.google.com/v1beta1\nkind: ServiceIdentity\nspec: 7",
        "apiVersion: apps/v1\nkind: Deployment\nspec: {a: 1, a: 2}",
    ],
)
def test_kinds_of_others_are_ignored(manifest: str) -> None:
    assert checked(f"{AGREED}---\n{manifest}\n").code == 0


def test_edge_that_one_side_declares_is_a_finding_in_the_line_of_the_entry() -> None:
    ended = checked(SHOP)
    assert ended.code == 1
    assert ended.lines == [
        (
            "<stdin>:35: error: ServiceIdentity shop/checkout: spec.calls[1]: ServiceIdentity "
            "shop/ledger does not exist; create it or remove the entry [PeerMissing]"
        )
    ]


def test_grant_that_one_side_declares_is_a_finding(tmp_path: Path) -> None:
    silent = publisher()
    del silent["spec"]["publishes"]
    ended = troth("check", "-f", str(market.written(tmp_path, silent)))
    (line,) = ended.lines
    assert "TopicPolicy shop/orders: spec.producers[0]: shop/checkout does not name" in line
    assert ended.code == 1


RIVAL = """
apiVersion: troth.dev/v1alpha1
kind: ServiceIdentity
metadata: {name: audit, namespace: shop}
spec:
  workload:
    serviceAccountName: SERVICE_ACCOUNT
    podSelector: SELECTOR
  authentication: {mtls: {}}
"""


@pytest.mark.parametrize(
    ("account", "selector", "told"),
    [
        ("payments", "{matchLabels: {app: audit}}", "use the same ServiceAccount payments"),
        ("audit", "{matchExpressions: [{key: app, operator: Exists}]}", "select the same pods as"),
    ],
)
def test_shared_identity_is_a_finding_of_the_one_to_change_alone(
    account: str, selector: str, told: str
) -> None:
    rival = RIVAL.replace("SERVICE_ACCOUNT", account).replace("SELECTOR", selector)
    ended = checked(f"{rival}---\n{AGREED}")
    assert ended.code == 1
    for line in ended.lines:
        assert line.startswith("<stdin>:6: error: ServiceIdentity shop/audit: spec.workload: ")
        assert told in line
    assert len(set(ended.lines)) == len(ended.lines)


def test_missing_namespace_is_one_finding_with_both_remedies() -> None:
    ended = checked(REST)
    assert ended.code == 1
    assert ended.lines == [
        (
            "<stdin>:13: error: ServiceIdentity shop/payments: metadata.namespace: Namespace shop "
            "is not among the manifests; add it with -f or --assume, or name its labels with "
            "--assume-namespace shop,LABEL=VALUE [NamespaceMissing]"
        )
    ]


def test_namespace_is_taken_from_a_flag_or_from_assumed_manifests(tmp_path: Path) -> None:
    assert checked(REST, "--assume-namespace", "shop,environment=production").code == 0
    (tmp_path / "namespaces.yaml").write_text(NAMESPACE)
    assert checked(REST, "--assume", str(tmp_path)).code == 0
    unnamed = REST.replace(", namespace: shop", "")
    assert checked(unnamed, "-n", "shop", "--assume", str(tmp_path)).code == 0
    labels = checked(REST, "--assume-namespace", "shop")
    assert (labels.code, len(labels.lines)) == (1, 1)
    assert "no TrustDomain selects namespace shop" in labels.output
    assert "(also ServiceIdentity shop/" in labels.output


def test_namespace_that_troth_does_not_watch_is_one_finding_beside_that_of_the_domain() -> None:
    ended = checked(AGREED, "--watched-namespaces", "legal,tax")
    assert ended.code == 1
    assert ended.lines == [
        (
            "<stdin>:6: error: TrustDomain production: the namespaceSelector selects namespaces "
            "that Troth does not watch, so it issues and opens nothing there: shop; add them to "
            "the chart value namespaces, or change the selector [NamespaceNotWatched]"
        ),
        (
            "<stdin>:17: error: ServiceIdentity shop/payments: metadata.namespace: Troth does not "
            "watch namespace shop; add it to the chart value namespaces [NamespaceNotWatched]"
        ),
    ]
    assert checked(AGREED, "--watched-namespaces", "shop").code == 0


def test_entry_that_names_a_namespace_that_troth_does_not_watch_is_a_finding() -> None:
    abroad = AGREED.replace("- {from: {name: checkout}", "- {from: {name: web, namespace: legal}")
    ended = checked(abroad, "--watched-namespaces", "shop")
    assert "ServiceIdentity legal/web has no effect, because Troth does not watch" in ended.output


def test_name_of_a_watched_namespace_is_checked() -> None:
    ended = checked(AGREED, "--watched-namespaces", "shop,Legal_1")
    assert ended.code == 2
    assert '--watched-namespaces: "Legal_1" is not the name of a namespace' in ended.errors


def test_watched_namespaces_are_those_of_the_cluster(tmp_path: Path) -> None:
    domain, *_ = [each for each in yaml.safe_load_all(AGREED) if each["kind"] == "TrustDomain"]
    objects: dict[str, list[Manifest]] = {
        RESOURCES[each.kind].name: [] for each in selections("troth-system")
    }
    objects["namespaces"] = [namespace("shop", domain="production")]
    for watched, code in ((["legal"], 1), (["shop"], 0), ([], 0)):
        told = domain | {"status": {"watchedNamespaces": watched}}
        with serving(tmp_path, objects | {"trustdomains": [told]}) as served:
            ended = checked(AGREED, "--kubeconfig", str(served.kubeconfig))
        assert (ended.code, "NamespaceNotWatched" in ended.output) == (code, bool(code))


def test_empty_name_and_empty_namespace_say_what_to_write() -> None:
    ended = checked(AGREED.replace("name: checkout, n", 'name: "", n', 1))
    (line,) = [each for each in ended.lines if "metadata" in each]
    assert line.endswith("metadata.name: required; add it [MissingField]")
    ended = checked(AGREED.replace("checkout, namespace: shop", 'checkout, namespace: ""'))
    (line,) = [each for each in ended.lines if "metadata" in each]
    told = 'metadata.namespace: "": name a namespace, or remove the field [InvalidField]'
    assert line.endswith(told)


def test_namespace_flag_is_for_assumed_manifests_too(tmp_path: Path) -> None:
    *assumed, caller, _ = AGREED.replace(", namespace: shop", "").split("---")
    (tmp_path / "others.yaml").write_text("---".join(assumed))
    ended = checked(caller, "-n", "shop", "--assume", str(tmp_path))
    assert (ended.code, ended.output, ended.errors) == (0, "", "")


def test_assumed_manifests_have_no_findings_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "others.yaml").write_text(SHOP)  # in which an edge is half-declared
    nothing = "apiVersion: v1\nkind: Namespace\nmetadata: {name: new}\n"
    assert checked(nothing, "--assume", str(tmp_path)).code == 0


def ending_in(days: int) -> str:
    """Return a shop whose payments trusts a gateway until then."""
    until = market.later(timedelta(days=days))
    documents = list(yaml.safe_load_all(AGREED))
    documents[2]["spec"]["authentication"] = gateway_only("checkout", until)
    documents[2]["spec"]["accepts"][0].pop("scopes")
    return "---\n".join(map(dump, documents))


@pytest.mark.parametrize(
    ("days", "severity", "reason"),
    [(60, "", ""), (5, "warning", "GatewayTrustEnding"), (-1, "error", "GatewayTrustExpired")],
)
def test_end_of_gateway_trust_is_announced(days: int, severity: str, reason: str) -> None:
    ended = checked(ending_in(days))
    assert ended.code == bool(severity)
    assert len(ended.lines) == bool(severity)
    if severity:
        assert f": {severity}: ServiceIdentity shop/payments: " in ended.output
        assert f"[{reason}]" in ended.output
        assert checked(ending_in(days), "--fail-on", "error").code == (severity == "error")


def test_end_of_gateway_trust_is_announced_in_a_plan_too() -> None:
    assert "[GatewayTrustEnding]" in troth("plan", "-f", "-", given=ending_in(5).encode()).output


def test_end_of_each_unverified_peer_is_announced() -> None:
    documents = list(yaml.safe_load_all(AGREED))
    for days in (5, 60, -1):
        until = market.later(timedelta(days=days))
        peer = unverified(cidrs=[f"203.0.113.{days % 7}/32"], expiresAt=stamp(until))
        documents[2]["spec"]["accepts"].append(peer)
    ended = checked("---\n".join(map(dump, documents)))
    assert [line.rpartition("[")[2] for line in ended.lines] == [
        "UnverifiedEnding]",
        "UnverifiedExpired]",
    ]
    assert "spec.accepts[1].unverified" in ended.lines[0]
    assert "spec.accepts[3].unverified" in ended.lines[1]


def test_secret_that_files_do_not_show_is_a_notice() -> None:
    ended = troth("check", "-f", str(market.EXAMPLES / "webhooks"))
    assert ended.code == 0
    (line,) = ended.lines
    assert ": notice: WebhookEndpoint shop/stripe-charges: " in line


@pytest.mark.parametrize("mode", ["Observe", "Plan"])
def test_grant_at_a_broker_that_is_not_enforced_yet_is_a_notice(tmp_path: Path, mode: str) -> None:
    ended = troth("check", "-f", str(market.written(tmp_path, broker(mode=mode))))
    assert ended.code == 0
    (line,) = ended.lines
    assert ": notice: TopicPolicy shop/orders: MessageBroker messaging/main is only obs" in line


@pytest.mark.parametrize("kind", ["kafka", "nats"])
def test_examples_have_only_the_half_declared_edge_that_they_show(kind: str) -> None:
    files = [market.EXAMPLES / "shop", market.EXAMPLES / "messages" / f"{kind}.yaml"]
    ended = troth("check", *[word for file in files for word in ("-f", str(file))])
    (line,) = ended.lines
    assert "finance/ledger does not accept finance/reporting on https" in line


# Input


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"\xff\xfea\0", "<stdin>:1: error: not UTF-8 text (byte 0xFF); save the file as UTF-8"),
        (b"a: [\n", "<stdin>:2: error: not valid YAML"),
        (b"- 1\n", "<stdin>:1: error: document 1: not a Kubernetes object; give it apiVersion"),
    ],
)
def test_unreadable_input_has_exit_code_2(raw: bytes, told: str) -> None:
    ended = troth("check", "-f", "-", given=raw)
    assert ended.code == 2
    assert told in ended.output


def test_nothing_is_evaluated_if_an_input_cannot_be_read(tmp_path: Path) -> None:
    """The others may refer to what it contains."""
    ended = troth("check", "-f", str(written(tmp_path)), "-f", str(tmp_path / "nowhere"))
    assert ended.code == 2
    assert ended.lines == [
        f"{tmp_path}/nowhere: error: no such file or folder [NotReadable]",
    ]


def test_missing_input_has_exit_code_2() -> None:
    ended = troth("check")
    assert ended.code == 2
    assert "no input; name manifests with -f, or -f - for standard input" in ended.errors


def test_folder_is_read_without_hidden_files_and_kustomizations(tmp_path: Path) -> None:
    written(tmp_path, AGREED)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.yaml").write_text("a: [")
    (tmp_path / "kustomization.yaml").write_text("resources: [shop.yaml]")
    (tmp_path / "notes.txt").write_text("a: [")
    assert troth("check", "-f", str(tmp_path)).code == 0


def test_empty_folder_is_not_a_clean_one(tmp_path: Path) -> None:
    ended = troth("check", "-f", str(tmp_path))
    assert ended.code == 2
    assert "no YAML or JSON file in this folder" in ended.output


def test_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    file = written(tmp_path, AGREED) / "shop.yaml"
    assert troth("check", "-f", str(file), "-f", str(tmp_path)).code == 0


def test_object_that_is_defined_twice_names_both_places(tmp_path: Path) -> None:
    written(tmp_path, AGREED)
    (tmp_path / "zz.yaml").write_text(NAMESPACE)
    (line,) = troth("check", "-f", str(tmp_path)).lines
    assert line.startswith(
        f"{tmp_path}/zz.yaml:2: error: Namespace shop: defined twice; it is also"
    )
    assert f"{tmp_path}/shop.yaml:2; remove one" in line


# Output


def test_json_has_every_part_of_a_finding() -> None:
    ended = checked(SHOP, "-o", "json")
    told = json.loads(ended.output)
    assert told["findings"] == [
        {
            "severity": "error",
            "reason": "PeerMissing",
            "kind": "ServiceIdentity",
            "namespace": "shop",
            "name": "checkout",
            "field": "spec.calls[1]",
            "file": "<stdin>",
            "line": 35,
            "message": "ServiceIdentity shop/ledger does not exist; create it or remove the entry",
        }
    ]
    assert told["summary"] == {
        "files": 1,
        "resources": 3,
        "errors": 1,
        "warnings": 0,
        "notices": 0,
        "liveEdges": 1,
        "grants": 0,
        "evaluated": True,
    }
    assert yaml.safe_load(checked(SHOP, "-o", "yaml").output) == told


def test_summary_says_what_was_checked() -> None:
    assert checked(AGREED, "--summary").lines == [
        "3 resources in 1 file: 0 errors, 0 warnings, 0 notices; 1 live edge, 0 grants"
    ]


def test_github_annotation_names_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    monkeypatch.chdir(written(tmp_path))
    ended = troth("check", "-f", ".", "--format", "github", "--summary")
    assert ended.code == 1
    assert ended.lines == [
        (
            "::error file=shop.yaml,line=35,title=PeerMissing::ServiceIdentity shop/checkout: "
            "spec.calls[1]: ServiceIdentity shop/ledger does not exist; create it or remove the "
            "entry"
        ),
        "3 resources in 1 file: 1 error, 0 warnings, 0 notices; 1 live edge, 0 grants",
    ]
    assert "| error | shop.yaml:35 | ServiceIdentity shop/checkout: spec.calls" in page.read_text()


def test_place_without_a_line_is_the_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "MAX_BYTES", 3)
    form = ("--format", "github", "--summary")
    ended = troth("check", "-f", "gone\n.yaml", "-f", "-", *form, given=b"a: 1")
    assert ended.code == 2
    assert any("::<stdin>: " in line for line in ended.lines)
    rows = page.read_text().splitlines()[-2:]
    assert rows[0].startswith("| error | \\<stdin\\> | ")
    assert rows[1].startswith("| error | gone\\\\n.yaml | ")
    assert ":0" not in page.read_text() + ended.output


EVIL = 'name: "a%\\n::error::b\\r::stop-commands::c\\e[31m", namespace'


def test_text_of_a_manifest_cannot_forge_an_annotation(tmp_path: Path) -> None:
    forged = AGREED.replace("name: checkout, namespace", EVIL, 1)
    ended = checked(forged, "--format", "github")
    assert ended.lines
    assert all(line.startswith("::error ") for line in ended.lines)
    assert not any("%\\n::" in line or line.startswith("::error::") for line in ended.lines)
    (tmp_path / "others.yaml").write_text(forged)
    ended = checked(NAMESPACE, "--format", "github", "--assume", str(tmp_path))
    assert ended.code == 2
    assert "\\x1b[31m" in ended.errors
    lines = ended.errors.splitlines()
    assert all(line.startswith(str(tmp_path)) and line.isprintable() for line in lines)


def test_gitlab_report_has_a_fingerprint_for_each_finding() -> None:
    told = json.loads(checked(SHOP, "-o", "gitlab").output)
    assert [(each["check_name"], each["severity"]) for each in told] == [("PeerMissing", "major")]
    assert told[0]["location"] == {"path": "<stdin>", "lines": {"begin": 35}}
    assert len(told[0]["fingerprint"]) == 64


@pytest.mark.parametrize(
    "password",
    [
        "70707",
        "!70707",
        "!it's-70707",
        "!a!70707",
        "!<70707>",
        "!<70707",
        "*70707",
        "&70707 [*70707]",
    ],
)
def test_nothing_of_a_secret_is_shown(password: str) -> None:
    """A password that is not in quotes may read as a tag, an alias or an anchor."""
    secret = (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a, labels: 70707, annotations: {b: 70707}}"
    )
    ended = checked(f"{AGREED}---\n{secret}\ndata: 70707\nstringData:\n  password: {password}\n")
    assert ended.code in (1, 2)
    assert ended.output
    assert "70707" not in ended.output + ended.errors

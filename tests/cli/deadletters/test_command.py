"""`troth deadletters` lists and shows letters, and requests, approves and ends reviews."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.builders import Manifest
from tests.cli.deadletters.cluster import Setting, bundle, identity, pod, setting, topic_policy
from tests.cli.running import Ended, troth
from tests.edge.mounts import workload
from tests.review.api.desk import DATA, FAILS, dead_letter, letter
from tests.review.api.serving import REVIEWER
from troth.resources.references import Ref
from troth.review.letters.letter import LetterState

HOSTILE = "\x1b]0;owned\x07\u202e[red]x[/red]\x9b1m"
LETTERS = [letter(1), letter(2, reason="Expired", producer=None, tenant=None), letter(3)]


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Setting]:
    async with setting(tmp_path, *LETTERS) as made:
        yield made


def failed(ended: Ended, code: int = 2) -> str:
    """Return the error of a command."""
    assert ended.code == code, ended
    assert ended.errors.isprintable() or "\n" in ended.errors
    return " ".join(ended.errors.split())


def review(name: str = "fix", **changed: Any) -> Manifest:
    """Return a request of alice as the API server has it once the worker has seen it."""
    manifest: Manifest = {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "DeadLetterReview",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": "1",
            "resourceVersion": "7",
            "creationTimestamp": "2026-11-28T11:30:00Z",
        },
        "spec": {
            "policy": {"name": "orders"},
            "select": {"reason": "SchemaInvalid"},
            "action": "Redrive",
            "reason": "consumer fixed in 1.4.2",
            "requestedBy": "alice",
        },
        "status": {
            "phase": "AwaitingApproval",
            "selection": {"count": 2, "digest": "d" * 43, "at": "2026-11-28T11:30:05Z"},
        },
    }
    return manifest | changed


# List


async def test_list_shows_a_row_for_each_letter(cluster: Setting) -> None:
    ended = await cluster.troth("list", "orders", "-n", "shop")
    assert ended.code == 0, ended
    header, first, second, _ = ended.lines
    assert header.split()[:3] == ["ID", "AGE", "REASON"]
    for word in ("letter-0001", "SchemaInvalid", "shop/fulfilment", "shop/checkout", "acme"):
        assert word in first.split()
    assert second.split()[2:6] == ["Expired", "shop/fulfilment", "-", "-"]


async def test_worker_is_reached_through_the_api_server_with_the_users_token(
    cluster: Setting,
) -> None:
    assert (await cluster.troth("list", "orders")).code == 0
    assert cluster.kubernetes.forwarded == ["troth-review-1:9443"]
    assert cluster.kubernetes.authorizations == {"Bearer token-of-alice"}
    assert cluster.api.cluster.reviews("TokenReview")[0]["token"] == "token-of-alice"


async def test_list_as_json_has_each_page(tmp_path: Path) -> None:
    async with setting(tmp_path, *(letter(number) for number in range(1205))) as cluster:
        whole = json.loads(
            (await cluster.troth("list", "orders", "--limit", "2000", "-o", "json")).output
        )
        assert [each["id"] for each in whole["letters"]] == [
            f"letter-{number:04}" for number in range(1205)
        ]
        assert whole["complete"] is True
        ended = await cluster.troth("list", "orders", "--limit", "7", "-o", "yaml")
        part = yaml.safe_load(ended.output)
        assert len(part["letters"]) == 7
        assert part["complete"] is False
        assert "more than 7" in (await cluster.troth("list", "orders", "--limit", "7")).errors


async def test_filters_select_letters(cluster: Setting) -> None:
    for filters, expected in (
        (("--rejection", "Expired"), ["letter-0002"]),
        (("--producer", "shop/checkout"), ["letter-0001", "letter-0003"]),
        (("--producer", "checkout", "--until", "2026-11-28T11:00:01Z"), ["letter-0001"]),
        (("--consumer", "fulfilment", "--tenant", "acme"), ["letter-0001", "letter-0003"]),
        (("--quarantined",), []),
    ):
        ended = await cluster.directly("list", "orders", *filters, "-o", "json")
        assert [each["id"] for each in json.loads(ended.output)["letters"]] == expected, filters


async def test_age_is_a_time(cluster: Setting) -> None:
    old = await cluster.directly("list", "orders", "--since", "200000h", "--until", "1s")
    assert len(old.lines) == 4
    assert "is not a time" in failed(await cluster.directly("list", "orders", "--since", "soon"))


async def test_empty_list_says_so(cluster: Setting) -> None:
    assert (await cluster.troth("list", "orders", "--tenant", "zen")).output == "no dead letters\n"


async def test_list_without_a_policy_counts_letters_of_each(cluster: Setting) -> None:
    counted = topic_policy("payments")
    counts = {
        "pending": 3,
        "oldest": "2026-11-28T11:00:00Z",
        "reasons": [{"reason": "Expired", "count": 1}, {"reason": "SchemaInvalid", "count": 2}],
    }
    counted["status"] = {"deadLetters": counts}
    cluster.kubernetes.objects["topicpolicies"].append(counted)
    ended = await cluster.troth("list")
    assert ended.lines[0].split() == ["POLICY", "PENDING", "QUARANTINED", "OLDEST", "REASONS"]
    assert len(ended.lines) == 2
    assert ended.lines[1].startswith("payments  3        0")
    assert "Expired 1, SchemaInvalid 2" in ended.lines[1]
    document = json.loads((await cluster.troth("list", "-o", "json")).output)
    assert document["policies"][0]["pending"] == 3
    assert "POLICY" in failed(await cluster.troth("list", "--tenant", "acme"))


async def test_hostile_text_cannot_control_the_terminal(cluster: Setting) -> None:
    hostile = letter(4, tenant=HOSTILE, event_id=HOSTILE, origin=HOSTILE, producer=HOSTILE)
    cluster.api.desk.index.put([hostile, letter(5, reason=HOSTILE)])
    made = dead_letter(hostile)
    detail = type(made.rejection)(made.rejection.reason, HOSTILE)
    cluster.api.desk.letters["letter-0004"] = dead_letter(hostile, rejection=detail)
    for arguments in (("list", "orders"), ("show", "letter-0004")):
        ended = await cluster.troth(*arguments)
        assert "\\x1b]0;owned" in ended.output
        assert "[red]x[/red]" in "".join(ended.output.split())
        assert all(line.isprintable() for line in ended.lines)
        structured = await cluster.troth(*arguments, "-o", "yaml")
        assert structured.output.isascii()
        assert "\x1b" not in structured.output


# Show


async def test_show_explains_each_check_and_a_redrive(cluster: Setting) -> None:
    cluster.api.desk.forecasts["letter-0001"] = FAILS
    ended = await cluster.troth("show", "letter-0001")
    assert ended.code == 0, ended
    assert ended.lines[0] == "SchemaInvalid: quantity: -1 is less than the minimum of 1"
    assert "✓  grant" in ended.output
    assert "✗  schema  SchemaInvalid: quantity: -1 is too small. Correct" in ended.output
    assert "·  tenant  not checked" in ended.output
    assert ended.lines[-1].strip() == "Skipped SchemaInvalid: quantity: -1 is less than 1"
    assert "4111" not in ended.output
    assert cluster.api.desk.read == []


async def test_payload_needs_its_own_right(cluster: Setting) -> None:
    told = failed(await cluster.troth("show", "letter-0001", "--payload"))
    assert 'user "alice" cannot payload' in told
    ended = await cluster.troth("show", "letter-0001", "--payload", "--token", "token-of-bob")
    assert "data, not verified" in ended.output
    assert DATA.decode() in ended.output
    assert cluster.api.desk.read == [("bob", "letter-0001")]


async def test_payload_as_json_is_base64(cluster: Setting) -> None:
    cluster.api.cluster.rights["alice"].add("payload")
    ended = await cluster.troth("show", "letter-0001", "--payload", "-o", "json")
    payload = json.loads(ended.output)["payload"]
    assert payload["contentType"] == "application/json"
    assert payload["data"] == "eyJjYXJkIjogIjQxMTEtc2VjcmV0In0="


async def test_show_finds_the_policy_of_a_letter(cluster: Setting) -> None:
    others = Ref("shop", "archive")
    cluster.api.desk.served.add(others)
    cluster.kubernetes.objects["topicpolicies"].insert(0, topic_policy("archive"))
    assert (await cluster.troth("show", "letter-0001")).code == 0
    told = failed(await cluster.troth("show", "letter-0009"))
    assert "has no letter letter-0009 of the TopicPolicy shop/orders" in told
    told = failed(await cluster.troth("show", "letter-0001", "-p", "archive"))
    assert "of the TopicPolicy shop/archive" in told


@pytest.mark.parametrize("name", ["", "../secrets", "a b", "é", "a" * 65])
async def test_text_that_is_no_id_is_not_sent(cluster: Setting, name: str) -> None:
    assert "is not the ID" in failed(await cluster.troth("show", name))
    assert cluster.api.cluster.asked == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("show", "bad/id"), "ID: is not the ID of a dead letter"),
        (("list", "--server", "http://a"), "--server: is not the URL of a worker"),
        (("list", "orders", "--server", "http://a"), "--server: is not the URL of a worker"),
        (("approve", "fix", "--worker", "x"), "--worker: is not the SPIFFE ID of a workload"),
        (("list", "--tenant", "acme"), "POLICY: filters need a policy; name it"),
    ],
    ids=["ID", "URL", "URL for a policy", "SPIFFE ID", "filter without a policy"],
)
def test_arguments_are_checked_before_the_cluster(
    tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    ended = troth("deadletters", *arguments, "--kubeconfig", str(tmp_path / "missing"))
    assert complaint in failed(ended)


def test_help_shows_an_optional_policy_in_one_pair_of_brackets() -> None:
    assert "[[POLICY]]" not in troth("deadletters", "list", "--help").output


# Request

REQUEST = ("request", "orders", "--action", "Redrive", "--reason", "fixed in 1.4.2")


async def test_request_shows_the_dry_run_and_creates_the_review(cluster: Setting) -> None:
    cluster.api.desk.forecasts["letter-0003"] = FAILS
    ended = await cluster.troth(*REQUEST, "--rejection", "SchemaInvalid", "--rate", "5/s")
    assert ended.code == 0, ended
    assert ended.lines[0] == "Redrive of 2 letters until 2026-11-28T12:00:00Z"
    assert "      1  Redriven" in ended.lines
    assert "      1  Skipped SchemaInvalid" in ended.lines
    (created,) = cluster.kubernetes.created
    assert created["spec"] == {
        "policy": {"name": "orders"},
        "select": {"reason": "SchemaInvalid", "until": "2026-11-28T12:00:00Z"},
        "action": "Redrive",
        "reason": "fixed in 1.4.2",
        "requestedBy": "alice",
        "rate": "5/s",
    }
    name = created["metadata"]["name"]
    assert name.startswith("orders-redrive-20")
    assert ended.lines[-1] == f"requested DeadLetterReview {name} as alice"


async def test_request_by_ids_and_identities_is_written_as_a_selection(cluster: Setting) -> None:
    more = ("--id", "letter-0001", "--id", "letter-0003", "--producer", "shop/checkout")
    await cluster.troth(*REQUEST, *more, "--limit", "5", "--name", "mine")
    (created,) = cluster.kubernetes.created
    assert created["metadata"] == {"name": "mine", "namespace": "shop"}
    assert created["spec"]["select"] == {
        "ids": ["letter-0001", "letter-0003"],
        "producer": {"name": "checkout", "namespace": "shop"},
        "limit": 5,
        "until": "2026-11-28T12:00:00Z",
    }


async def test_dry_run_requests_nothing(cluster: Setting) -> None:
    ended = await cluster.troth(*REQUEST, "--dry-run")
    assert (ended.code, cluster.kubernetes.created) == (0, [])
    document = json.loads((await cluster.troth(*REQUEST, "--dry-run", "-o", "json")).output)
    assert (document["count"], cluster.kubernetes.created) == (3, [])


async def test_selection_of_nothing_is_not_requested(cluster: Setting) -> None:
    ended = await cluster.troth(*REQUEST, "--tenant", "zen")
    assert "nothing is requested" in failed(ended, code=1)
    assert cluster.kubernetes.created == []


async def test_manifest_is_printed_for_version_control(cluster: Setting) -> None:
    ended = await cluster.troth(*REQUEST, "--rejection", "SchemaInvalid", "-o", "yaml")
    manifest = yaml.safe_load(ended.output)
    assert manifest["spec"]["requestedBy"] == "alice"
    assert cluster.kubernetes.created == []
    flux = "system:serviceaccount:flux-system:kustomize-controller"
    ended = await cluster.troth(*REQUEST, "-o", "json", "--requested-by", flux)
    assert json.loads(ended.output)["spec"]["requestedBy"] == flux
    told = failed(await cluster.troth(*REQUEST, "--requested-by", flux))
    assert "add -o yaml" in told


async def test_reason_of_a_rejection_is_not_taken_for_that_of_the_decision(
    cluster: Setting,
) -> None:
    ended = await cluster.troth("request", "orders", "--action", "Discard", "--reason", "Expired")
    assert "write --rejection Expired" in failed(ended)
    assert cluster.kubernetes.created == []


async def test_denial_of_the_admission_policy_is_shown_as_it_is(cluster: Setting) -> None:
    denial = "ValidatingAdmissionPolicy 'x' denied request: requestedBy is not the user"
    cluster.kubernetes.refusal = (422, denial)
    assert denial in failed(await cluster.troth(*REQUEST))


@pytest.mark.parametrize(
    ("policy", "kept"),
    [("a" * 253, "a" * 226), (f"{'a' * 225}.{'b' * 27}", "a" * 225)],
    ids=["within a word", "at a dot"],
)
async def test_name_of_a_long_policy_is_cut(cluster: Setting, policy: str, kept: str) -> None:
    action = ("--action", "Quarantine", "--reason", "fixed in 1.4.2")
    ended = await cluster.troth("request", policy, *action, "-o", "yaml")
    assert ended.code == 0, ended
    manifest = yaml.safe_load(ended.output)
    assert manifest["spec"]["policy"]["name"] == policy
    assert manifest["metadata"]["name"].startswith(f"{kept}-quarantine-")


async def test_invalid_request_is_rejected_before_anything_is_asked(cluster: Setting) -> None:
    told = failed(await cluster.troth(*REQUEST, "--rate", "fast"))
    assert "spec.rate" in told
    assert cluster.api.cluster.asked == []


# Approve, withdraw


async def test_approval_names_the_user_and_the_selection_that_was_shown(cluster: Setting) -> None:
    cluster.kubernetes.user = "bob"
    cluster.kubernetes.objects["deadletterreviews"].append(review())
    ended = await cluster.troth("approve", "fix", "--yes")
    assert ended.code == 0, ended
    for text in ("requested by  alice", "consumer fixed in 1.4.2", "Redrive of 2 letters until"):
        assert text in ended.output
    assert "2026-11-28T11:30:00Z" in ended.output  # the time of the request, not of now
    assert "not the letters of the selection above" in ended.output  # the digest is another one
    assert cluster.kubernetes.patches == [
        {
            "metadata": {"resourceVersion": "7"},
            "spec": {"approval": {"approvedBy": "bob", "selection": "d" * 43}},
        }
    ]
    assert ended.lines[-1] == "approved DeadLetterReview fix as bob"


async def test_approval_without_a_terminal_needs_yes(cluster: Setting) -> None:
    cluster.kubernetes.objects["deadletterreviews"].append(review())
    assert "add --yes" in failed(await cluster.troth("approve", "fix"))
    assert cluster.kubernetes.patches == []


async def test_review_without_a_selection_is_not_approved(cluster: Setting) -> None:
    cluster.kubernetes.objects["deadletterreviews"].append(review(status={"phase": "Pending"}))
    assert "has no selection yet" in failed(await cluster.troth("approve", "fix", "--yes"))
    assert cluster.kubernetes.patches == []


async def test_conflict_with_a_write_of_the_worker_is_tried_again(cluster: Setting) -> None:
    cluster.kubernetes.objects["deadletterreviews"].append(review())
    cluster.kubernetes.conflicts = 2
    assert (await cluster.troth("approve", "fix", "--yes")).code == 0
    assert len(cluster.kubernetes.patches) == 1


@pytest.mark.parametrize("changed", ["spec", "selection", "uid"])
async def test_review_that_changed_since_it_was_shown_is_not_approved(
    cluster: Setting, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, now = review(), review()
    if changed == "spec":
        now["spec"]["select"]["reason"] = "Expired"
    elif changed == "selection":
        now["status"]["selection"]["digest"] = "e" * 43
    else:
        now["metadata"]["uid"] = "2"
    reviews = cluster.kubernetes.objects["deadletterreviews"]
    reviews.append(shown)
    patch = type(cluster.kubernetes)._patch

    def overtaken(self: Any, *arguments: Any) -> Any:
        reviews[:] = [now]
        return patch(self, *arguments)

    monkeypatch.setattr(type(cluster.kubernetes), "_patch", overtaken)
    cluster.kubernetes.conflicts = 1
    assert "changed since it was shown" in failed(await cluster.troth("approve", "fix", "--yes"))
    assert cluster.kubernetes.patches == []


async def test_withdrawal_names_the_user_and_the_reason(cluster: Setting) -> None:
    cluster.kubernetes.objects["deadletterreviews"].append(review())
    ended = await cluster.troth("withdraw", "fix", "--reason", "wrong letters")
    assert ended.output == "withdrew DeadLetterReview fix as alice\n"
    withdrawal = {"withdrawnBy": "alice", "reason": "wrong letters"}
    assert cluster.kubernetes.patches[0]["spec"] == {"withdrawal": withdrawal}


async def test_review_that_has_ended_is_neither_approved_nor_withdrawn(cluster: Setting) -> None:
    ended = review(status={"phase": "Completed"})
    cluster.kubernetes.objects["deadletterreviews"].append(ended)
    for arguments in (("approve", "fix", "--yes"), ("withdraw", "fix", "--reason", "x")):
        assert "has ended: Completed" in failed(await cluster.troth(*arguments))
    assert cluster.kubernetes.patches == []


async def test_missing_review_is_named(cluster: Setting) -> None:
    for arguments in (("approve", "x"), ("withdraw", "x", "--reason", "x")):
        assert "DeadLetterReview shop/x: does not exist" in failed(await cluster.troth(*arguments))


# The worker


async def test_user_with_a_client_certificate_alone_is_told_how_to_get_a_token(
    cluster: Setting,
) -> None:
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {}
    cluster.kubeconfig.write_text(yaml.safe_dump(config))
    told = failed(await cluster.troth("list", "orders"))
    assert "kubectl create token" in told
    file = cluster.directory / "token"
    file.write_text("token-of-alice\n")
    assert (await cluster.troth("list", "orders", "--token-file", str(file))).code == 0


async def test_rejected_token_is_not_printed(cluster: Setting) -> None:
    told = failed(await cluster.troth("list", "orders", "--token", "token-of-nobody"))
    assert "does not accept the bearer token" in told
    assert "token-of-nobody" not in told
    assert "is not a token" in failed(await cluster.troth("list", "orders", "--token", "a\nb"))


async def test_other_server_gets_no_token(cluster: Setting) -> None:
    told = failed(await cluster.directly("list", "orders", "--worker", workload("payments")))
    assert f"the server is {REVIEWER}, not {workload('payments')}" in told
    foreign = cluster.directory / "bundle.json"
    foreign.write_text(bundle()["data"]["bundle-map.json"])
    elsewhere = "spiffe://partner.example/ns/shop/sa/troth-review"
    told = failed(
        await cluster.directly("list", "orders", "--worker", elsewhere, "--bundle", str(foreign))
    )
    assert "its certificate is not one of the trust domain" in told
    assert cluster.api.cluster.asked == []


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:1", "127.0.0.1", "https://", "https://x/y", "https://[", "https://x:y"),
        *("https://x:99999", "https://alice:secret@x", "https://alice@x", "https://x#y"),
    ],
)
async def test_server_that_is_no_https_url_is_rejected(cluster: Setting, url: str) -> None:
    told = failed(await cluster.troth("list", "orders", "--server", url))
    assert "--server: is not the URL of a worker" in told
    assert "secret" not in told


async def test_worker_that_does_not_listen_is_named(cluster: Setting) -> None:
    told = failed(await cluster.troth("list", "orders", "--server", "https://127.0.0.1:1"))
    assert "https://127.0.0.1:1: cannot be reached" in told


@pytest.mark.parametrize(
    "pods",
    [
        [],
        [pod(ready=False)],
        [pod(serviceAccountName="other")],
        [pod() | {"metadata": pod()["metadata"] | {"deletionTimestamp": "2026-11-28T12:00:00Z"}}],
    ],
)
async def test_missing_worker_is_named(cluster: Setting, pods: list[Manifest]) -> None:
    cluster.kubernetes.objects["pods"] = pods
    told = failed(await cluster.troth("list", "orders"))
    assert "no pod with the label app.kubernetes.io/component=review" in told
    assert "review.enabled" in told


async def test_ready_pod_of_the_worker_is_chosen(cluster: Setting) -> None:
    others = [pod("a", ready=False), pod("b", serviceAccountName="x"), pod("c"), pod("d")]
    cluster.kubernetes.objects["pods"] = others
    assert (await cluster.troth("list", "orders")).code == 0
    assert cluster.kubernetes.forwarded == [f"c:{9443}"]


async def test_denied_port_forward_says_which_right_is_missing(cluster: Setting) -> None:
    cluster.kubernetes.forward_refusal = 403
    told = failed(await cluster.troth("list", "orders"))
    assert "get and create on pods/portforward in the namespace troth-system" in told


async def test_failure_of_the_port_forward_is_shown(cluster: Setting) -> None:
    cluster.kubernetes.forward_error = "connection refused"
    told = failed(await cluster.troth("list", "orders"))
    assert "Pod troth-system/troth-review-1: port 9443: connection refused" in told


async def test_policy_without_a_reviewer_is_named(cluster: Setting) -> None:
    cluster.kubernetes.objects["topicpolicies"] = [topic_policy(reviewer=None)]
    assert "has no deadLetter.reviewer" in failed(await cluster.troth("list", "orders"))
    assert "has no TopicPolicy" in failed(await cluster.troth("show", "letter-0001"))


@pytest.mark.parametrize("named", [{}, {"namespace": "shop"}], ids=["name", "namespace"])
async def test_reviewer_in_the_namespace_of_the_policy_gets_no_token(
    cluster: Setting, named: dict[str, str]
) -> None:
    """Editors of the namespace can declare such a workload, and run it."""
    own = topic_policy(reviewer={"name": "reviewer"} | named)
    cluster.kubernetes.objects |= {
        "topicpolicies": [own],
        "serviceidentities": [identity("shop")],
        "pods": [pod(namespace="shop")],
    }
    for ended in (await cluster.troth("list", "orders"), await cluster.directly("list", "orders")):
        assert "shop/reviewer is a workload of its own namespace" in failed(ended)
        assert "--worker" in failed(ended)
    assert cluster.kubernetes.forwarded == []
    assert cluster.api.cluster.reviews("TokenReview") == []


async def test_named_reviewer_in_the_namespace_of_the_policy_gets_the_token(tmp_path: Path) -> None:
    own = workload("troth-review")
    async with setting(tmp_path, *LETTERS, spiffe_id=own) as cluster:
        policy = topic_policy(reviewer={"name": "reviewer"})
        cluster.kubernetes.objects |= {"topicpolicies": [policy], "pods": [pod(namespace="shop")]}
        ended = await cluster.troth("list", "orders", "--worker", own)
        assert ended.code == 0, ended


@pytest.mark.parametrize("direct", [False, True], ids=["port-forward", "server"])
async def test_named_worker_is_verified_by_the_bundle_of_its_own_namespace(
    cluster: Setting, direct: bool
) -> None:
    """Editors of the policy's namespace can write any bundle there, and run any pod."""
    foreign = bundle("shop")
    foreign["data"]["bundle-map.json"] = "{}"
    cluster.kubernetes.objects |= {
        "topicpolicies": [topic_policy(reviewer={"name": "reviewer"})],
        "pods": [pod("imposter", namespace="shop"), pod()],
        "configmaps": [bundle(), foreign],
    }
    run = cluster.directly if direct else cluster.troth
    ended = await run("list", "orders", "--worker", REVIEWER)
    assert ended.code == 0, ended
    assert cluster.kubernetes.forwarded == ([] if direct else ["troth-review-1:9443"])


async def test_worker_that_is_no_service_account_is_rejected(cluster: Setting) -> None:
    told = failed(await cluster.troth("list", "orders", "--worker", "spiffe://prod.example/web"))
    assert "--worker: is not the SPIFFE ID of a workload" in told


async def test_identity_that_cannot_be_read_needs_the_workers_id(cluster: Setting) -> None:
    cluster.kubernetes.objects["serviceidentities"] = []
    told = failed(await cluster.troth("list", "orders"))
    assert "ServiceIdentity troth-system/reviewer: cannot be read" in told
    assert (await cluster.troth("list", "orders", "--worker", REVIEWER)).code == 0
    assert "SPIFFE ID" in failed(await cluster.troth("list", "orders", "--worker", "reviewer"))


async def test_bundle_in_the_namespace_of_the_policy_does_not_count(cluster: Setting) -> None:
    """Editors of that namespace can write any bundle there."""
    other = bundle("shop")
    other["data"]["bundle-map.json"] = "{}"
    cluster.kubernetes.objects["configmaps"][1] = other
    assert (await cluster.troth("list", "orders")).code == 0
    assert (await cluster.directly("list", "orders")).code == 0


async def test_namespace_without_a_bundle_is_named(cluster: Setting) -> None:
    cluster.kubernetes.objects["configmaps"] = []
    told = failed(await cluster.troth("list", "orders"))
    assert "--bundle" in told
    file = cluster.directory / "bundle-map.json"
    file.write_text(bundle()["data"]["bundle-map.json"])
    assert (await cluster.troth("list", "orders", "--bundle", str(file))).code == 0


async def test_worker_of_another_version_is_no_internal_error(
    cluster: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments in (("list", "orders"), ("show", "letter-0001"), REQUEST):
        monkeypatch.setattr("troth.cli.deadletters.worker.WorkerAPI._ask", ask_of_another_version)
        assert "another form" in failed(await cluster.troth(*arguments))


async def ask_of_another_version(*_: Any, **__: Any) -> dict[str, Any]:
    return {"items": []}


async def test_settled_letter_shows_its_review(cluster: Setting) -> None:
    settled = letter(1, state=LetterState.REDRIVEN, review=Ref("shop", "fix"))
    cluster.api.desk.index.put([settled])
    ended = await cluster.troth("show", "letter-0001")
    assert "state     Redriven" in ended.output
    assert "review    shop/fix" in ended.output

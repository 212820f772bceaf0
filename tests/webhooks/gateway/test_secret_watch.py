"""Each endpoint's Secret is followed independently."""

import base64
from typing import Any, cast

import pytest
import structlog
from structlog.testing import capture_logs

from tests.pki import builders as pki
from tests.pki.keys.large_keys import large_key, pem
from tests.webhooks.gateway.running import SECRET, compiled, endpoint
from troth.cluster.api import ApiServer
from troth.cluster.selection import Selection
from troth.pki.keys.private import private_key_pem
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.references import Ref
from troth.webhooks.gateway import secret_watch as module
from troth.webhooks.gateway.routes import Routes
from troth.webhooks.gateway.secret_watch import EndpointWatch
from troth.world.facts.objects import UNREADABLE, Manifest

NAMESPACE, GATEWAY = "troth-gateway", "edge"
STRIPE, SLACK = "shop/stripe", "shop/slack"
GATEWAY_ID = "spiffe://prod.example/ns/troth-gateway/sa/edge"


@pytest.fixture(autouse=True)
def fresh_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    structlog.reset_defaults()
    monkeypatch.setattr(module, "log", structlog.get_logger())


@pytest.fixture
def routes() -> Routes:
    return Routes()


@pytest.fixture
def watch(routes: Routes) -> EndpointWatch:
    return EndpointWatch(NAMESPACE, GATEWAY, routes)


def secret(name: str, data: dict[str, bytes], version: int = 1) -> Manifest:
    metadata = {"name": name, "namespace": NAMESPACE, "resourceVersion": str(version)}
    coded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {"kind": "Secret", "metadata": metadata, "data": coded}


def of(name: str = STRIPE, version: int = 1, keys: Any = None, **changed: Any) -> Manifest:
    data = compiled(endpoint(name, **changed), **(keys or {"k1": SECRET}))
    return secret(name.replace("/", "."), data, version)


def signing(version: int = 1, which: str = "first", after: str = "") -> Manifest:
    data = {"key.pem": private_key_pem(pki.key(which=which))}
    if after:
        data["next.pem"] = private_key_pem(pki.key(which=after))
    return secret(f"{GATEWAY}-webhook-signing", data, version)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({f"key.{number}": "=" for number in range(100_000)}, "more than 16 keys"),
        ({"key.k1": "=" * 1_000_000}, "a key is larger than 16384 bytes"),
    ],
)
def test_secret_with_too_many_entries_is_not_decoded(
    watch: EndpointWatch, routes: Routes, data: dict[str, str], why: str
) -> None:
    watch.observe(of())
    large = of(version=2)
    with capture_logs() as logs:
        watch.observe(large | {"data": large["data"] | data})
    assert [each["why"] for each in logs] == [f"it has {why}" if "more" in why else why]
    assert paths(routes) == {"/shop/stripe"}, "what was read before holds"


def test_large_signing_key_is_not_parsed(watch: EndpointWatch) -> None:
    with capture_logs() as logs:
        watch.observe(secret(f"{GATEWAY}-webhook-signing", {"key.pem": pem(large_key(16384))}))
    assert [each["why"] for each in logs] == ["key.pem is not a key: UnsupportedKey"]


def ref(manifest: Manifest) -> Ref:
    return Ref.of(manifest)


def paths(routes: Routes) -> set[str]:
    return {served.endpoint.path for served in routes}


# One endpoint by itself


def test_new_version_of_an_endpoint_is_served_at_once(watch: EndpointWatch, routes: Routes) -> None:
    watch.observe(of())
    found = routes.find(b"/shop/stripe")
    assert found is not None
    assert [key.id for key in found.keys] == ["k1"]
    watch.observe(of(version=2, keys={"k2": SECRET}))
    found = routes.find(b"/shop/stripe")
    assert found is not None
    assert [key.id for key in found.keys] == ["k2"]


@pytest.mark.parametrize(
    "broken",
    [
        of(SLACK, tolerance=0),
        of(SLACK, keys={"k1": "hunter2"}),
        of(SLACK, path=f"/{STRIPE}"),
        secret("shop.slack", {}),
        secret("shop.slack", compiled(endpoint(STRIPE), k1=SECRET)),
        {**of(SLACK), "data": {"endpoint.json": "?"}},
        {**of(SLACK), "data": {"endpoint.json": 7}},
        {**of(SLACK), "data": None},
    ],
    ids=["no sense", "no key", "path", "empty", "another's", "not base64", "no text", "no data"],
)
def test_unreadable_endpoint_is_not_served_but_others_are(
    watch: EndpointWatch, routes: Routes, broken: Manifest
) -> None:
    with capture_logs() as lines:
        watch.observe(broken)
        watch.observe(of())
        watch.observe(broken)
    assert paths(routes) == {"/shop/stripe"}
    assert watch.unreadable == {"shop.slack"}
    assert [line["event"] for line in lines] == ["Secret unreadable", "endpoint read"]
    assert "hunter2" not in str(lines)


def test_unreadable_version_changes_nothing(watch: EndpointWatch, routes: Routes) -> None:
    watch.observe(of())
    before = routes.find(b"/shop/stripe")
    watch.observe(of(version=2, tolerance=0))
    assert routes.find(b"/shop/stripe") is before
    watch.observe(of(version=3, tolerance=60))
    after = routes.find(b"/shop/stripe")
    assert after is not None
    assert after.endpoint.tolerance == 60
    assert watch.unreadable == set()


def test_unreadable_secret_changes_nothing(watch: EndpointWatch, routes: Routes) -> None:
    watch.observe(of())
    before = routes.find(b"/shop/stripe")
    watch.observe({**of(version=2, tolerance=60), UNREADABLE: "data: nests too deep"})
    assert routes.find(b"/shop/stripe") is before
    assert watch.unreadable == {"shop.stripe"}


def test_unexpected_secret_ends_nothing(
    watch: EndpointWatch, routes: Routes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of it is logged, for it may be a key."""

    def fail(*_: Any) -> None:
        raise RecursionError("hunter2")

    monkeypatch.setattr(module, "served", fail)
    with capture_logs() as lines:
        watch.observe(of())
    (line,) = lines
    assert line["why"].startswith("RecursionError in test_secret_watch.py:")
    assert "hunter2" not in str(lines)
    assert watch.unreadable == {"shop.stripe"}
    monkeypatch.undo()
    watch.observe(of(version=2))
    assert paths(routes) == {"/shop/stripe"}


def test_endpoint_ends_when_its_secret_is_deleted(watch: EndpointWatch, routes: Routes) -> None:
    watch.observe(of())
    watch.observe(of(SLACK))
    watch.observe(of(SLACK, version=2, tolerance=0))
    watch.forget("Secret", ref(of()), 2)
    watch.forget("Secret", ref(of(SLACK)), 3)
    assert paths(routes) == set()
    assert watch.unreadable == set()
    watch.observe(of())
    assert paths(routes) == {"/shop/stripe"}


def test_deleted_endpoint_is_reported_to_metrics(routes: Routes) -> None:
    gone: list[str] = []
    watch = EndpointWatch(NAMESPACE, GATEWAY, routes, gone.append)
    for each in (of("shop/dotted.name"), signing()):
        watch.observe(each)
        watch.forget("Secret", ref(each), 2)
    assert gone == ["shop/dotted.name"]


def test_endpoint_with_a_dotted_name_is_served(watch: EndpointWatch, routes: Routes) -> None:
    watch.observe(of("shop/orders.eu"))
    assert paths(routes) == {"/shop/orders.eu"}


# The signing key


def gateway_id() -> str:
    return GATEWAY_ID


def test_active_key_signs_and_the_next_does_not(watch: EndpointWatch) -> None:
    assert watch.signer(gateway_id) is None
    watch.observe(signing(after="second"))
    first = watch.signer(gateway_id)
    assert first is not None
    assert watch.signer(gateway_id) is first
    watch.observe(signing(2, "second"))
    second = watch.signer(gateway_id)
    assert second is not None
    assert second.kid != first.kid


def test_signer_uses_the_gateways_current_id(watch: EndpointWatch) -> None:
    watch.observe(signing())
    assert watch.signer(gateway_id) is not watch.signer(lambda: GATEWAY_ID + "2")


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"key.pem": b"hunter2"},
        {"key.pem": private_key_pem(pki.key(KeyAlgorithm.ED25519))},
        {"key.pem": private_key_pem(pki.key(KeyAlgorithm.ECDSA_P384))},
    ],
    ids=["none", "no key", "another kind", "another curve"],
)
def test_unusable_signing_key_changes_nothing(watch: EndpointWatch, data: dict[str, bytes]) -> None:
    watch.observe(signing())
    before = watch.signer(gateway_id)
    with capture_logs() as lines:
        watch.observe(secret(f"{GATEWAY}-webhook-signing", data, 2))
    assert watch.signer(gateway_id) is before
    assert [line["event"] for line in lines] == ["Secret unreadable"]
    assert "hunter2" not in str(lines)


def test_deleted_signing_key_signs_no_more(watch: EndpointWatch) -> None:
    watch.observe(signing())
    watch.forget("Secret", ref(signing()), 2)
    assert watch.signer(gateway_id) is None


def test_nothing_secret_is_logged(watch: EndpointWatch) -> None:
    with capture_logs() as lines:
        watch.observe(of())
        watch.observe(signing())
    assert len(lines) == 2
    assert SECRET not in str(lines)
    assert "PRIVATE" not in str(lines)
    assert SECRET not in repr(watch)


def test_secrets_are_selected_that_the_operator_manages(watch: EndpointWatch) -> None:
    """What the operator would not see, and not delete, is not in effect either."""
    informer = watch.informer(cast(ApiServer, None))
    labels = f"troth.dev/webhook-gateway={GATEWAY},app.kubernetes.io/managed-by=troth"
    assert informer.selection == Selection("Secret", NAMESPACE, labels=labels)


def test_gateway_is_ready_when_synced_and_with_a_key(watch: EndpointWatch) -> None:
    informer = watch.informer(cast(ApiServer, None))
    watch.observe(signing())
    assert (watch.synced, watch.ready) == (False, False)
    informer.synced.set()
    assert (watch.synced, watch.ready) == (True, True)
    watch.forget("Secret", ref(signing()), 2)
    assert (watch.synced, watch.ready) == (True, False)

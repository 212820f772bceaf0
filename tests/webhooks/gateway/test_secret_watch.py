"""Each endpoint's Secret is followed independently."""

import base64
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
import structlog
from structlog.testing import capture_logs

from tests.pki import builders as pki
from tests.pki.large_keys import large_key, pem
from tests.webhooks.gateway.running import SECRET, compiled, endpoint
from troth.cluster.api import ApiServer, Selection
from troth.cluster.errors import ApiError
from troth.pki.keys import private_key_pem
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.references import Ref
from troth.webhooks.gateway import secret_watch as module
from troth.webhooks.gateway.routes import Routes
from troth.webhooks.gateway.secret_watch import Following
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
def following(routes: Routes) -> Following:
    return Following(NAMESPACE, GATEWAY, routes)


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
    following: Following, routes: Routes, data: dict[str, str], why: str
) -> None:
    following.observe(of())
    large = of(version=2)
    with capture_logs() as logs:
        following.observe(large | {"data": large["data"] | data})
    assert [each["why"] for each in logs] == [f"it has {why}" if "more" in why else why]
    assert paths(routes) == {"/shop/stripe"}, "what was read before holds"


def test_large_signing_key_is_not_parsed(following: Following) -> None:
    with capture_logs() as logs:
        following.observe(secret(f"{GATEWAY}-webhook-signing", {"key.pem": pem(large_key(16384))}))
    assert [each["why"] for each in logs] == ["key.pem is no key: UnsupportedKey"]


def ref(manifest: Manifest) -> Ref:
    return Ref.of(manifest)


def paths(routes: Routes) -> set[str]:
    return {served.endpoint.path for served in routes}


# One endpoint by itself


def test_new_version_of_an_endpoint_is_served_at_once(following: Following, routes: Routes) -> None:
    following.observe(of())
    found = routes.find(b"/shop/stripe")
    assert found is not None
    assert [key.id for key in found.keys] == ["k1"]
    following.observe(of(version=2, keys={"k2": SECRET}))
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
    following: Following, routes: Routes, broken: Manifest
) -> None:
    with capture_logs() as lines:
        following.observe(broken)
        following.observe(of())
        following.observe(broken)
    assert paths(routes) == {"/shop/stripe"}
    assert following.unreadable == {"shop.slack"}
    assert [line["event"] for line in lines] == ["unreadable", "endpoint read"]
    assert "hunter2" not in str(lines)


def test_unreadable_version_changes_nothing(following: Following, routes: Routes) -> None:
    following.observe(of())
    before = routes.find(b"/shop/stripe")
    following.observe(of(version=2, tolerance=0))
    assert routes.find(b"/shop/stripe") is before
    following.observe(of(version=3, tolerance=60))
    after = routes.find(b"/shop/stripe")
    assert after is not None
    assert after.endpoint.tolerance == 60
    assert following.unreadable == set()


def test_unreadable_secret_changes_nothing(following: Following, routes: Routes) -> None:
    following.observe(of())
    before = routes.find(b"/shop/stripe")
    following.observe({**of(version=2, tolerance=60), UNREADABLE: "data: nests too deep"})
    assert routes.find(b"/shop/stripe") is before
    assert following.unreadable == {"shop.stripe"}


def test_unexpected_secret_ends_nothing(
    following: Following, routes: Routes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of it is logged, for it may be a key."""

    def fail(_: Any) -> None:
        raise RecursionError("hunter2")

    monkeypatch.setattr(module, "served", fail)
    with capture_logs() as lines:
        following.observe(of())
    (line,) = lines
    assert line["why"].startswith("RecursionError in test_secret_watch.py:")
    assert "hunter2" not in str(lines)
    assert following.unreadable == {"shop.stripe"}
    monkeypatch.undo()
    following.observe(of(version=2))
    assert paths(routes) == {"/shop/stripe"}


def test_endpoint_ends_when_its_secret_is_deleted(following: Following, routes: Routes) -> None:
    following.observe(of())
    following.observe(of(SLACK))
    following.observe(of(SLACK, version=2, tolerance=0))
    following.forget("Secret", ref(of()), 2)
    following.forget("Secret", ref(of(SLACK)), 3)
    assert paths(routes) == set()
    assert following.unreadable == set()
    following.observe(of())
    assert paths(routes) == {"/shop/stripe"}


def test_deleted_endpoint_is_reported_to_metrics(routes: Routes) -> None:
    gone: list[str] = []
    following = Following(NAMESPACE, GATEWAY, routes, gone.append)
    for each in (of("shop/dotted.name"), signing()):
        following.observe(each)
        following.forget("Secret", ref(each), 2)
    assert gone == ["shop/dotted.name"]


def test_endpoint_with_a_dotted_name_is_served(following: Following, routes: Routes) -> None:
    following.observe(of("shop/orders.eu"))
    assert paths(routes) == {"/shop/orders.eu"}


# The signing key


def gateway_id() -> str:
    return GATEWAY_ID


def test_active_key_signs_and_the_next_does_not(following: Following) -> None:
    assert following.signer(gateway_id) is None
    following.observe(signing(after="second"))
    first = following.signer(gateway_id)
    assert first is not None
    assert following.signer(gateway_id) is first
    following.observe(signing(2, "second"))
    second = following.signer(gateway_id)
    assert second is not None
    assert second.kid != first.kid


def test_signer_uses_the_gateways_current_id(following: Following) -> None:
    following.observe(signing())
    assert following.signer(gateway_id) is not following.signer(lambda: GATEWAY_ID + "2")


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
def test_unusable_signing_key_changes_nothing(following: Following, data: dict[str, bytes]) -> None:
    following.observe(signing())
    before = following.signer(gateway_id)
    with capture_logs() as lines:
        following.observe(secret(f"{GATEWAY}-webhook-signing", data, 2))
    assert following.signer(gateway_id) is before
    assert [line["event"] for line in lines] == ["unreadable"]
    assert "hunter2" not in str(lines)


def test_deleted_signing_key_signs_no_more(following: Following) -> None:
    following.observe(signing())
    following.forget("Secret", ref(signing()), 2)
    assert following.signer(gateway_id) is None


def test_nothing_secret_is_logged(following: Following) -> None:
    with capture_logs() as lines:
        following.observe(of())
        following.observe(signing())
    assert len(lines) == 2
    assert SECRET not in str(lines)
    assert "PRIVATE" not in str(lines)
    assert SECRET not in repr(following)


# Beside the watch


class Server:
    """An API server with some Secrets, which can be away."""

    def __init__(self, *secrets: Manifest) -> None:
        self.secrets = {Ref.of(each): each for each in secrets}
        self.away = False
        self.listed: Callable[[], None] = lambda: None
        self.got: Callable[[], None] = lambda: None
        self.read = 0

    async def pages(
        self, selection: Selection, *, metadata_only: bool = False
    ) -> AsyncIterator[Manifest]:
        assert metadata_only
        # what the operator would not see, and not remove, is not served either
        labels = f"troth.dev/webhook-gateway={GATEWAY},app.kubernetes.io/managed-by=troth"
        assert selection == Selection("Secret", NAMESPACE, labels=labels)
        if self.away:
            raise ApiError(0, "ClientConnectorError", "the API server cannot be reached")
        items = [{"metadata": each["metadata"]} for each in self.secrets.values()]
        yield {"items": items, "metadata": {"resourceVersion": "9"}}
        self.listed()

    async def get(self, kind: str, ref: Ref) -> Manifest:
        assert kind == "Secret"
        self.read += 1
        if ref not in self.secrets:
            raise ApiError(404, "NotFound", "there is none")
        found = self.secrets[ref]
        self.got()
        return found


async def checked(following: Following, server: Server) -> None:
    await following._check(cast(ApiServer, server))


async def test_polling_detects_what_a_dead_watch_misses(
    following: Following, routes: Routes
) -> None:
    following.observe(of())
    following.observe(of(SLACK))
    await checked(following, Server(of(version=2, keys={"k2": SECRET}), of("shop/new")))
    found = routes.find(b"/shop/stripe")
    assert found is not None
    assert [key.id for key in found.keys] == ["k2"]
    assert paths(routes) == {"/shop/stripe", "/shop/new"}


async def test_known_version_is_not_read_again(following: Following) -> None:
    following.observe(of())
    following.observe(of(SLACK, tolerance=0))
    server = Server(of(), of(SLACK, tolerance=0))
    await checked(following, server)
    assert server.read == 0


async def test_answer_older_than_the_watch_is_ignored(following: Following, routes: Routes) -> None:
    following.observe(of())
    server = Server(of(version=2), of(SLACK, version=4))
    server.got = lambda: following.observe(of(version=3, tolerance=60))
    server.listed = lambda: following.observe(of("shop/made-since"))
    await checked(following, server)
    found = routes.find(b"/shop/stripe")
    assert found is not None
    assert found.endpoint.tolerance == 60
    assert paths(routes) == {"/shop/stripe", "/shop/slack", "/shop/made-since"}


async def test_secret_deleted_between_two_requests_is_handled_by_the_next_poll(
    following: Following, routes: Routes
) -> None:
    server = Server(of())
    server.listed = server.secrets.clear
    await checked(following, server)
    assert paths(routes) == set()


async def test_nothing_changes_while_the_api_server_is_away(
    following: Following, routes: Routes
) -> None:
    following.observe(of())
    server = Server()
    server.away = True
    with pytest.raises(ApiError):
        await checked(following, server)
    assert paths(routes) == {"/shop/stripe"}


def test_gateway_is_ready_when_synced_and_with_a_key(following: Following) -> None:
    informer = following.informer(cast(ApiServer, Server()))
    following.observe(signing())
    assert (following.synced, following.ready) == (False, False)
    informer.synced.set()
    assert (following.synced, following.ready) == (True, True)
    following.forget("Secret", ref(signing()), 2)
    assert (following.synced, following.ready) == (True, False)

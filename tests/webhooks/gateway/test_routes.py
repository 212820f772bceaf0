"""Endpoints are served as a whole or not at all, each at its own path."""

from typing import Any

import pytest

from tests.webhooks.gateway.running import SECRET, compiled, endpoint, secret, target
from troth.documents.webhook_endpoint import EndpointError
from troth.webhooks.gateway.routes import Routes, Served, served
from troth.webhooks.schemes.delivery import Delivery, RefusedError
from troth.webhooks.schemes.scheme import Stamp


def made(name: str = "shop/stripe", **changed: Any) -> Served:
    return served(compiled(endpoint(name, **changed)))


def paths(routes: Routes, *asked: bytes) -> list[str | None]:
    found = map(routes.find, asked)
    return [each.endpoint.endpoint if each else None for each in found]


def test_every_key_of_the_secret_is_used() -> None:
    found = served(compiled(endpoint(), k1=SECRET, k2=secret(2)) | {"other": b"x"})
    assert {key.id for key in found.keys} == {"k1", "k2"}


def test_newest_key_of_troth_is_tried_first() -> None:
    keys = {name: secret(at) for at, name in enumerate(("k9", "k10", "k2"))}
    found = served(compiled(endpoint(), **keys))
    assert [key.id for key in found.keys] == ["k10", "k9", "k2"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({}, "endpoint.json is missing"),
        ({"endpoint.json": b"{"}, "invalid or ambiguous JSON"),
        (compiled(endpoint(tolerance=0)), "tolerance"),
        (compiled(endpoint(more=1)), "an unknown member"),
        (compiled(endpoint(path="shop/stripe")), "path"),
        (compiled(endpoint(target=target(1, path="/a b"))), "target.path"),
        (compiled(endpoint(target=target(1, path="/a\r\nX-Y: 1"))), "target.path"),
        (compiled(endpoint(target=target(1, path="/a?b"))), "target.path"),
        (compiled(endpoint(target=target(1, host="a/b"))), "target.host"),
        (compiled(endpoint(target=target(1, host="user@a"))), "target.host"),
        (compiled(endpoint(target=target(1, workflow=""))), "target.workflow"),
        (compiled(endpoint(), k1="whsec_short"), "key.k1"),
        (compiled(endpoint(), k1=SECRET, k2="nonsense"), "key.k2"),
        ({"endpoint.json": compiled(endpoint(target=target(1)))["endpoint.json"]}, "no key"),
        (compiled(endpoint(), **{f"k{n}": secret(n) for n in range(17)}), "more than 16 keys"),
        (compiled(endpoint(), **{f"k{n}": "nonsense" for n in range(17)}), "more than 16 keys"),
        (compiled(endpoint(), k1="x" * 16_385), "key.k1: it is larger than 16384 bytes"),
        (
            compiled(
                endpoint(source={"clientCertificate": {"sans": ["DNS:a"], "authorities": "x"}})
            ),
            "no certificates",
        ),
    ],
)
def test_endpoint_with_an_invalid_part_is_not_served(data: dict[str, bytes], why: str) -> None:
    with pytest.raises(EndpointError, match=why) as caught:
        served(data)
    assert "nonsense" not in str(caught.value)


def test_suspended_endpoint_may_have_no_key() -> None:
    """Its keys may have been taken back: with those of before they would still be good."""
    found = served({"endpoint.json": compiled(endpoint(suspended="no key"))["endpoint.json"]})
    assert found.keys == ()
    delivery = Delivery("POST", b"/shop/stripe", (), b"{}")
    signed = found.scheme.sign(delivery, found.scheme.key("k1", SECRET.encode()), Stamp(1, "a"))
    with pytest.raises(RefusedError):
        found.scheme.verify(signed, found.keys, 1, 300)


def test_keys_show_in_no_repr() -> None:
    shown = repr(served(compiled(endpoint())))
    assert SECRET.removeprefix("whsec_") not in shown
    assert repr(b"\x01" * 32) not in shown


def test_entry_is_replaced_moved_and_removed() -> None:
    routes = Routes()
    routes.put("a", made("shop/a"))
    routes.put("b", made("shop/b"))
    assert paths(routes, b"/shop/a", b"/shop/b") == ["shop/a", "shop/b"]
    routes.put("a", made("shop/a", path="/shop/moved"))
    assert paths(routes, b"/shop/a", b"/shop/moved") == [None, "shop/a"]
    routes.put("a", None)
    routes.put("never there", None)
    assert paths(routes, b"/shop/moved", b"/shop/b") == [None, "shop/b"]
    assert [each.endpoint.endpoint for each in routes] == ["shop/b"]


def test_path_of_another_endpoint_is_rejected() -> None:
    routes = Routes()
    routes.put("a", made("shop/a"))
    routes.put("b", made("shop/b"))
    with pytest.raises(EndpointError, match="another endpoint uses it"):
        routes.put("b", made("shop/b", path="/shop/a"))
    assert paths(routes, b"/shop/a", b"/shop/b") == ["shop/a", "shop/b"]


def test_new_version_of_an_endpoint_keeps_its_bucket() -> None:
    routes = Routes()
    limits = {"body": 100, "requestsPerSecond": 2}
    routes.put("a", made("shop/a", limits=limits))
    before = routes.find(b"/shop/a")
    assert before is not None
    routes.put("a", made("shop/a", limits=limits, tolerance=60))
    after = routes.find(b"/shop/a")
    assert after is not None
    assert after.endpoint.tolerance == 60
    assert after.bucket is before.bucket
    routes.put("a", made("shop/a", limits=limits | {"requestsPerSecond": 3}))
    changed = routes.find(b"/shop/a")
    assert changed is not None
    assert changed.bucket.rate == 3


@pytest.mark.parametrize(
    ("scheme", "allowed", "longest"),
    [("Twilio", 2**24, 2**18), ("SNS", 2**24, 2**20), ("Twilio", 10, 10), ("GitHub", 2**24, 2**24)],
)
def test_body_that_is_parsed_before_it_is_verified_has_a_smaller_limit(
    scheme: str, allowed: int, longest: int
) -> None:
    """Also if the operator that wrote the document did not know of it."""
    signing = {"name": scheme, "url": "https://hooks.example/shop/stripe", "topics": []}
    if scheme == "SNS":
        signing["topics"] = ["arn:aws:sns:eu-west-1:123456789012:orders"]
    limits = {"body": allowed, "requestsPerSecond": 10}
    assert made(signing=signing, limits=limits).longest_body == longest

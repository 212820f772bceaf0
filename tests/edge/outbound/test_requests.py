"""Calls with requests."""

from pathlib import Path

import pytest
import requests

pytest.register_assert_rewrite("tests.edge.behaviours")

from tests.edge.behaviours import Behaviour  # noqa: E402
from tests.edge.carriers import Requests  # noqa: E402
from tests.edge.shop import LEDGER, Shop, server_context  # noqa: E402
from tests.pki import builders as pki  # noqa: E402


class TestAdapter(Behaviour):
    kind = Requests

    def test_verification_cannot_be_turned_off(
        self, shop: Shop, carrier: Requests, tmp_path: Path
    ) -> None:
        foreign = pki.own_root(which="foreign")
        shop.ledger.context = server_context(tmp_path, LEDGER, authority=foreign)
        carrier.session.verify = False
        with pytest.raises(requests.exceptions.SSLError):
            carrier.session.get(shop.ledger.url, verify=False)
        assert not shop.ledger.seen

    def test_proxy_of_the_environment_is_not_used_for_callees(
        self, shop: Shop, carrier: Requests, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, shop.outside.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        assert carrier.send(shop.ledger.url).status == 200
        assert not shop.outside.seen

    def test_request_in_a_response_has_no_token(self, shop: Shop, carrier: Requests) -> None:
        response = carrier.session.get(shop.ledger.url)
        assert response.status_code == 200
        assert "Authorization" not in response.request.headers

    def test_body_is_read_through_rotations(self, shop: Shop, carrier: Requests) -> None:
        with carrier.session.get(shop.ledger.url, stream=True) as response:
            for _ in range(3):
                shop.rotate()
                assert carrier.send(shop.ledger.url).status == 200
            assert response.content

    def test_bundled_roots_of_requests_are_not_trusted(
        self, shop: Shop, carrier: Requests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        foreign = pki.own_root(which="foreign")
        roots = tmp_path / "foreign.pem"
        roots.write_bytes(b"".join(foreign.authority.anchors))
        monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(roots))
        shop.ledger.context = server_context(tmp_path, LEDGER, authority=foreign)
        with pytest.raises(requests.exceptions.SSLError):
            carrier.session.get(shop.ledger.url)
        assert not shop.ledger.seen

"""Cost of observing a Secret that is made as expensive as possible.

Measured in CPU time, so that a busy machine fails no test.
"""

import gc
import time
from collections.abc import Callable, Iterator

import pytest

from tests import builders
from tests.builders import OWN, Manifest
from tests.hostile_secrets import MEGABYTE, crowded, of_authorities, with_large_keys
from tests.messaging import broker
from tests.pki import builders as pki
from tests.reconcile.serving import Server, running
from troth.brokers.admin_secret import LONGEST
from troth.brokers.connecting import admin_place
from troth.brokers.errors import AdminRefusedError, BrokerError
from troth.brokers.protocol import CredentialRequest
from troth.pki.keys.parsing import PrivateKey
from troth.pki.keys.private import load_private_key, private_key_pem
from troth.planning.steps.broker_credentials import ChangeCredential, CredentialChange
from troth.reconcile.apply.keys.keyring import Keyring
from troth.reconcile.brokers.connections import admin_data
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.world.observation import secret_data
from troth.world.observation.broker_secrets import TYPE as CREDENTIAL
from troth.world.world import World

LONGEST_STALL = 0.25
HOSTILE: list[Callable[[], list[Manifest]]] = [
    lambda: list(with_large_keys("shop")),
    lambda: list(with_large_keys(OWN)),
    lambda: list(of_authorities(OWN)),
    lambda: list(crowded("shop")),
    lambda: list(crowded(OWN)),
]


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Keep the garbage of all tests before this one out of the measurement."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize(
    "hostile", HOSTILE, ids=["large", "large, own", "CAs", "many", "many, own"]
)
async def test_no_secret_takes_long_to_observe(hostile: Callable[[], list[Manifest]]) -> None:
    manifests = hostile()
    async with running(Server()) as it:
        for version, manifest in enumerate(manifests, 1):
            manifest["metadata"] |= {"uid": f"u{version}", "resourceVersion": str(version)}
            began = time.thread_time()
            it.engine.observe(manifest)
            cost = time.thread_time() - began
            assert cost < LONGEST_STALL, manifest["metadata"]["name"]


def test_each_private_key_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In Troth's own namespace, a Secret may belong to an identity or to a CA."""
    parsed: list[bytes] = []

    def counting(pem: bytes) -> PrivateKey:
        parsed.append(pem)
        return load_private_key(pem)

    monkeypatch.setattr(secret_data, "load_private_key", counting)
    world = World(OWN)
    leaf, key = pki.leaf(pki.own_root()), private_key_pem(pki.key())
    world.observe(builders.secret("production-issuer", OWN, tls_crt=leaf, tls_key=key), uptime=0.0)
    assert len(parsed) == 1


def test_credential_with_too_many_entries_is_replaced_and_cleared() -> None:
    """The names are kept, so that foreign entries can be removed; the values are not."""
    credential = next(each for each in crowded("shop") if each["type"] == CREDENTIAL)
    keyring, world = Keyring(OWN), World(OWN)
    keyring.observe(credential)
    world.observe(credential, uptime=0.0)
    fact = world.brokers.secrets[Ref.of(credential)]
    assert (fact.intact, fact.current, dict(fact.public)) == (False, None, {})
    request = CredentialRequest(Ref("shop", "main"), BrokerType.KAFKA, "shop.web", ())
    step = ChangeCredential(credential, "", "", CredentialChange.REFRESH, request)
    known = keyring.credential_data(step)
    assert known is not None
    assert known.keys() == credential["data"].keys()
    assert set(known.values()) == {b""}


def test_admin_secret_with_too_many_entries_is_rejected_by_name() -> None:
    (crowd, *_) = crowded("messaging", {})
    with pytest.raises(AdminRefusedError, match="messaging/many-given has 100000 entries; keep"):
        admin_data(crowd)


def test_oversized_admin_secret_value_is_cut_and_rejected_by_name() -> None:
    large = builders.secret("kafka-admin", "messaging", password=b"x" * MEGABYTE, username=b"me")
    data = admin_data(large)
    assert LONGEST < len(data["password"]) <= LONGEST + 3
    declared = MessageBroker.parse(broker())
    with pytest.raises(BrokerError, match=r"password in admin Secret .* is longer than"):
        admin_place(declared, data)

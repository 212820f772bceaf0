"""Certificates that are not a workload's own: both sides reject them, though packets arrive.

The callee rejects such a caller, and the caller such a callee, each in the handshake and with the
right reason. The operator issued the certificates, except for those that it never issues.
"""

from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sandbox.node.workload import Files
from tests import builders
from tests.cluster.stage import IDENTITY, Stage
from tests.sandbox.identities import TrustDomain
from tests.truth.scene import Player, Scene, files_of
from troth.resources.references import Ref

LONG_AGO = timedelta(days=3)  # a leaf lives for one
CONTROL = "its own name by its own root"

Shown = dict[str, dict[str, Files]]
"""Certificates that a pod presents instead of its own, by their description and the pod's name."""


async def cast(stage: Stage) -> tuple[Scene, Shown]:
    """Return a scene in which web calls payments, with search beside them, and the certificates.

    Two other domains have identities of the same names; one of them federates with this domain.
    """
    await stage.clock.move_to(stage.clock.now() - LONG_AGO)
    partner, elsewhere = f"{stage.name}-partner", f"{stage.name}-elsewhere"
    await stage.domain(federatesWith=[{"name": partner}])
    await _another_domain(stage, "-partner", federatesWith=[{"name": stage.name}])
    await _another_domain(stage, "-elsewhere", federatesWith=[])
    await stage.run()
    namesakes = [
        await _identities(stage, await stage.namespace(label=domain))
        for domain in (partner, elsewhere)
    ]
    pair = await _identities(stage, stage.shop)
    search = await stage.identity("search")
    await stage.person.ready(IDENTITY, search)
    outdated = [await _certificate(stage, ref) for ref in pair]
    await stage.later(LONG_AGO)
    await stage.settled()

    scene = Scene(stage)
    await scene.enter(
        *map(Player.of, pair),
        Player(stage.shop, "exchanged", {"app": "web"}, identity="search"),
        Player(stage.shop, "thief", {"app": "search"}, identity="web"),
    )
    await scene.as_declared()
    own_names = [f"spiffe://{stage.name}.example/ns/{stage.shop}/sa/{ref.name}" for ref in pair]
    neighbours = await _certificate(stage, search)
    ours, theirs = await _root_of(stage, stage.name), await _root_of(stage, partner)
    impostor = TrustDomain(f"{stage.name}.example")
    shown = {
        "its own of three days ago": outdated,
        "its neighbour's": [neighbours, neighbours],
        "its namesake's of a federated domain": [
            await _certificate(stage, ref) for ref in namesakes[0]
        ],
        "its namesake's of another domain": [
            await _certificate(stage, ref) for ref in namesakes[1]
        ],
        "its own name by a federated root": [_pair(theirs.files(name)) for name in own_names],
        "its own name by nobody's root": [_pair(impostor.files(name)) for name in own_names],
        CONTROL: [_pair(ours.files(name)) for name in own_names],
    }
    return scene, {
        what: dict(zip(("web", "payments"), each, strict=True)) for what, each in shown.items()
    }


async def test_callee_rejects_a_caller_whose_certificate_is_not_its_own(stage: Stage) -> None:
    scene, shown = await cast(stage)
    assert await scene.connect("web", "payments") == "answered"
    assert {
        what: await scene.call("web", "payments", scope="charge", present=each["web"])
        for what, each in shown.items()
    } == {
        "its own of three days ago": "handshake by server: expired certificate",
        "its neighbour's": "handshake by server: bad certificate",
        "its namesake's of a federated domain": "handshake by server: bad certificate",
        "its namesake's of another domain": "handshake by server: unknown certificate authority",
        "its own name by a federated root": "handshake by server: bad certificate",
        "its own name by nobody's root": "handshake by server: unknown certificate authority",
        CONTROL: "answered",
    }
    assert await scene.call("web", "payments", scope="charge") == "answered"
    assert await scene.call("web", "payments", scope="refund") == 'scope "refund" is not granted'


async def test_caller_rejects_a_callee_whose_certificate_is_not_its_own(stage: Stage) -> None:
    scene, shown = await cast(stage)
    payments = scene.workload("payments")
    assert await scene.connect("web", "payments") == "answered"
    found = {}
    for what, each in shown.items():
        payments.pose(each["payments"])
        found[what] = await scene.call("web", "payments", scope="charge")
    assert found == {
        "its own of three days ago": "handshake by client: expired certificate",
        "its neighbour's": "handshake by client: wrong identity",
        "its namesake's of a federated domain": "handshake by client: wrong identity",
        "its namesake's of another domain": "handshake by client: unknown certificate authority",
        "its own name by a federated root": "handshake by client: bad certificate",
        "its own name by nobody's root": "handshake by client: unknown certificate authority",
        CONTROL: "answered",
    }
    payments.pose(None)
    assert await scene.call("web", "payments", scope="charge") == "answered"


async def test_neither_labels_nor_certificate_of_a_workload_are_enough_alone(
    stage: Stage,
) -> None:
    scene, _ = await cast(stage)
    named = str(scene.workload("payments").identity()["spiffeID"])
    assert await scene.connect("exchanged", "payments") == "answered"
    said = await scene.call("exchanged", "payments", expect=named)
    assert said == "handshake by server: bad certificate"
    assert await scene.call("thief", "payments") == "network rejected"
    async with scene.unfiltered():
        assert await scene.call("thief", "payments") == "answered"


async def _another_domain(stage: Stage, suffix: str, **spec: object) -> None:
    name = f"{stage.name}{suffix}"
    selector = {"matchLabels": {"domain": name}}
    await stage.domain(suffix, domain=f"{name}.example", namespaceSelector=selector, **spec)


async def _identities(stage: Stage, namespace: str) -> list[Ref]:
    accepts = [builders.accept("web", scopes=["charge"])]
    refs = [
        await stage.identity("web", namespace, calls=[builders.call("payments")]),
        await stage.identity("payments", namespace, ports=["https"], accepts=accepts),
    ]
    for ref in refs:
        await stage.person.ready(IDENTITY, ref)
    return refs


async def _certificate(stage: Stage, identity: Ref) -> Files:
    return _pair(files_of(await stage.secret(identity)))


def _pair(files: Files) -> Files:
    return {name: files[name] for name in ("tls.crt", "tls.key")}


async def _root_of(stage: Stage, domain: str) -> TrustDomain:
    """Return a signer with a domain's root, which signs anything."""
    ref = Ref(stage.own, f"{domain}-authority")
    files = files_of(await stage.person.the("Secret", ref))
    key = load_pem_private_key(files["tls.key"].encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    root = TrustDomain(f"{domain}.example", key)
    root.root = x509.load_pem_x509_certificate(files["tls.crt"].encode())
    return root

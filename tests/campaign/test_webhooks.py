"""Random campaigns of users, tampering, faults and crashes against webhooks.

In any order of events: a gateway's document has only declared endpoints, the gateway delivers only
to targets that consent, and it tries only keys that exist. No key that Troth made is replaced
without a reason, or dropped too early. At rest everything is as declared, and nothing deleted is
left.
"""

import base64
import copy
import json
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from tests import builders, strategies, webhook_builders
from tests.builders import Manifest, stamp
from tests.campaign.judges.webhooks import (
    BEFORE,
    COMPILED,
    GATEWAY,
    GENERATED,
    NEXT_PEM,
    PEM,
    SIGNING,
    SUFFIX,
    document_of,
    encoded,
)
from tests.campaign.machine import kinds
from tests.campaign.people import (
    TAMPERING,
    Change,
    PeopleMachine,
    domains,
    strip_labels,
    without,
)
from tests.campaign.stages.webhooks import WebhookStage
from tests.strategies import NAMESPACES, PORTS, campaign, more, often, sometimes, subset
from tests.webhook_builders import TOPIC, labelled
from troth.documents.gateway_report import LABEL, member
from troth.documents.secret_keys import WEBHOOK_KEYS
from troth.resources.references import Ref
from troth.world.observation.webhook_secrets import COMPILED_DIGEST, MADE

Identity = tuple[str, str]

GATEWAYS: tuple[Identity, ...] = (("south", "c"), ("east", "d"), ("south", "a"))
TARGETS: tuple[Identity, ...] = (("north", "a"), ("north", "b"), ("south", "a"))
ENDPOINTS: tuple[Identity, ...] = (("north", "one"), ("north", "two"), ("south", "three"))
GIVEN = ("north", "south")
"""Namespaces in which users keep the keys of senders, each in a Secret `given`."""
GOOD = tuple(f"whsec_{base64.b64encode(bytes([n]) * 32).decode()}" for n in range(3))
TEXTS = (*GOOD, 32 * "ab", "junk")
"""Keys for every scheme, for some, and for none."""
SCHEMES = ("StandardWebhooks", "GitHub", "Stripe", "SNS", "GitLabToken")
SERVED = (
    *({"matchLabels": {"webhooks": "yes"}},) * 3,
    {"matchExpressions": [{"key": "domain", "operator": "Exists"}]},
)
WATCHED = (
    *("TrustDomain", "ServiceIdentity", "WebhookEndpoint", "CredentialRotation", "Namespace"),
    *("Service", "Secret", "ConfigMap", "NetworkPolicy"),
)
THOROUGH = settings.get_current_profile_name() == "thorough"
FEW = settings(max_examples=20)

gateways = st.sampled_from(GATEWAYS)
targets = st.sampled_from(TARGETS)
endpoints_there = st.sampled_from(ENDPOINTS)
texts = st.dictionaries(st.sampled_from(("k1", "k2", "old")), st.sampled_from(TEXTS), max_size=3)


def accepting(gateway: Identity, *ports: str) -> Manifest:
    return builders.accept(gateway[1], *ports, namespace=gateway[0])


@st.composite
def identities(draw: st.DrawFn, place: Identity) -> Manifest:
    """Draw an identity that may be a gateway, and may be a target."""
    spec: Manifest = {}
    if place in GATEWAYS and draw(often):
        spec["servesWebhooks"] = {"allowedNamespaces": draw(st.sampled_from(SERVED))}
    if draw(sometimes):
        spec["authentication"] = {"token": {}}
    accepts = []
    if place in TARGETS:
        others = [each for each in GATEWAYS if each != place]
        accepts = [
            accepting(draw(st.sampled_from(others)), port) for port in draw(strategies.port_names)
        ]
    if draw(sometimes):
        accepts.append(builders.accept("b", "web", namespace="north"))
    calls = []
    if place in GATEWAYS and draw(sometimes):
        to = draw(targets.filter(lambda each: each != place))
        calls = [builders.call(to[1], *draw(strategies.port_names), namespace=to[0])]
    return builders.identity(
        place[1], place[0], ports=PORTS.values(), accepts=accepts, calls=calls, **spec
    )


@st.composite
def endpoints(draw: st.DrawFn, place: Identity) -> Manifest:
    """Draw an endpoint for a target beside it, through one of the gateways; or outbound."""
    if draw(sometimes) and draw(sometimes):
        return webhook_builders.outbound(place[1], place[0])
    scheme = draw(st.sampled_from(SCHEMES))
    more: Manifest = {}
    if scheme == "Stripe" or (scheme != "SNS" and draw(sometimes)):
        more["secretRef"] = {"name": draw(st.sampled_from(("given", "given", "one-webhook")))}
    if scheme == "SNS":
        more["sns"] = {"topicARNs": [TOPIC]}
    if scheme == "GitLabToken":
        ends = builders.NOW + draw(st.sampled_from((2 * builders.HOUR, 40 * builders.DAY)))
        more["acceptUnsigned"] = webhook_builders.UNSIGNED | {"expiresAt": stamp(ends)}
    gateway = draw(gateways)
    return webhook_builders.endpoint(
        place[1],
        place[0],
        scheme,
        tolerance="5m",
        replayWindow=draw(st.sampled_from(("24h", "48h"))),
        publicURL=f"https://hooks.example/{draw(st.sampled_from('ab'))}",
        source={"cidrs": draw(subset(("203.0.113.0/24",)))},
        gateway={"namespace": gateway[0], "name": gateway[1]},
        target={
            "identity": {"name": draw(st.sampled_from([n for s, n in TARGETS if s == place[0]]))},
            "port": draw(st.sampled_from(("grpc", "grpc", "grpc", "web", "alt"))),
            "path": draw(st.sampled_from(("/hook", "/other"))),
            "workflow": "work",
        },
        **more,
    )


@st.composite
def services(draw: st.DrawFn, place: Identity) -> Manifest:
    leads = draw(st.one_of(st.sampled_from((9090, 9090, 8080)), st.just("grpc")))
    made = webhook_builders.leading(place[1], place[0], leads, draw(st.sampled_from((443, 80))))
    made["spec"]["selector"] = {"app": place[1]}
    return made


@st.composite
def namespaces(draw: st.DrawFn, name: str) -> Manifest:
    labels = {"domain": draw(st.sampled_from(("red", "red", "red", "blue")))}
    return builders.namespace(name, webhooks=draw(st.sampled_from(("yes", "no"))), **labels)


# Tampering with owned objects


def put_in(name: str, text: bytes) -> Change:
    def change(child: Manifest) -> None:
        child.setdefault("data", {})[name] = encoded(text)

    change.__name__ = f"put_in({name!r})"
    return change


def relabel(child: Manifest) -> None:
    child["metadata"]["labels"][GATEWAY] = "nobody"


def lead_elsewhere(child: Manifest) -> None:
    """Replace the target of deliveries."""
    document = document_of(child)
    if document.get("target"):
        document["target"]["host"] = "evil.east.svc"
        child["data"]["endpoint.json"] = encoded(json.dumps(document).encode())


def forget_when(child: Manifest) -> None:
    child["metadata"]["annotations"].pop(MADE, None)


def orphan(child: Manifest) -> None:
    child["metadata"].pop("ownerReferences", None)


def spoil_digest(child: Manifest) -> None:
    child["metadata"]["annotations"][COMPILED_DIGEST] = "of something else"


OF_TYPE = {
    COMPILED: (
        *(strip_labels, relabel, lead_elsewhere, spoil_digest),
        *map(without, ("endpoint.json", "key.k1")),
        *(put_in("key.k1", GOOD[1].encode()), put_in("key.k9", GOOD[2].encode())),
        put_in("endpoint.json", b"{}"),
    ),
    GENERATED: (
        *(strip_labels, forget_when, orphan, without("k1"), without("k2")),
        *(put_in("k1", b"junk"), put_in("k1", GOOD[0].encode()), put_in("k7", GOOD[1].encode())),
    ),
    SIGNING: (
        *(strip_labels, orphan, without(PEM), without(NEXT_PEM), without("key.made")),
        *(put_in(NEXT_PEM, b"junk"), put_in(BEFORE, b"junk"), put_in(PEM, b"junk")),
    ),
}


class WebhookCampaign(PeopleMachine[WebhookStage]):
    """Users and their webhooks."""

    watched = WATCHED
    spaces: ClassVar[st.SearchStrategy[Manifest]] = st.one_of(*map(namespaces, NAMESPACES))

    def __init__(self) -> None:
        super().__init__(WebhookStage())

    @initialize(
        red=domains("red"),
        blue=domains("blue"),
        declared=st.tuples(*map(identities, sorted({*GATEWAYS, *TARGETS}))),
        hooks=st.tuples(*map(endpoints, ENDPOINTS)),
        leading=st.tuples(*map(services, TARGETS)),
    )
    def begin(
        self,
        red: Manifest,
        blue: Manifest,
        declared: tuple[Manifest, ...],
        hooks: tuple[Manifest, ...],
        leading: tuple[Manifest, ...],
    ) -> None:
        spaces = [
            builders.namespace(name, domain=label, webhooks="yes")
            for name, label in zip(NAMESPACES, ("red", "red", "blue"), strict=True)
        ]
        given = [self.given(namespace, {"k1": GOOD[0]}) for namespace in GIVEN]
        self.open(*spaces, red, blue, *declared, *leading, *given, *hooks)
        for place in ENDPOINTS:
            self.agree(place)

    # Users

    @rule(manifest=st.sampled_from(sorted({*GATEWAYS, *TARGETS})).flatmap(identities))
    def declare_identity(self, manifest: Manifest) -> None:
        self.declare_in_its_namespace(manifest)

    @rule(manifest=endpoints_there.flatmap(endpoints))
    def declare_endpoint(self, manifest: Manifest) -> None:
        self.declare_in_its_namespace(manifest)

    @rule(manifest=targets.flatmap(services))
    def declare_service(self, manifest: Manifest) -> None:
        self.declare_in_its_namespace(manifest)

    def declare_in_its_namespace(self, manifest: Manifest) -> None:
        if self.there("Namespace", "", manifest["metadata"]["namespace"]):
            self.declare(manifest)

    @rule(place=endpoints_there)
    def agree(self, place: Identity) -> None:
        """Let the target of an endpoint accept its gateway, if both exist."""
        inbound = (self.found("WebhookEndpoint", *place) or {"spec": {}})["spec"].get("inbound")
        if inbound is None:
            return
        target = self.found("ServiceIdentity", place[0], inbound["target"]["identity"]["name"])
        gateway = inbound["gateway"]["namespace"], inbound["gateway"]["name"]
        if target is not None and gateway != (place[0], target["metadata"]["name"]):
            port = inbound["target"]["port"]
            others = [e for e in target["spec"]["accepts"] if port not in e["ports"]]
            target["spec"]["accepts"] = [*others, accepting(gateway, port)]
            self.declare(target)

    @rule(place=endpoints_there)
    def delete_endpoint(self, place: Identity) -> None:
        self.run(self.stage.drop(("WebhookEndpoint", Ref(*place))))

    @rule(place=targets)
    def delete_service(self, place: Identity) -> None:
        self.run(self.stage.drop(("Service", Ref(*place))))

    @rule(namespace=st.sampled_from(GIVEN), held=texts)
    def give_keys(self, namespace: str, held: dict[str, str]) -> None:
        if self.there("Namespace", "", namespace):
            self.run(self.stage.put(self.given(namespace, held)))

    @rule(namespace=st.sampled_from(GIVEN), gone=st.booleans())
    def take_keys_back(self, namespace: str, gone: bool) -> None:
        place = "Secret", Ref(namespace, "given")
        if gone:
            self.run(self.stage.drop(place))
        elif place in self.stage.server.objects:
            bare = copy.deepcopy(self.stage.server.objects[place])
            bare["metadata"]["labels"] = {}
            self.run(self.stage.put(bare))

    @staticmethod
    def given(namespace: str, held: dict[str, str]) -> Manifest:
        data = {name: text.encode() for name, text in held.items()}
        return labelled(builders.secret("given", namespace, **data))

    @rule(
        place=endpoints_there,
        every=st.sampled_from((None, None, "30m")),
        overlap=st.sampled_from(("0s", "10m", "2h")),
        minutes=st.integers(-5, 5),
    )
    def rotate_secret(self, place: Identity, every: str | None, overlap: str, minutes: int) -> None:
        if self.there("Namespace", "", place[0]):
            spec = {"requestedAt": self.in_(minutes), "overlap": overlap}
            spec |= {"every": every} if every else {}
            self.declare(builders.rotation("WebhookEndpoint", place[1], place[0], **spec))

    @rule(place=endpoints_there, newest=often)
    def deliver(self, place: Identity, newest: bool) -> None:
        """Report as the gateway that a key has verified a delivery."""
        endpoint = self.found("WebhookEndpoint", *place) or {}
        tried = sorted(each["id"] for each in endpoint.get("status", {}).get("keys", []))
        if not tried:
            return
        key = tried[-1 if newest else 0]
        gateway = endpoint["spec"]["inbound"]["gateway"]
        if self.there("Namespace", "", gateway["namespace"]):
            name = f"{gateway['name']}-webhook-keys"
            report = self.found("ConfigMap", gateway["namespace"], name) or {
                "kind": "ConfigMap",
                "metadata": {
                    "name": name,
                    "namespace": gateway["namespace"],
                    "labels": {LABEL: gateway["name"]},
                },
                "data": {},
            }
            report["data"][".".join(place)] = member({key: self.stage.clock.now()})
            self.run(self.stage.put(report))

    def found(self, kind: str, *ref: str) -> Manifest | None:
        return copy.deepcopy(self.stage.server.objects.get((kind, Ref(*ref))))

    # Tampering

    def tampering(self, child: Manifest) -> tuple[Change, ...]:
        of_identity = (*TAMPERING[child["kind"]], without(WEBHOOK_KEYS))
        usual = of_identity if child["kind"] == "Secret" else TAMPERING[child["kind"]]
        return OF_TYPE.get(child.get("type", ""), usual)

    @rule(place=endpoints_there, gateway=gateways)
    def squat_at_the_gateway(self, place: Identity, gateway: Identity) -> None:
        self.squat_at("Secret", gateway[0], ".".join(place))

    @rule(place=endpoints_there)
    def squat_beside_the_endpoint(self, place: Identity) -> None:
        self.squat_at("Secret", place[0], place[1] + SUFFIX)

    @rule(gateway=gateways)
    def squat_beside_the_gateway(self, gateway: Identity) -> None:
        self.squat_at("Secret", gateway[0], f"{gateway[1]}-webhook-signing")

    # Faults

    @rule(kind=kinds)
    def miss_what_is_next(self, kind: str) -> None:
        """Restart, and receive no events of a kind for a while."""
        self.run(self.stage.replace(self.stage.copies[0]))
        self.stage.copies[0].mute(kind)


TestWebhookCampaign = pytest.mark.long(WebhookCampaign.TestCase)
TestWebhookCampaign.settings = campaign(more(1) if THOROUGH else FEW)

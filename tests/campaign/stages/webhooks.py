"""The stage with webhooks: every write to their objects is compared with the declarations."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.builders import Manifest
from tests.campaign.judges.declared import DECLARED, identity_of, view_of
from tests.campaign.judges.webhooks import (
    BEFORE,
    GENERATED,
    NEXT_PEM,
    PEM,
    SIGNING,
    SIGNING_SUFFIX,
    SUFFIX,
    TOKEN_LIFE,
    Hooks,
    document_of,
    endpoint_of,
    key_ids,
    keys_of,
    kid_of,
    routes_in,
    seconds,
    usable,
)
from tests.campaign.judges.webhooks_at_rest import WebhooksAtRest
from tests.campaign.stages.stage import Stage
from tests.oracle import Place as Identity
from troth.documents.gateway_report import parse_member
from troth.reconcile.rehearsal import Place
from troth.resources.references import Ref
from troth.world.observation import objects as observe

PROPAGATION = timedelta(minutes=1)
LATE = 3
"""How many of the last versions of a Secret may be read.

Those are the current one, and the writes between a read and a write.
"""


@dataclass(frozen=True)
class Made:
    """When Troth made a key, by the wall clock and by the monotonic one."""

    at: datetime
    uptime: float


class WebhookStage(Stage):
    """A stage on which endpoints are declared."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[tuple[Ref, str], Made] = {}
        """Every key that Troth made, by the Secret and its text."""
        self._signing_since: dict[tuple[Ref, str], float] = {}
        """Time since which each gateway signs with each key."""
        self._told: dict[Place, Manifest] = {}
        """Documents that Troth wrote last for the gateways."""
        self._views = self.history.each(Hooks)

    # Judging writes

    def _faults_of_write(
        self, place: Place, before: Manifest | None, after: Manifest | None
    ) -> Iterator[str]:
        match (after or before or {}).get("type"), before, after:
            case "troth.dev/webhook", dict(), None:
                yield from self._faults_of_withdrawal(before)
            case "troth.dev/webhook", _, dict():
                yield from self._faults_of_compiled(before, after)
            case "troth.dev/webhook-keys", _, None:
                yield f"{place} was removed, and goes with its endpoint"
            case "troth.dev/webhook-keys", _, dict():
                yield from self._faults_of_turn(place[1], before, after)
            case "troth.dev/webhook-signing", dict(), dict():
                yield from self._faults_of_signing(before, after)
            case _:
                yield from super()._faults_of_write(place, before, after)
                if place[0] == "Secret" and after is not None and before is not None:
                    yield from self._faults_of_trust(place[1], before, after)
        if place[0] == "Secret" and after is not None and after.get("type") == SIGNING:
            self._note_signing(place[1], after)

    def _faults_of_withdrawal(self, secret: Manifest) -> Iterator[str]:
        ref, place = endpoint_of(secret), ("Secret", Ref.of(secret))
        if all(hooks.served(ref) and hooks.place(ref) == place for hooks in self._views()):
            yield f"{place} was removed, and the endpoint is served"

    def _faults_of_compiled(self, before: Manifest | None, after: Manifest) -> Iterator[str]:
        ref, place = endpoint_of(after), ("Secret", Ref.of(after))
        document, stood = document_of(after), self._told.get(place, {})
        self._told[place] = document
        views = [
            hooks
            for hooks in self._views()
            if hooks.inbound(ref) is not None and hooks.place(ref) == place
        ]
        less = before is not None and keys_of(after).items() < keys_of(before).items()
        if document == stood and less and any(hooks.torn(ref) for hooks in views):
            return
        views = [hooks for hooks in views if hooks.served(ref)]
        if not views:
            yield f"{place} was written, and the gateway does not serve it, whoever is asked"
            return
        views = [hooks for hooks in views if hooks.said(ref, after)]
        if not views:
            yield f"{place} says what nobody declares: {document}"
            return
        if not any(self._has_good_keys(hooks, ref, after) for hooks in views):
            yield f"{place} has keys that are not there: {sorted(keys_of(after))}"
        target = document["target"]
        if target is not None and not any(
            hooks.accepts_now(ref)
            and (
                target in hooks.targets(ref)
                or (target == stood.get("target") and hooks.suspended(ref))
            )
            for hooks in views
        ):
            yield f"{place} lets in {target}, and nobody agrees"

    def _has_good_keys(self, hooks: Hooks, ref: Ref, compiled: Manifest) -> bool:
        """Return whether every key is one of the sender's recent keys."""
        keys, source = keys_of(compiled), hooks.source(ref)
        scheme = (hooks.inbound(ref) or {})["scheme"]
        if source is None:
            return not keys
        lately = [
            event.manifest
            for event in self.server.history["Secret"]
            if event.place == ("Secret", source)
        ][-LATE:]
        mine = [
            observe.decoded(each) for each in lately if each is not None and hooks.reads(ref, each)
        ]
        return all(usable(scheme, text) for text in keys.values()) and (
            not keys or any(keys.items() <= data.items() for data in mine)
        )

    # Generated keys

    def _faults_of_turn(
        self, secret: Ref, before: Manifest | None, after: Manifest
    ) -> Iterator[str]:
        ref = Ref(secret.namespace, secret.name.removesuffix(SUFFIX))
        views = [hooks for hooks in self._views() if hooks.generates(ref)]
        old = observe.decoded(before) if before else {}
        new = observe.decoded(after)
        for name in old.keys() & new.keys():
            if old[name] != new[name]:
                yield f"{name} of {secret} was overwritten"
        if not views and old != new:
            yield f"{secret} was written, and nobody asks for it"
            return
        schemes = {(hooks.inbound(ref) or {})["scheme"] for hooks in views}
        for name in old.keys() - new.keys():
            spoilt = any(not usable(scheme, old[name]) for scheme in schemes)
            if not spoilt and not self._retired(ref, secret, old, name):
                yield f"{name} of {secret} was dropped, and is good"
        lacking = any(not any(usable(scheme, text) for text in old.values()) for scheme in schemes)
        for name in new.keys() - old.keys():
            if not lacking and not self._asked(ref, secret, old):
                yield f"{name} of {secret} was made, and nobody asks for it"
            if not all(usable(scheme, new[name]) for scheme in schemes) and len(schemes) == 1:
                yield f"{name} of {secret} is of no use"
            self._made[secret, encoded_key(new[name])] = Made(
                self.clock.now().replace(microsecond=0), self.clock.uptime()
            )

    def _known(self, secret: Ref, data: dict[str, bytes]) -> dict[str, Made]:
        """Return the keys of a Secret that Troth made, the newest last."""
        made = {
            name: self._made[secret, encoded_key(text)]
            for name, text in data.items()
            if (secret, encoded_key(text)) in self._made
        }
        return dict(sorted(made.items(), key=lambda item: item[1].uptime))

    def _retired(self, ref: Ref, secret: Ref, data: dict[str, bytes], name: str) -> bool:
        """Return whether a newer key is in use, and the overlap of both has passed."""
        known = self._known(secret, data)
        if not known or list(known)[-1] == name:
            return False
        newest = list(known)[-1]
        lived = self.clock.uptime() - known[newest].uptime
        in_use = any(
            moment >= known[newest].at
            for report in self._reports(ref)
            for key, moment in report.items()
            if key == newest
        )
        return in_use and lived >= self._overlap(ref)

    def _overlap(self, ref: Ref) -> int:
        """Return the lowest overlap that any version declares, in seconds."""
        return max(
            (
                min(seconds(each["spec"].get("overlap", "0s")) if each else 0 for each in versions)
                for versions in self._rotations(ref)
            ),
            default=0,
        )

    def _rotations(self, ref: Ref) -> Iterator[list[Manifest | None]]:
        target = {"kind": "WebhookEndpoint", "name": ref.name}
        for (kind, place), versions in self.history.versions.items():
            if kind == "CredentialRotation" and place.namespace == ref.namespace:
                mine = [
                    each if each and each["spec"]["target"] == target else None for each in versions
                ]
                if any(mine):
                    yield mine

    def _reports(self, ref: Ref) -> Iterator[dict[str, datetime]]:
        for event in self.server.history["ConfigMap"]:
            data = (event.manifest or {}).get("data", {})
            text = data.get(f"{ref.namespace}.{ref.name}")
            if text is not None:
                yield dict(parse_member(text))

    def _asked(self, ref: Ref, secret: Ref, data: dict[str, bytes]) -> bool:
        """Return whether a rotation requests a key after the newest."""
        known = self._known(secret, data)
        newest = list(known.values())[-1].at if known else None
        specs = [each["spec"] for versions in self._rotations(ref) for each in versions if each]
        now = max(self.history.moments)
        return newest is not None and any(
            ("requestedAt" in spec and newest < datetime.fromisoformat(spec["requestedAt"]) <= now)
            or ("every" in spec and newest + timedelta(seconds=seconds(spec["every"])) <= now)
            for spec in specs
        )

    # Gateways' keys

    def _note_signing(self, secret: Ref, after: Manifest) -> None:
        kid = kid_of(observe.decoded(after).get(PEM, b""))
        if kid is not None:
            self._signing_since.setdefault((secret, kid), self.clock.uptime())

    def _faults_of_signing(self, before: Manifest, after: Manifest) -> Iterator[str]:
        me, secret = identity_of(after), Ref.of(after)
        old, new = observe.decoded(before), observe.decoded(after)
        was, now = kid_of(old.get(PEM, b"")), kid_of(new.get(PEM, b""))
        if was is not None and was != now:
            if now is None or now != kid_of(old.get(NEXT_PEM, b"")):
                yield f"{secret} signs with a key that nobody was told of"
            for target in set.intersection(*(hooks.targets_of(me) for hooks in self._views())):
                if now not in key_ids(self._identity_secret(target)):
                    yield f"{secret} signs with a key that {target} does not know"
        if BEFORE in old and BEFORE not in new and now is not None:
            since = self._signing_since.get((secret, now))
            enough = (TOKEN_LIFE + PROPAGATION).total_seconds()
            if since is not None and self.clock.uptime() - since < enough and old != new:
                yield f"{secret} drops the key before too early"

    def _identity_secret(self, place: Identity) -> Manifest:
        return self.server.objects.get(("Secret", Ref(place[0], f"{place[1]}-identity")), {})

    def _faults_of_trust(self, ref: Ref, before: Manifest, after: Manifest) -> Iterator[str]:
        """Yield each undeclared route that a target gained, and each needed key that it lost."""
        if not ref.name.endswith("-identity"):
            return
        me = identity_of(after)
        views = self._views()
        for route in routes_in(after) - routes_in(before):
            if not any(route in hooks.routes(me) for hooks in views):
                yield f"{me} was told to take {route}, and nobody declares it"
        lost = key_ids(before) - key_ids(after)
        if not lost:
            return
        for gateway in set.intersection(*(hooks.gateways_of(me) for hooks in views)):
            if self._always_signed(gateway) in lost and not self._is_closed(gateway, me):
                yield f"{me} was made to forget the key of {gateway}"

    def _is_closed(self, gateway: Identity, target: Identity) -> bool:
        """Return whether an edge is closed because a document of one side cannot be narrowed."""
        ends = (target, gateway, True), (gateway, target, False)
        return any(
            narrowing.closes(Ref(*peer), inbound=inbound)
            for copy in self.copies
            for one, peer, inbound in ends
            if (narrowing := copy.engine.world.registry.unapplied.get(Ref(*one))) is not None
        )

    def _always_signed(self, gateway: Identity) -> str | None:
        """Return the only kid with which a gateway has signed since the last rest, if any."""
        place = "Secret", Ref(gateway[0], gateway[1] + SIGNING_SUFFIX)
        begun = self._quiet_at.get("Secret", 0)
        past = [event for event in self.server.history["Secret"][:begun] if event.place == place]
        since = [event for event in self.server.history["Secret"][begun:] if event.place == place]
        kids = {
            kid_of(observe.decoded(event.manifest).get(PEM, b"")) if event.manifest else None
            for event in (*past[-1:], *since)
        }
        return kids.pop() if len(kids) == 1 and past else None

    # Rest

    def _given_away(self) -> list[Place]:
        """Return also the Secrets that only a user can repair."""
        return [
            *super()._given_away(),
            *(
                place
                for place, manifest in self.server.objects.items()
                if manifest.get("type") in (GENERATED, SIGNING)
                and (
                    not manifest["metadata"].get("ownerReferences")
                    or (
                        manifest["type"] == SIGNING
                        and kid_of(observe.decoded(manifest).get(PEM, b"")) is None
                    )
                )
            ),
        ]

    def _faults_at_rest(self) -> Iterator[str]:
        yield from super()._faults_at_rest()
        objects = self.server.objects
        declared = [each for (kind, _), each in objects.items() if kind in DECLARED]
        hooks = Hooks(view_of(declared, self.clock.now()), declared)
        yield from WebhooksAtRest(objects, hooks, self._told).faults()


def encoded_key(text: bytes) -> str:
    return text.decode("utf-8", "replace")

"""The stage with a broker: every change at the broker is compared with the declarations."""

import copy
from collections.abc import Collection, Iterator
from datetime import datetime

from tests.builders import OWN, Manifest
from tests.campaign.broker import PREFIX, ModelBroker
from tests.campaign.judges.declared import View, view_of
from tests.campaign.stages.stage import Stage
from tests.messaging_oracle import Brokers, Operation, Uses, Wanted
from troth.planning.grants.finalizer import PATIENCE
from troth.reconcile.rehearsal import Place as Object
from troth.resources.references import Ref
from troth.trust.grants import Place, Rule
from troth.world.facts.broker import Ledger
from troth.world.index.brokers import credential_ref
from troth.world.observation import objects as observe
from troth.world.observation.broker_secrets import TYPE
from troth.world.observation.ledger import kept_ledger, ledger_ref

MAIN = Ref("north", "main")
LEDGER = ("ConfigMap", ledger_ref(OWN, MAIN))
NAMED = ("prod.a", "prod.b", "prod.b.x", "test.c")
DEAD = "prod.dead"
TOPICS = (*NAMED, DEAD)
GROUPS = ("g", "h")
Identity = tuple[str, str]


class Lenient(Brokers):
    """Oracle of what may stay: a suspended grant is not revoked."""

    def _group_shared(self, place: Identity, tried: Operation, channel: Manifest) -> bool:  # noqa: ARG002
        return False

    def _in_the_way(self, other: Identity, theirs: Wanted, place: Identity, mine: Wanted) -> bool:  # noqa: ARG002
        return False


class BrokerStage(Stage):
    """A stage whose copies of the operator administer one broker."""

    def __init__(self) -> None:
        super().__init__()
        self.broker = ModelBroker()
        self.broker.on_change = self._judge_change
        self._views = self.history.each(Seen, timeless=True)
        self.left: set[Rule | Place] = set()
        """Rules and credentials that were Troth's until their ledger was lost or deleted, and that
        no later ledger has."""

    # Events

    async def put(self, manifest: Manifest) -> None:
        """Declare something; fields of others stay."""
        before = self.server.objects.get((manifest["kind"], Ref.of(manifest)))
        if before is not None and "deletionTimestamp" in before["metadata"]:
            return
        if before is not None and "finalizers" in before["metadata"]:
            manifest = copy.deepcopy(manifest)
            manifest["metadata"]["finalizers"] = before["metadata"]["finalizers"]
        await super().put(manifest)

    async def lose_ledger(self) -> None:
        await self.calm()
        if LEDGER in self.server.objects:
            self._leave()
            await self.drop(LEDGER)

    def _leave(self) -> None:
        self.left |= {each for each in self.broker.rules if each.principal.startswith(PREFIX)}
        self.left |= set(self.broker.credentials)

    @property
    def ledger(self) -> Ledger:
        """The current ledger."""
        found = self.server.objects.get(LEDGER)
        return kept_ledger(found).ledger if found else Ledger()

    # Judging changes

    def _judge_change(self, what: str, change: Rule | Place) -> None:
        try:
            self.wrong += self._faults_of(what, change)
        except Exception as error:  # noqa: BLE001 - otherwise the operator would handle it as its own
            self.wrong.append(f"cannot judge {what} {change}: {error!r}")

    def _faults_of(self, what: str, change: Rule | Place) -> Iterator[str]:
        """Yield the faults of a change at the broker at this moment."""
        principal = change.principal if isinstance(change, Rule) else change[0]
        if not principal.startswith(PREFIX):
            yield f"{what} {change}: it is a stranger's"
        if not isinstance(change, Rule):
            faults = self._faults_of_credential(what, change)
        elif what == "add":
            faults = self._faults_of_addition(change)
        elif change in self.broker.rules:
            faults = self._faults_of_removal(change)
        else:
            return
        for fault in faults:
            yield f"{what} {change}: {fault}"

    def _faults_of_addition(self, rule: Rule) -> Iterator[str]:
        if rule not in self.ledger.rules:
            yield "it is not in the ledger"
        if rule not in self.broker.rules and not self._ever(rule):
            yield "nobody grants it"

    def _faults_of_removal(self, rule: Rule) -> Iterator[str]:
        ledger = self.ledger
        if rule.effect == "DENY":
            yield "it denies"
        if rule not in ledger.rules and rule.principal not in ledger.principals:
            yield "the ledger does not have it"
        for tried in self._always(rule.principal):
            left = self.broker.rules - {rule}
            if lets(self.broker.rules, tried) and not lets(left, tried):
                yield f"{tried} is granted, whoever is asked"

    def _always(self, principal: str) -> set[Operation]:
        """Return the operations of a principal that every view grants."""
        identity = identity_of(principal)
        granted = (set(each.operations(identity, strict=True)) for each in self._views())
        return set.intersection(*granted)

    def _faults_of_credential(self, what: str, place: Place) -> Iterator[str]:
        kept = place in self.ledger.credentials
        if not kept and (what == "tell" or place in self.broker.credentials):
            yield "it is not in the ledger"
        if what == "tell" and not any(
            has_grants(view, place[0], strict=False) for view in self._views()
        ):
            yield "it has no grant, whoever is asked"

    def _ever(self, rule: Rule) -> bool:
        return any(allows(view, rule, strict=True) for view in self._views())

    def _faults_of_write(
        self, place: Object, before: Manifest | None, after: Manifest | None
    ) -> Iterator[str]:
        if place == LEDGER and after is None:
            yield from self._given_up()
            self._leave()
        elif place == LEDGER and after is not None:
            adopted = kept_ledger(after).ledger
            self.left -= {*adopted.rules, *adopted.credentials}
        elif (after or before or {}).get("type") != TYPE:
            yield from super()._faults_of_write(place, before, after)

    def _given_up(self) -> Iterator[str]:
        """Yield a fault if the ledger is deleted before its rules, or before its patience ends."""
        deleted = self.server.objects.get(("MessageBroker", MAIN), {}).get("metadata", {})
        since = deleted.get("deletionTimestamp")
        waited = since and self.clock.now() - datetime.fromisoformat(since) >= PATIENCE
        remaining = self.ledger.rules & self.broker.rules
        if remaining and not waited and not self._observing():
            yield f"the ledger is deleted, and {remaining} remain"

    def _observing(self) -> bool:
        return any(
            each is not None and each["spec"].get("mode", "Enforce") != "Enforce"
            for each in self.history.versions.get(("MessageBroker", MAIN), ())
        )

    # Rest

    async def calm(self) -> None:
        self.broker.away = False
        self.broker.troubles.clear()
        await super().calm()

    def _faults_at_rest(self) -> Iterator[str]:
        yield from super()._faults_at_rest()
        yield from self.faults_at_rest()

    async def _nothing_left(self) -> None:
        before = self.broker.changes
        await super()._nothing_left()
        assert self.broker.changes == before, "an operator that begins now changes the broker"

    def faults_at_rest(self) -> Iterator[str]:
        """Yield the faults at the broker at rest."""
        declared = list(self.server.objects.values())
        view = Seen(view_of(declared, self.clock.now()), declared)
        stored = self.server.objects.get(("MessageBroker", MAIN))
        if stored is None:
            known = self.left | self.broker.strangers
            for rule in self.broker.rules - known:
                yield f"{rule} stands, and there is no broker"
            for place in self.broker.credentials.keys() - self.left:
                yield f"{place} is let in, and there is no broker"
            return
        if stored["spec"].get("mode", "Enforce") != "Enforce":
            return
        yield from self._too_much(view)
        yield from self._too_little(view)
        yield from self._told(stored, view)

    def _too_much(self, view: "Seen") -> Iterator[str]:
        ledger = self.ledger
        for rule in self._undeclared(view):
            if not self._is_left_alone(rule, ledger):
                yield f"{rule} stands, and nobody grants it"
        for place in self.broker.credentials:
            if place not in self.left and not has_grants(view, place[0], strict=False):
                yield f"{place} is let in, and has no grant"
        for rule in self.broker.rules - self.broker.strangers - self.left - ledger.rules:
            yield f"{rule} stands, and the ledger does not have it"

    def _undeclared(self, view: "Seen") -> Iterator[Rule]:
        """Yield the rules that allow a principal of Troth's more than is declared."""
        for rule in self.broker.rules:
            troths = rule.principal.startswith(PREFIX) and rule.effect == "ALLOW"
            if troths and not allows(view, rule, strict=False):
                yield rule

    def _is_left_alone(self, rule: Rule, ledger: Ledger) -> bool:
        """Return whether nobody can tell whose an undeclared rule is: Troth reports it only.

        Of a principal that is in the ledger, only the rules that the ledger lists are left alone.
        """
        unknown = rule in self.left or rule in self.broker.strangers
        return unknown and (rule in ledger.left or rule.principal not in ledger.principals)

    def _too_little(self, view: "Seen") -> Iterator[str]:
        for identity in view.declared.identities:
            granted = view.operations(identity, strict=True)
            for operation in granted:
                if not lets(self.broker.rules, operation):
                    yield f"{operation} is granted, and the broker refuses it"
            ref = credential_ref(Ref(*identity), MAIN)
            secret = self.server.objects.get(("Secret", ref))
            if granted and secret is None:
                yield f"{identity} has no Secret"
            elif granted and secret is not None:
                held = observe.decoded(secret)["password"].decode()
                good = {
                    password
                    for (whose, _), password in self.broker.credentials.items()
                    if whose == principal_of(identity)
                }
                if held not in good:
                    yield f"{identity} has a credential that the broker does not take"
            elif secret is not None and not has_grants(view, principal_of(identity), strict=False):
                yield f"{identity} has a Secret still"

    def _told(self, stored: Manifest, view: "Seen") -> Iterator[str]:
        said = {each["type"]: each for each in stored["status"]["conditions"]}["Ready"]
        unaccounted = self.left or self.broker.strangers
        if said["status"] != "True" and not (unaccounted and said["reason"] == "Unaccounted"):
            yield f"the broker says {said['status']} {said['reason']}: {said['message']}"
        if said["status"] == "True":
            for rule in self._undeclared(view):
                yield f"{rule} stands, and the broker does not say so"


class Seen:
    """One view of all declarations, and the operations that it grants."""

    def __init__(self, declared: View, manifests: list[Manifest]) -> None:
        self.declared = declared
        uses: Uses = {
            (each["metadata"]["namespace"], each["metadata"]["name"]): (
                _policies(each, "publishes"),
                _policies(each, "consumes"),
                _policies(each, "reviews"),
            )
            for each in manifests
            if each["kind"] == "ServiceIdentity"
        }
        existing = [each for each in manifests if "deletionTimestamp" not in each["metadata"]]
        self._strict = Brokers.by(declared, existing, uses)
        self._lenient = Lenient.by(declared, existing, uses)
        self._known: dict[tuple[Identity, bool], list[Operation]] = {}

    def operations(self, identity: Identity, *, strict: bool) -> list[Operation]:
        """Return all operations of an identity."""
        known = self._known.get((identity, strict))
        if known is None:
            brokers = self._strict if strict else self._lenient
            tried = (
                Operation((MAIN.namespace, MAIN.name), identity, action, topic, group)
                for topic in TOPICS
                for action, groups in (("Publish", ("",)), ("Consume", GROUPS))
                for group in groups
            )
            known = self._known[identity, strict] = [
                each for each in tried if brokers.permits(each)
            ]
        return known


def principal_of(identity: Identity) -> str:
    return f"{PREFIX}{identity[0]}.{identity[1]}"


def identity_of(principal: str) -> Identity:
    namespace, _, name = principal.removeprefix(PREFIX).partition(".")
    return namespace, name


def lets(rules: Collection[Rule], tried: Operation) -> bool:
    """Return whether these rules allow an operation, without rules that deny."""
    mine = {
        (rule.kind, rule.operation, rule.pattern, rule.name)
        for rule in rules
        if rule.principal == principal_of(tried.identity) and rule.effect == "ALLOW"
    }
    operation = "WRITE" if tried.action == "Publish" else "READ"
    on_topic = ("TOPIC", operation, "LITERAL", tried.topic) in mine or any(
        (kind, verb, pattern) == ("TOPIC", operation, "PREFIXED") and tried.topic.startswith(name)
        for kind, verb, pattern, name in mine
    )
    return on_topic and (
        tried.action == "Publish" or ("GROUP", "READ", "LITERAL", tried.group) in mine
    )


def has_grants(view: Seen, principal: str, *, strict: bool) -> bool:
    return bool(view.operations(identity_of(principal), strict=strict))


def allows(view: Seen, rule: Rule, *, strict: bool) -> bool:
    """Return whether a view grants everything that a rule allows."""
    may = view.operations(identity_of(rule.principal), strict=strict)
    if rule.kind == "GROUP":
        return any(each.group == rule.name for each in may)
    action = "Publish" if rule.operation == "WRITE" else "Consume"
    topics = {each.topic for each in may if each.action == action}
    if rule.pattern == "PREFIXED":
        return {rule.name, f"{rule.name}.x"} <= topics  # no declared prefix is longer
    return rule.name in topics


def _policies(identity: Manifest, part: str) -> list[Identity]:
    here = identity["metadata"]["namespace"]
    named = [each["policy"] for each in identity["spec"].get(part, [])]
    return [(each.get("namespace", here), each["name"]) for each in named]

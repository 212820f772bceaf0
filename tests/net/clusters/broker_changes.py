"""Changes at the brokers of a random cluster, and of their ledgers."""

import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.net.clusters.objects import Objects
from tests.net.clusters.universe import (
    BROKERS,
)
from troth.resources.references import Ref
from troth.trust.grants import Observed, Rule, Slot
from troth.world.facts.broker import AdminInUse, Ledger
from troth.world.facts.objects import Fault

DOWN = Fault("BrokerUnreachable", "nobody answered at a:1")
REFUSED = Fault("AdminRefused", "the broker refuses the credential in Secret main")


class BrokerChanges(Objects):
    """Changes the state of brokers and the observations of it."""

    def _show_brokers(self) -> None:
        for name in BROKERS:
            ref = Ref("east", name)
            if self._stage.world.brokers.declared(ref) is not None and self._draw.often():
                self._show_admin(ref)

    def _show_admin(self, broker: Ref) -> None:
        draw = self._draw
        place = ("admin", draw.pick((Slot.FIRST, Slot.SECOND))) if draw.often() else None
        written = self._stage.now - timedelta(hours=draw.below(48))
        shown = AdminInUse(place, "theirs", written, self._stage.clock.uptime())
        observed = self._stage.look(broker).observed or Observed()
        self._stage.see(broker, observed, admin=shown)

    async def _look(self) -> None:
        draw, stage = self._draw, self._stage
        broker = Ref("east", draw.pick(("main", "main", "other")))
        if stage.world.brokers.declared(broker) is None:
            return
        before = stage.look(broker).observed or Observed()
        how = draw.pick(
            ("down", "refused", "foreign", "foreign", *["lost"] * 5, "failed", "shown", "admin")
        )
        match how:
            case "down":
                stage.lose_sight(broker, DOWN)
            case "refused":
                stage.lose_sight(broker, REFUSED)
            case "foreign":
                who = draw.pick(("main-north.a", "main-gone.a", "somebody", "t-north.b"))
                rule = Rule(who, "TOPIC", "LITERAL", "prod.orders", "WRITE", host="*")
                more = {(who, Slot.FIRST)} if draw.half() else set()
                credentials = before.credentials | more
                stage.see(broker, Observed(credentials, before.rules | {rule}))
            case "lost":
                rules = draw.subset(sorted(before.rules))
                left = draw.subset(sorted(before.credentials))
                stage.see(broker, Observed(frozenset(left), frozenset(rules)))
            case "failed":
                failed: dict[Any, str] = dict.fromkeys(sorted(before.rules)[:2], "not allowed")
                failed |= dict.fromkeys(sorted(before.credentials)[:1], "not allowed")
                stage.see(broker, before, failures=failed)
            case "shown":
                self._show_admin(broker)
            case _:
                fault = Fault("NewAdminRefused", "the broker refuses the new password")
                tried = {"admin_fault": fault, "admin_tried_at": stage.clock.uptime()}
                stage.see(broker, before, **(tried if draw.half() else {"admin_fault": None}))
        self._tell(f"{how} at {broker}")

    async def _ledger(self) -> None:
        """Delete, corrupt or rewrite a broker's ledger."""
        draw, stage = self._draw, self._stage
        ref = Ref("east", "main")
        kept = stage.world.brokers.ledgers.get(ref)
        declared = stage.world.brokers.declared(ref)
        if kept is None or declared is None:
            return
        place = "ConfigMap", kept.ref
        how = draw.pick(("lose", "spoil", "say"))
        match how:
            case "lose":
                stage.drop(*place)
            case "spoil":
                spoilt = copy.deepcopy(stage.store.objects[place])
                stage.put({**spoilt, "binaryData": {}})
            case _:
                rules = frozenset(draw.subset(sorted(kept.ledger.rules)))
                retained = frozenset(draw.subset(sorted(rules)))
                changed = replace(kept.ledger, rules=rules, retained=retained)
                await stage.keep_ledger(declared, changed if draw.often() else Ledger())
        self._tell(f"{how} the ledger of {ref}")

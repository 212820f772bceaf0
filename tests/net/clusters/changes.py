"""Changes of a random cluster: declarations, faults, edits by hand, time."""

import copy
from datetime import timedelta

from tests.net.clusters.objects import Objects
from tests.net.clusters.universe import (
    DOMAINS,
    ENDPOINTS,
    HOOKS,
    NAMES,
    NAMESPACES,
    stamp,
)
from tests.net.stage import DECLARED, OWN
from troth.resources.references import Ref
from troth.world.facts.objects import MANAGED_BY, OWNER_NAME

OWNED = ("Secret", "NetworkPolicy", "ConfigMap")
SHORT = (timedelta(seconds=30), timedelta(minutes=3), timedelta(minutes=7))
LONG = (timedelta(minutes=20), timedelta(minutes=50), timedelta(hours=13), timedelta(days=20))


class Changes(Objects):
    """Changes everything except the state of brokers."""

    async def _change_declared(self) -> None:
        draw, declared = self._draw, self._declared
        there = [place for place in sorted(self._stage.store.objects) if place[0] in DECLARED]
        unread = [(key.kind, key.ref) for key in sorted(self._stage.world.unreadable)]
        if draw.half() and unread:
            there = unread
        kind, ref = draw.pick(there) if there else ("ServiceIdentity", Ref("north", "a"))
        place = ref.namespace, ref.name
        match kind:
            case "TrustDomain":
                made = declared.domain(ref.name)
                before = self._stage.store.objects[kind, ref]["spec"]
                made["spec"] |= {"environment": before["environment"]}
            case "ServiceIdentity" if ref.namespace == HOOKS:
                made = declared.gateway(ref.name)
            case "ServiceIdentity":
                with_hook = self._theme == "webhooks" and ref.namespace == "north"
                made = declared.target(place) if with_hook else declared.identity(place)
            case "MessageBroker":
                made = declared.broker(ref.name)
            case "TopicPolicy":
                made = declared.policy(place)
            case "WebhookEndpoint":
                made = declared.endpoint(place, draw.pick(NAMES[:2]))
            case _:
                made = self._some_rotation()
        self._put(made)

    async def _change_messaging(self) -> None:
        draw, declared = self._draw, self._declared
        use = draw.pick(declared.uses)
        match draw.below(8):
            case 0:
                self._put(declared.broker(draw.pick(("main", "main", "other"))))
            case 1:
                self._put(declared.identity(use.identity))
            case 2:
                policy = Ref(*use.policy)
                if ("TopicPolicy", policy) in self._stage.store.objects:
                    self._tell(f"delete {policy}", self._stage.delete("TopicPolicy", policy))
            case 3 | 4 | 5:
                self._put(declared.rotation("MessageBroker", ("east", "main")))
            case _:
                self._put(declared.policy(use.policy))

    async def _declare_domain(self) -> None:
        self._put(self._declared.domain(self._draw.pick(DOMAINS)))

    async def _declare_namespace(self) -> None:
        made = self._declared.namespace(self._draw.pick((*NAMESPACES, HOOKS)))
        if self._draw.sometimes():
            made["metadata"]["deletionTimestamp"] = stamp(self._stage.now)
            made["metadata"]["finalizers"] = ["kubernetes"]
        self._put(made)

    async def _rotate(self) -> None:
        draw, declared = self._draw, self._declared
        if self._theme == "webhooks":
            self._put(declared.rotation("WebhookEndpoint", ("north", draw.pick(ENDPOINTS))))
        else:
            self._put(self._some_rotation())

    async def _change_authority(self) -> None:
        self._put(self._authority(self._draw.pick(("ca", "red-ca")), "red"))

    def _expendable(self) -> list[tuple[str, Ref]]:
        """Return the declared resources, rarely with trust domains: without one, little is left to
        plan.
        """
        kinds = DECLARED if self._draw.chance(0.2) else DECLARED[1:]
        return [place for place in sorted(self._stage.store.objects) if place[0] in kinds]

    async def _spoil(self) -> None:
        """Make a resource unreadable, as one stored under an older schema is."""
        there = self._expendable()
        if there:
            stored = self._stage.store.objects[self._draw.pick(there)]
            self._put({**stored, "spec": {**stored["spec"], "unknownField": 1}})

    async def _delete(self) -> None:
        there = self._expendable()
        if there:
            place = self._draw.pick(there)
            self._tell(f"delete {place[0]} {place[1]}", self._stage.delete(*place))

    async def _drop(self) -> None:
        there = [place for place in sorted(self._stage.store.objects) if self._may_go(*place)]
        if there:
            place = self._draw.pick(there)
            self._tell(f"drop {place[0]} {place[1]}", self._stage.drop(*place))

    def _may_go(self, kind: str, ref: Ref) -> bool:
        if kind in ("Namespace", *DECLARED):
            return kind == "Namespace" and self._draw.sometimes()
        return kind != "Secret" or ref.namespace != OWN or self._draw.half()

    async def _tamper(self) -> None:
        """Edit one of Troth's owned objects by hand."""
        draw, objects = self._draw, self._stage.store.objects
        there = [
            place
            for place, each in sorted(objects.items())
            if place[0] in OWNED and MANAGED_BY in (each["metadata"].get("labels") or {})
        ]
        if not there:
            return
        place = draw.pick(there)
        changed = copy.deepcopy(objects[place])
        labels = changed["metadata"]["labels"]
        how = draw.pick(("content", "content", "part", "other owner", "no owner", "not ours"))
        match how:
            case "content" if "spec" in changed:
                changed["spec"].pop("egress", None)
            case "content":
                changed["data"] = {}
            case "part" if changed.get("data"):
                changed["data"].pop(draw.pick(sorted(changed["data"])))
            case "other owner":
                labels[OWNER_NAME] = "b" if place[0] != "ConfigMap" else "blue"
            case "no owner":
                labels.pop(OWNER_NAME, None)
            case "not ours":  # for the informer's selector this is a deletion
                labels.pop(MANAGED_BY)
                self._tell(f"unlabel {place[0]} {place[1]}", self._stage.drop(*place))
                self._stage.put_unseen(changed)
                return
        self._tell(f"{how} of {place[0]} {place[1]}", self._stage.put(changed))

    async def _refuse(self) -> None:
        objects = self._stage.store.objects
        there = [place for place in sorted(objects) if place[0] in OWNED]
        if there:
            place = self._draw.pick(there)
            self._stage.refuse(*place, "the quota of the namespace is used up")
            self._tell(f"refuse {place[0]} {place[1]}")

    async def _wait(self) -> None:
        await self._stage.pass_time(self._draw.pick(SHORT))

    async def _wait_long(self) -> None:
        await self._stage.pass_time(self._draw.pick(LONG))

    async def _set_clock(self) -> None:
        await self._stage.set_clock(self._draw.pick((timedelta(minutes=9), timedelta(minutes=-4))))

    async def _roll_out(self) -> None:
        draw = self._draw
        wish = draw.pick(self._declared.wishes)
        kind = draw.pick(("Deployment", "Deployment", "StatefulSet", "DaemonSet"))
        before = self._stage.store.objects.get((kind, Ref(*wish.callee)))
        made = self._declared.workload(*wish.callee, kind)
        if before is not None:  # its restart annotations stay
            made["spec"]["template"] = before["spec"]["template"]
            made["metadata"]["creationTimestamp"] = before["metadata"]["creationTimestamp"]
        self._put(made)
        if draw.sometimes():
            self._put(self._declared.budget(*wish.callee))

    async def _change_keys(self) -> None:
        self._put(self._keys())

    async def _report_keys(self) -> None:
        self._put(self._report())

"""Every key whose plan a change alters is affected.

Every key is planned before and after every change, and at the end in a world that is built afresh.
This is what keeps the work on a change small without ever leaving a stale policy or certificate
behind.
"""

import copy

from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.builders import HOUR, OWN, Cluster, Manifest, rotation
from tests.strategies import (
    DOMAINS,
    NAMES,
    NAMESPACES,
    clusters,
    domains,
    endpoints,
    half,
    identities,
    more,
    namespaces,
    sometimes,
    wishes,
)
from tests.world.watching import Watch
from troth.planning.plan import Plan
from troth.planning.planner import plan
from troth.planning.steps.step import Step
from troth.resources.references import Ref
from troth.trust.declarations.unread import CONSENTING
from troth.world.facts.objects import MANAGED_BY, OWNER_KIND, OWNER_NAME
from troth.world.index.rotations import rotation_key
from troth.world.keys import Key, Keys, domain_key, identity_key, view_key
from troth.world.outcomes.selections import SelectionRead

PLACES = [Ref(namespace, name) for namespace in (*NAMESPACES, OWN) for name in NAMES]
HELD = ("TrustDomain", "ServiceIdentity", "CredentialRotation", "WebhookEndpoint")
EVERYBODY = [
    *(domain_key(name) for name in DOMAINS),
    *(view_key(name) for name in DOMAINS),
    *(identity_key(ref) for ref in PLACES),
    *(rotation_key(ref) for ref in PLACES),
]


def plans(cluster: Cluster) -> dict[Key, Plan]:
    tokens = cluster.world.tokens
    tokens.view_written.clear()  # else a view would only wait for its turn
    used_again = [plan(view_key(name), cluster.world, cluster.moment) for name in DOMAINS]
    tokens.entries.clear()
    anew = [plan(view_key(name), cluster.world, cluster.moment) for name in DOMAINS]
    assert used_again == anew, "what was worked out before is used where it does not hold any more"
    return {key: plan(key, cluster.world, cluster.moment) for key in EVERYBODY}


def broken(manifest: Manifest) -> Manifest:
    """The same resource, unreadable: stored under an older schema, say."""
    return {**manifest, "spec": {**manifest["spec"], "unknownField": 1}}


everywhere = st.sampled_from((*NAMESPACES, OWN))


@st.composite
def some_identity(draw: st.DrawFn) -> Manifest:
    place = draw(everywhere), draw(st.sampled_from(NAMES))
    chosen = draw(identities(place, draw(st.lists(wishes, max_size=4))))
    return broken(chosen) if draw(sometimes) else chosen


@st.composite
def some_domain(draw: st.DrawFn) -> Manifest:
    chosen = draw(domains(draw(st.sampled_from(DOMAINS))))
    if draw(sometimes):
        given_ca = {"secretRef": {"name": draw(st.sampled_from(("ca", "red-authority")))}}
        chosen["spec"]["authority"] = given_ca
    if draw(half):
        chosen["spec"]["isolation"] = "Namespace"
    return broken(chosen) if draw(sometimes) else chosen


@st.composite
def some_namespace(draw: st.DrawFn) -> Manifest:
    chosen = draw(namespaces(draw(everywhere)))
    if draw(sometimes):
        chosen["metadata"]["deletionTimestamp"] = builders.stamp(builders.NOW)
    return chosen


@st.composite
def some_authority(draw: st.DrawFn) -> Manifest:
    made = copy.deepcopy(
        builders.authority_secret(
            draw(st.sampled_from(DOMAINS)),
            draw(st.sampled_from(("first", "second"))),
            constrained=draw(st.booleans()),
        )
    )
    if draw(sometimes):
        made["metadata"]["name"] = "ca"
    if draw(sometimes):
        made["metadata"]["labels"] = {}
    if draw(sometimes):
        made["data"].pop("tls.key")
    if draw(half):  # a rotation is under way
        certificate, key = builders.root(f"{draw(st.sampled_from(DOMAINS))}.example", "third")
        coming = builders.secret("x", next_crt=certificate, next_key=key.encode())
        made["data"] |= coming["data"]
    elif draw(half):
        certificate, _ = builders.root(f"{draw(st.sampled_from(DOMAINS))}.example", "third")
        made["data"] |= builders.secret("x", retiring_crt=certificate)["data"]
    return made


@st.composite
def some_token_keys(draw: st.DrawFn) -> Manifest:
    """What an issuer works from, whole or not, and whoever's."""
    made = builders.tokens_secret(draw(st.sampled_from(DOMAINS)))
    for name in draw(st.sets(st.sampled_from(sorted(made["data"])))):
        made["data"].pop(name)
    if draw(sometimes):
        made["metadata"]["labels"] = {}
    return made


@st.composite
def some_rotation(draw: st.DrawFn) -> Manifest:
    kind, targets = draw(st.sampled_from((("ServiceIdentity", NAMES), ("TrustDomain", DOMAINS))))
    spec: Manifest = {}
    if draw(st.booleans()):
        spec["requestedAt"] = builders.stamp(builders.NOW + draw(st.sampled_from((-1, 1))) * HOUR)
    if draw(st.booleans()):
        spec["every"] = draw(st.sampled_from(("5m", "720h")))
    if draw(sometimes):
        spec["overlap"] = "12h"
    name = draw(st.sampled_from(NAMES))
    chosen = rotation(kind, draw(st.sampled_from(targets)), draw(everywhere), name, **spec)
    if draw(sometimes):
        chosen["spec"]["compromised"] = "0123456789abcdef"
    return broken(chosen) if draw(sometimes) else chosen


@st.composite
def some_endpoint(draw: st.DrawFn) -> Manifest:
    wished = draw(st.lists(wishes, min_size=1, max_size=2).map(endpoints).filter(bool))
    return broken(wished[0]) if draw(sometimes) else wished[0]


@st.composite
def some_read(draw: st.DrawFn) -> SelectionRead:
    """Draw any outcome of reading a part of the declarations."""
    namespace = draw(st.sampled_from(("", *NAMESPACES, OWN)))
    return SelectionRead(draw(st.sampled_from(sorted(CONSENTING))), namespace, draw(half))


declarations = st.one_of(
    some_rotation(),
    some_endpoint(),
    some_identity(),
    some_domain(),
    some_namespace(),
    some_authority(),
    some_token_keys(),
    st.builds(
        lambda name, namespace, app: builders.service(name, namespace, app=app),
        st.sampled_from(("one", "two")),
        st.sampled_from(NAMESPACES),
        st.sampled_from(NAMES),
    ),
    st.sets(st.sampled_from(("10.0.0.1", "10.0.0.2"))).map(
        lambda addresses: builders.endpoint_slice(*sorted(addresses))
    ),
)


def tampered(manifest: Manifest, how: str) -> Manifest:
    """A child as a hand left it."""
    changed = copy.deepcopy(manifest)
    labels = changed["metadata"].get("labels") or {}
    match how:
        case "content":
            if "spec" in changed:
                changed["spec"].pop("egress", None)
            else:
                changed["data"] = {}
        case "other owner":
            labels[OWNER_NAME] = "b" if changed["kind"] != "ConfigMap" else "blue"
        case "no owner":
            labels.pop(OWNER_NAME, None)
        case "other kind":
            labels[OWNER_KIND] = "TrustDomain"
        case "not ours":
            labels.pop(MANAGED_BY, None)
    changed["metadata"]["labels"] = labels
    return changed


@more(4)
@given(clusters(), st.data())
def test_every_key_whose_plan_changes_is_affected(
    manifests: list[Manifest], data: st.DataObject
) -> None:
    cluster = Cluster()
    watch = Watch(cluster, plans)
    for name in DOMAINS:  # whose views then follow everything that is declared
        key = builders.token_key()
        cluster.put(
            builders.tokens_secret(name, current_key=key, current_made=b"x", bundle_json=b"{}")
        )
    for manifest in manifests:
        watch(f"put {_name(manifest)}", cluster.put, manifest)
    for _ in range(data.draw(st.integers(1, 14))):
        what = data.draw(
            st.sampled_from(
                (
                    *("visit", "visit", "visit", "put", "edit", "edit", "drop", "delete", "hand"),
                    "unread",
                )
            )
        )
        match what:
            case "visit":
                keys = [*cluster.keys(), *cluster.views()]
                if keys:
                    _visit(watch, data.draw(st.sampled_from(keys)))
            case "put":
                manifest = data.draw(declarations)
                watch(f"put {_name(manifest)}", cluster.put, manifest)
            case "drop":
                place = data.draw(st.sampled_from(sorted(cluster.objects)))
                watch(f"drop {place}", cluster.drop, *place)
            case _:
                others = {"edit": _edit, "delete": _delete, "unread": _read, "hand": _touch}
                others[what](watch, data)
    watch.assert_like_afresh()


def _read(watch: Watch, data: st.DataObject) -> None:
    """Let a part of the declarations become unread, or be read again."""
    outcome = data.draw(some_read())
    watch(f"{outcome}", watch.cluster.world.observe_outcome, outcome)


def _delete(watch: Watch, data: st.DataObject) -> None:
    """Delete something declared that a finalizer of another program holds."""
    cluster = watch.cluster
    there = sorted(place for place in cluster.objects if place[0] in HELD)
    if not there:
        return
    place = data.draw(st.sampled_from(there))
    held = copy.deepcopy(cluster.objects[place])
    held["metadata"]["finalizers"] = ["example.com/hold"]
    watch(f"hold {place}", cluster.put, held)
    watch(f"delete {place}", cluster.delete, *place)


def _visit(watch: Watch, key: Key) -> None:
    cluster = watch.cluster
    for step in cluster.plan(key).pending(cluster.world):
        watch(f"{type(step).__name__} for {key}", _carried_out, cluster, key, step)
    stored, made = cluster.objects.get((key.kind, key.ref)), cluster.plan(key)
    if stored is not None and made.status is not None:
        reported = {**stored, "status": dict(made.status)}
        watch(f"status of {key}", cluster.put, reported)


def _carried_out(cluster: Cluster, key: Key, step: Step) -> Keys:
    return cluster.carry_out(step) | {key}  # the engine plans a key itself again after its steps


def _edit(watch: Watch, data: st.DataObject) -> None:
    """Change some fields of an identity, and leave the rest of it as it is."""
    cluster = watch.cluster
    there = sorted(place for place in cluster.objects if place[0] == "ServiceIdentity")
    if not there:
        return
    place = data.draw(st.sampled_from(there))
    other = data.draw(identities(place[1], data.draw(st.lists(wishes, max_size=4))))
    changed = copy.deepcopy(cluster.objects[place])
    for field in data.draw(st.sets(st.sampled_from(sorted({*other["spec"], "accepts", "calls"})))):
        changed["spec"].pop(field, None)
        changed["spec"] |= {field: other["spec"][field]} if field in other["spec"] else {}
    watch(f"edit {place[1]}", cluster.put, changed)


def _touch(watch: Watch, data: st.DataObject) -> None:
    cluster = watch.cluster
    children = sorted(
        place
        for place, each in cluster.objects.items()
        if place[0] in ("Secret", "ConfigMap", "NetworkPolicy")
    )
    if not children:
        return
    place = data.draw(st.sampled_from(children))
    how = data.draw(
        st.sampled_from(("content", "other owner", "no owner", "other kind", "not ours"))
    )
    changed = tampered(cluster.objects[place], how)
    if how == "not ours" and place[1].namespace != OWN:
        # the informer's label selector makes a deletion of it
        watch(f"{place}: labels taken off", cluster.drop, *place)
    else:
        watch(f"{place}: {how}", cluster.put, changed)


def _name(manifest: Manifest) -> str:
    return f"{manifest['kind']} {Ref.of(manifest)}"

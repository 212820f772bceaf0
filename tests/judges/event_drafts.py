"""Random events, sealed by Troth and then edited, as vectors without a verdict."""

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st

from troth.edge.events.attributes import SIGNED
from troth.edge.events.bindings import kafka, nats
from troth.edge.events.message import Sealed
from troth.edge.events.seal import envelope
from website.event_vectors import scene, seal_vectors, token_vectors
from website.event_vectors.certificates import Made
from website.event_vectors.events import unsealed
from website.event_vectors.keys import sign

Draft = dict[str, Any]
Headers = list[tuple[str, bytes]]

# No character that one of the judges' versions of Unicode may not know.
PLAIN = "aZ09 .-_/:%\"'+=;~äß€🥨\u0301"
LETTERS = st.sampled_from(f"{PLAIN}\t\n\x7f\u00a0\u200b\u2028\ue000\u0378")
ODD_TEXTS = st.text(LETTERS, min_size=1, max_size=8) | st.sampled_from(["x" * 257, "🥨" * 256])
TEXTS = st.text(st.sampled_from(PLAIN), min_size=1, max_size=12) | st.sampled_from(["a", "x" * 256])
PRODUCERS = st.sampled_from([scene.PRODUCER, *seal_vectors.LEAVES.values()])
DATA = st.sampled_from([*[scene.ORDER] * 4, b'{"sku":"A-1"}', b"", b'{"sku":"\xff"}'])
CONTEXT = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("authid", "trothtenant", "trothtxn", "subject", "id"), TEXTS)
)
MOMENTS = st.sampled_from([0.0, 0.5, 300.0, 300.5, 301.0, -300.0, -301.0, 604800.0, 604800.5])
KEYS: list[Made | scene.TokenKey] = [scene.ROOT, scene.TOKEN_KEY]
RETIREMENTS = st.sampled_from([-301, -300, 0, 300])
ENTRIES = st.sampled_from(
    [
        {},
        {"schemas": None},
        {"schemas": [scene.schema(scene.PREVIOUS), scene.schema(scene.SCHEMA)]},
        {"tenants": ["a", "x" * 256]},
        {"topic": None, "prefix": "prod."},
        {"context": {"require": ["Subject", "Tenant"]}},
        token_vectors.ENTRY,
        {"producers": []},
        {"environment": "staging"},
        {"action": "Publish", "producers": None},
    ]
)


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    """Draw an event that at most a few edits make invalid."""
    attributes = dict(draw(CONTEXT))
    by = draw(PRODUCERS)
    if draw(st.booleans()):
        attributes |= token_vectors.CONTEXT | {"trothtxntoken": token_vectors.token()}
    mixed = unsealed(by, **attributes)
    if draw(st.integers(0, 4)) == 0:
        name = draw(st.sampled_from(sorted(mixed)))
        mixed[name] = draw(ODD_TEXTS | _mutated(mixed[name]))
    sealed = seal({name: value for name, value in mixed.items() if value}, draw(DATA), by)
    binding = draw(st.sampled_from(["Kafka", "NATS"]))
    headers: Headers = (
        kafka.headers(sealed)
        if binding == "Kafka"
        else [(name, value.encode()) for name, value in nats.headers(sealed).items()]
    )
    data = sealed.data
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        edit = draw(st.sampled_from([*EDITS, None]))
        if edit is None:
            data = draw(_mutated_bytes(data))
        else:
            headers = edit(draw, headers)
    draft: Draft = {
        "binding": binding,
        "topic": draw(st.sampled_from([*[scene.TOPIC] * 6, "prod.other.v1"])),
        "headers": [[name, {"base64": b64encode(value).decode()}] for name, value in headers],
        "data": {"base64": b64encode(data).decode()},
        "entry": draw(st.just({}) | ENTRIES),
    }
    if draw(st.booleans()):
        draft["now"] = scene.EVENT_TIME + draw(MOMENTS)
    if draw(st.booleans()):
        draft["storedAt"] = scene.EVENT_TIME + draw(MOMENTS)
    if draw(st.integers(0, 4)) == 0:
        retired = {draw(st.sampled_from(KEYS)): scene.EVENT_TIME + draw(RETIREMENTS)}
        draft["bundles"] = scene.bundle_map(retired=retired)
    return draft


def seal(attributes: Mapping[str, str], data: bytes, by: Made) -> Sealed:
    """Seal attributes of any form, as a sealer seals its own."""
    payload = envelope.material(attributes, data, SIGNED)
    # Always the same signature: a drawn event must not depend on chance besides its draws.
    signature = sign(by.key, envelope.signed_bytes(payload))
    material = envelope.write(payload, signature, by.key_id)
    return Sealed(scene.TOPIC, {**attributes, "dssematerial": material}, data)


def document(vectors: list[Draft]) -> dict[str, Any]:
    """Return a file of drafts."""
    return {
        "identity": scene.IDENTITY,
        "bundles": scene.bundle_map(),
        "entry": scene.ENTRY,
        "now": scene.NOW,
        "vectors": [{"name": str(i)} | each for i, each in enumerate(vectors)],
    }


def _drop(draw: st.DrawFn, headers: Headers) -> Headers:
    place = draw(_place(headers))
    return headers[:place] + headers[place + 1 :]


def _repeat(draw: st.DrawFn, headers: Headers) -> Headers:
    return [*headers, headers[draw(_place(headers))]]


def _respell(draw: st.DrawFn, headers: Headers) -> Headers:
    place = draw(_place(headers))
    name, value = headers[place]
    spell: Callable[[str], str] = draw(
        st.sampled_from(
            [
                str.upper,
                str.title,
                lambda each: f" {each}",
                lambda each: f"{each} ",
                lambda each: each.replace("_", "-"),
                lambda each: each.replace("-", "_"),
                lambda each: f"{each}x",
                lambda each: each[:-1],
            ]
        )
    )
    return [*headers[:place], (spell(name), value), *headers[place + 1 :]]


def _exchange(draw: st.DrawFn, headers: Headers) -> Headers:
    first, second = draw(_place(headers)), draw(_place(headers))
    changed = list(headers)
    changed[first] = headers[first][0], headers[second][1]
    changed[second] = headers[second][0], headers[first][1]
    return changed


def _change(draw: st.DrawFn, headers: Headers) -> Headers:
    place = draw(_place(headers))
    name, value = headers[place]
    return [*headers[:place], (name, draw(_mutated_bytes(value))), *headers[place + 1 :]]


def _change_envelope(draw: st.DrawFn, headers: Headers) -> Headers:
    """Edit the bytes of the envelope within its base64."""
    changed = []
    for name, value in headers:
        if name.endswith("dssematerial"):
            try:
                inner = draw(_mutated_bytes(b64decode(value)))
            except ValueError:
                inner = value
            changed.append((name, b64encode(inner)))
        else:
            changed.append((name, value))
    return changed


EDITS = [_drop, _repeat, _respell, _exchange, _change, _change_envelope]


def _place(headers: Headers) -> st.SearchStrategy[int]:
    return st.integers(0, len(headers) - 1)


@st.composite
def _mutated_bytes(draw: st.DrawFn, value: bytes) -> bytes:
    """Draw bytes that differ in one place."""
    place = draw(st.integers(0, len(value)))
    change = draw(
        st.sampled_from([b"", b"A", b"=", b" ", b"\n", b"%", b"%41", b"\xff", b"0", b"}", b"\\"])
    )
    return value[:place] + change + value[place + draw(st.integers(0, 1)) :]


def _mutated(value: str) -> st.SearchStrategy[str]:
    return _mutated_bytes(value.encode()).map(lambda each: each.decode("utf-8", "replace"))

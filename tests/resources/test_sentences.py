"""What is wrong with a field is said in Troth's words, with the field that was meant."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import Manifest
from tests.changed_manifests import changed
from tests.every_kind import SAMPLES
from tests.messaging import BASES as MESSAGING
from tests.refusals import faults
from tests.resources.test_fields import BASES, PAYMENTS
from tests.webhook_builders import BASES as WEBHOOKS
from troth.resources.faults import LONGEST_VALUE
from troth.resources.kinds import EVERY_KIND_BY_NAME

EVERY_BASE = [
    *BASES.values(),
    *MESSAGING.values(),
    *WEBHOOKS.values(),
    *(each for kind, each in SAMPLES.items() if kind in EVERY_KIND_BY_NAME),
]
PYDANTIC = re.compile(
    r"\b(input|should|tuple|dictionary|instance|pattern|valid \w+|validation|NoneType|str type)\b",
    re.IGNORECASE,
)


def places(value: Any, path: str) -> Iterator[str]:
    """Yield the path of each value in a spec."""
    yield path
    inside = dict(enumerate(value)) if isinstance(value, list) else value
    for name, below in inside.items() if isinstance(inside, dict) else ():
        if "." not in str(name):
            yield from places(below, f"{path}.{name}")


PLACES = [
    (number, path)
    for number, base in enumerate(EVERY_BASE)
    for path in places(base["spec"], "spec")
]
ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=300),
    st.just("x" * 70_000),
    st.lists(st.integers(), max_size=2),
    st.just([]),
    st.lists(st.just("same"), min_size=2, max_size=300),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)


@given(st.sampled_from(PLACES), ODD)
def test_no_message_has_the_words_of_pydantic(place: tuple[int, str], value: Any) -> None:
    number, path = place
    for fault in faults(changed(EVERY_BASE[number], path, value)):
        assert not PYDANTIC.search(fault.sentence), fault.sentence
        assert fault.sentence != "write a valid value"
        assert "\n" not in fault.with_value()
        assert len(fault.value) <= 3 * LONGEST_VALUE


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("spec.workload.ports.0.prt", 1, "unknown field; did you mean port?"),
        ("spec.Workload", {}, "unknown field; did you mean workload?"),
        ("spec.accept", [], "unknown field; did you mean accepts?"),
        ("spec.podSelector", {}, "unknown field; did you mean spec.workload.podSelector?"),
        ("spec.serviceAccountName", "a", "did you mean spec.workload.serviceAccountName?"),
        ("spec.workload.zzz", 1, "unknown field; remove it or correct its spelling"),
        ("spec.enforcement", "Enforced", "did you mean 'Enforce'? write one of 'Enforce' or"),
        ("spec.accepts.0.ports", [], "list at least 1 item"),
        ("spec.accepts.0.ports", "https", "write a list"),
        ("spec.accepts.0", 7, "write fields with their values"),
        ("spec.workload.serviceAccountName", 7, "write text; put it in quotes"),
    ],
)
def test_message_says_what_to_write(path: str, value: Any, told: str) -> None:
    sentences = [fault.sentence for fault in faults(changed(PAYMENTS, path, value))]
    assert [each for each in sentences if told in each], sentences


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("spec.authentication.mtls.lifetime", "soon", '"soon"'),
        ("spec.workload.ports.0.port", 70_000, "70000"),
        ("spec.workload.serviceAccountName", "a" * 100 + "!", '"' + "a" * 63 + '…"'),
        ("spec.workload.serviceAccountName", "a\u202eb\x1b[1m", '"a\\u202eb\\u001b[1m"'),
        ("spec.workload.serviceAccountName", "eyJhbGciOiJub25lIn0.e30.x", ""),
        ("spec.calls.1.external.host", "https://me:hunter2@shop.example", ""),
        ("spec.unheardOf", "hunter2", ""),
        ("spec.workload", [], ""),
    ],
)
def test_value_is_shown_beside_the_message_unless_it_may_be_a_secret(
    path: str, value: Any, shown: str
) -> None:
    found = {fault.field: fault for fault in faults(changed(PAYMENTS, path, value))}
    fault = found[re.sub(r"\.(\d+)", r"[\1]", path)]
    assert fault.value == shown
    assert (shown or "hunter2") not in str(fault)


def test_value_of_a_field_about_secrets_is_not_shown() -> None:
    base: Manifest = WEBHOOKS["stripe"]
    manifest = changed(base, "spec.inbound.secretRef.name", "Hunter_2")
    found = faults(manifest)
    assert "secretRef" in "".join(fault.field for fault in found)
    assert "Hunter_2" not in "".join(fault.with_value() for fault in found)

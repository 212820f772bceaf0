"""WebhookEndpoints: the API server and the models reject the same ones, with one message."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import Manifest
from tests.changed_manifests import changed
from tests.cluster.agreement import check
from tests.cluster.dry_run import DryRun
from tests.cluster.manifests import characters, gone_wrong
from tests.webhook_builders import BASES, INBOUND, WRONG

HERE = {name: changed(base, "metadata.namespace", "default") for name, base in BASES.items()}


@pytest.mark.parametrize("manifest", HERE.values(), ids=HERE)
def test_api_server_accepts_valid_manifests(dry_run: DryRun, manifest: Manifest) -> None:
    answer = check(manifest, dry_run)
    assert answer.accepted, answer.body


@pytest.mark.parametrize(
    ("base", "path", "value"),
    [(base, path, value) for base, path, value, *_ in WRONG],
)
def test_both_reject_known_faults_with_the_same_message(
    dry_run: DryRun, base: str, path: str, value: Any
) -> None:
    assert not check(changed(HERE[base], path, value), dry_run).accepted


def test_source_without_a_scheme_is_rejected_with_the_reason(
    dry_run: DryRun,
) -> None:
    """An address is not an identity: `kubectl apply` must show this message."""
    manifest = changed(HERE["bare"], f"{INBOUND}.source", {"cidrs": ["203.0.113.0/24"]})
    del manifest["spec"]["inbound"]["scheme"]
    told = " ".join(complaint.sentence for complaint in dry_run.create(manifest).complaints)
    assert "an address is not an identity; set scheme to the sender's" in told


WORDS = st.one_of(
    st.from_regex(r"[a-z/.%?#{}~ -]{0,12}", fullmatch=True),
    st.text(characters, max_size=12),
)
PLACES = {
    "target.path": st.one_of(WORDS, st.lists(st.sampled_from("/.a~%"), max_size=6).map("".join)),
    "publicURL": WORDS.map(lambda text: f"https://a.example{text}"),
    "hmac.signed": st.lists(
        st.sampled_from(["{body}", "{timestamp}", "{id}", ".", "\n", "{", "}"]), max_size=6
    ).map("".join),
    "limits.body": st.from_regex(r"[0-9]{1,9}(Ki|Mi|Gi|k)?", fullmatch=True),
    "tolerance": st.sampled_from(["1s", "5m", "1h", "59m60s", "0s", "61m", "x"]),
    "replayWindow": st.sampled_from(["2s", "9m59s", "10m", "2h", "720h", "0h", "y"]),
}


@settings(max_examples=200)
@given(st.data())
def test_both_read_unusual_values_of_an_endpoint_alike(
    dry_run: DryRun, data: st.DataObject
) -> None:
    manifest = HERE["hmac"]
    for place in data.draw(st.sets(st.sampled_from(sorted(PLACES)), min_size=1, max_size=2)):
        manifest = changed(manifest, f"{INBOUND}.{place}", data.draw(PLACES[place]))
    check(manifest, dry_run)


@settings(max_examples=200)
@given(gone_wrong(st.sampled_from(list(HERE.values()))))
def test_both_reject_the_same_random_manifests(dry_run: DryRun, manifest: Manifest) -> None:
    check(manifest, dry_run)

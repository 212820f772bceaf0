"""The world keeps each fact once, and nothing that no plan reads. Sizes are those of objects."""

import base64
import copy

from benchmarks.fleet.retained import SHARED, converged, for_each_identity, retained, world_of

FLEET = 16
MOST_BYTES = 18_000
"""Maximum size of an identity with eight edges, its Secret and its NetworkPolicy. A second copy of
its spec, or of its status, takes more than is left."""
TEXT = "x" * 10_000


def test_each_part_of_a_spec_and_a_status_is_kept_once() -> None:
    objects = for_each_identity(FLEET).objects
    kept = {
        name: objects.get(name, 0)
        for name in ("ServiceIdentity", "ServiceIdentitySpec", "ServiceIdentityStatus")
    }
    assert kept == dict.fromkeys(kept, 1)
    # eight edges to neighbours, of which each is named by eight others
    assert (objects["Accepts"], objects["Calls"], objects["Reference"]) == (1, 1, 1)
    assert objects["EdgeStatus"] == 2
    assert objects.get("Condition", 0) == objects.get("Authentication", 0) == 0


def test_an_identity_takes_a_bounded_amount_of_memory() -> None:
    assert for_each_identity(FLEET).total < MOST_BYTES


def test_tables_of_shared_models_count_and_are_forgotten_with_them() -> None:
    sizes = [retained(world_of(converged(fleet))).sizes[SHARED] for fleet in (1, FLEET, 1)]
    assert sizes[1] - sizes[0] > 1000 * (FLEET - 1)
    assert sizes[2] == sizes[0]


def test_what_no_plan_reads_is_not_kept() -> None:
    lean = converged(FLEET)
    rich = copy.deepcopy(lean)
    for manifest in rich:
        metadata = manifest["metadata"]
        metadata["managedFields"] = [{"manager": TEXT}]
        applied = {"kubectl.kubernetes.io/last-applied-configuration": TEXT}
        metadata["annotations"] = {**metadata.get("annotations", {}), **applied}
        if manifest["kind"] == "Secret":
            manifest["data"]["unknown"] = base64.b64encode(TEXT.encode()).decode()
        if manifest["kind"] == "ServiceIdentity":
            manifest["status"]["unknown"] = TEXT
    added = retained(world_of(rich)).total - retained(world_of(lean)).total
    assert added < len(TEXT)

"""CPU and memory of an audit of a large cluster: taken in, evaluated whole, and after changes."""

import gc
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.audit.cluster import IDENTITIES, NOW, PODS, POLICIES, cluster, pod
from benchmarks.harness.report import Comparison, Figure, Report
from troth.audit.evaluation import Evaluator
from troth.audit.scene import Scene

CPU_AIM, MEMORY_AIM = 5.0, 40.0
"""Seconds of CPU for a whole evaluation, and megabytes that an audit keeps."""
ROUNDS, CHANGES = 2, 20
IN_WORLD = frozenset({"TrustDomain", "ServiceIdentity", "Namespace", "Service"})
"""Kinds that planning keeps, whatever an audit adds."""
NOTE = (
    "The floor of taking in and of a change is json.loads of the same objects, and that of an "
    "evaluation a comparison of each pod with the selector of its own identity. Memory is what "
    "tracemalloc counts: all of it, and without the resources that planning keeps in the same form."
)


def reports() -> Iterator[Report]:
    """Measure in this process."""
    texts, evaluator = list(cluster()), Evaluator()
    taken, parsed, whole = [], [], []
    for _ in range(ROUNDS):
        scene = Scene(now=NOW, in_cluster=True)
        taken.append(_cpu(partial(_put, scene, texts)))
        parsed.append(_cpu(partial(_parse, texts)))
        whole.append(_cpu(partial(evaluator.evaluate, scene)))
    again = [_cpu(partial(evaluator.evaluate, scene)) for _ in range(ROUNDS)]
    found = len(evaluator.evaluate(scene).findings)
    passes = [_cpu(partial(_pass, scene)) for _ in range(ROUNDS)]
    changed = [json.dumps(pod(number, generation=1)) for number in range(1, CHANGES + 1)]
    changes = [_cpu(partial(_change, scene, evaluator, each)) for each in changed]
    floors = [_cpu(partial(json.loads, each)) for each in changed]
    yield Report(
        f"Audit of {PODS} pods, {IDENTITIES} identities and {POLICIES} foreign NetworkPolicies",
        (
            Comparison("all objects taken in", taken, parsed),
            Comparison("evaluated whole, for the first time", whole, passes),
            Comparison("evaluated whole, again", again, passes),
            Comparison("one pod changed, and evaluated", changes, floors),
        ),
        NOTE,
        (
            Figure("CPU of the first whole evaluation", max(whole), "s", CPU_AIM),
            Figure("CPU of all objects taken in", max(taken), "s"),
            Figure("CPU of one changed pod", max(changes), "s"),
            Figure("findings", found),
            *_memory(texts),
        ),
    )


def _memory(texts: list[str]) -> Iterator[Figure]:
    kinds = {each: json.loads(each)["kind"] in IN_WORLD for each in texts}
    scene, evaluator = Scene(now=NOW, in_cluster=True), Evaluator()
    tracemalloc.start()
    _put(scene, [each for each in texts if kinds[each]])
    planning = _traced()
    _put(scene, [each for each in texts if not kinds[each]])
    evaluation = evaluator.evaluate(scene)
    everything = _traced()
    tracemalloc.stop()
    yield Figure("memory of scene and findings", everything, "MB")
    yield Figure("of these, resources that planning keeps too", planning, "MB")
    yield Figure("added by pods, policies and rules", everything - planning, "MB", MEMORY_AIM)
    yield Figure("findings while memory was measured", len(evaluation.findings))


def _traced() -> float:
    """Return the megabytes in use that were allocated since tracing began."""
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    return size / 1e6


def _put(scene: Scene, texts: list[str]) -> None:
    for each in texts:
        scene.put(json.loads(each))


def _parse(texts: list[str]) -> None:
    for each in texts:
        json.loads(each)


def _pass(scene: Scene) -> int:
    registry, matched = scene.world.registry, 0
    for namespace in scene.namespaces():
        selectors = {
            ref.name: registry.identities[ref].spec.workload.pod_selector.match_labels
            for ref in registry.identities_in(namespace)
        }
        for each in scene.pods_in(namespace):
            wanted = selectors.get(each.workload.ref.name, {})
            matched += wanted.items() <= each.labels.items()
    return matched


def _change(scene: Scene, evaluator: Evaluator, text: str) -> None:
    evaluator.evaluate(scene, scene.put(json.loads(text)))


def _cpu(work: Callable[[], object]) -> float:
    gc.collect()
    began = time.process_time()
    work()
    return time.process_time() - began

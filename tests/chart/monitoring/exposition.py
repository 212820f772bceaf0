"""The metrics of the five programs, from their registries."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import cast

from prometheus_client import CollectorRegistry

from tests.reconcile.serving import Server, running
from troth.audit.registry import RULES
from troth.auditor.metrics import Metrics as AuditMetrics
from troth.cli.gateway.process import Options, Parts
from troth.cli.run.metrics import Metrics
from troth.cluster.selection import Selection
from troth.issuer.decisions import Decisions
from troth.reconcile.operator import Operator
from troth.review.api.metrics import Calls
from troth.review.index.store import LetterIndex
from troth.review.metrics import LetterMetrics
from troth.review.trail.metrics import AuditLogMetrics
from troth.serving.api_requests import counting
from troth.serving.loop_stalls import stalls_measured

Labels = dict[str, set[str]]
"""The labels of each metric."""


@asynccontextmanager
async def registries() -> AsyncIterator[tuple[CollectorRegistry, ...]]:
    """Yield the registries of operator, issuer, gateway, auditor and review worker."""
    metrics, issuer, nowhere = Metrics(), Decisions(), Path("missing")
    gateway = Parts(
        Options(
            identity_name="gateway",
            kubeconfig=None,
            context=None,
            namespace="gateway",
            identity=nowhere,
            bundle=nowhere,
            listen=("127.0.0.1", 0),
            tls=None,
            valkey=None,
            trusted_proxies=(),
            resolve={},
            health_listen=("127.0.0.1", 0),
        )
    )
    issuer.read_view_age(lambda: None)
    auditor = CollectorRegistry()
    AuditMetrics(auditor, RULES, ()).read_objects(dict)
    async with AsyncExitStack() as stack:
        review = stack.enter_context(_review())
        found = (metrics.registry, issuer.registry, gateway.registry, auditor, review)
        it = await stack.enter_async_context(running(Server()))
        operator = SimpleNamespace(
            engine=it.engine,
            leadership=SimpleNamespace(acting=True),
            shard_fences=(SimpleNamespace(shard=0, remaining=7.0, shares_lease=True),),
            crds=SimpleNamespace(lacking={}),
            clock_skew=0.0,
            claim=SimpleNamespace(holder="", is_own=False),
            watching=[SimpleNamespace(selection=Selection("ServiceIdentity"), age=7.0)],
            of_metadata=[],
        )
        metrics.read_from(cast("Operator", operator))
        for registry in found:
            await stack.enter_async_context(stalls_measured(registry))
        for registry in found[1:]:
            counting(registry)
        yield found


@contextmanager
def _review() -> Iterator[CollectorRegistry]:
    registry = CollectorRegistry()
    Calls(registry)
    AuditLogMetrics(registry)
    with TemporaryDirectory() as directory:
        index = LetterIndex(Path(directory) / "index")
        LetterMetrics(registry, index, lambda: ())
        yield registry
        index.close()


def exported(found: Iterable[CollectorRegistry]) -> Labels:
    """Return the name of each sample in registries, with its labels."""
    return {name: labels for each in found for name, labels in _samples(each)}


def _samples(registry: CollectorRegistry) -> Iterator[tuple[str, set[str]]]:
    """Yield each sample's name, and its labels, also of metrics without a sample."""
    by_name = registry._names_to_collectors
    for family in registry.collect():
        source = family if hasattr(family, "_labelnames") else by_name.get(family.name, family)
        labels = set(getattr(source, "_labelnames", ()))
        match family.type:
            case "counter":
                yield f"{family.name}_total", labels
            case "histogram":
                yield f"{family.name}_bucket", labels | {"le"}
                yield f"{family.name}_count", labels
                yield f"{family.name}_sum", labels
            case _:
                yield family.name, labels

"""Requests to the API server, as counted by the API server and by Troth."""

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from sandbox import Sandbox

Requests = Counter[tuple[str, str]]
"""Number of requests, by the verb in Troth's metrics and by resource."""

VERBS = {"POST": "create", "PUT": "update"}
"""Verbs of the API server whose lower-case form differs from the verb in Troth's metrics."""
READS = ("get", "list", "watch")
LEASES = "leases"


def samples(text: str, *names: str) -> Iterator[Sample]:
    """Yield the samples of some metrics; the lines of all other metrics are not parsed."""
    prefixes = tuple(f"{name}{end}" for name in names for end in "{ ")
    lines = "\n".join(line for line in text.splitlines() if line.startswith(prefixes))
    for family in text_string_to_metric_families(lines):
        yield from family.samples


def served(sandbox: Sandbox) -> Requests:
    """Return the requests of all clients that the API server has answered since its start.

    The API server counts a watch when it ends.
    """
    counted: Requests = Counter()
    for sample in samples(sandbox.kubectl("get", "--raw", "/metrics"), "apiserver_request_total"):
        verb = sample.labels["verb"]
        counted[VERBS.get(verb, verb.lower()), sample.labels["resource"]] += int(sample.value)
    return counted


def asked(text: str) -> Requests:
    """Return the requests in Troth's own metrics."""
    counted: Requests = Counter()
    for sample in samples(text, "troth_api_requests_total"):
        counted[sample.labels["verb"], sample.labels["resource"]] += int(sample.value)
    return counted


def writes(requests: Requests, *, but: Iterable[str] = (LEASES,)) -> int:
    """Return the number of writes, except those of the resources in `but`."""
    return sum(
        number
        for (verb, resource), number in requests.items()
        if verb not in READS and resource not in but
    )

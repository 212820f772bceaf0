"""Requests to the API server, as it counts them itself and as Troth does."""

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from sandbox import Sandbox

Requests = Counter[tuple[str, str]]
"""How many there were, by Troth's word for the verb and by resource."""

VERBS = {"POST": "create", "PUT": "update"}
"""The API server's words that are not Troth's in capitals."""
READS = ("get", "list", "watch")
LEASES = "leases"


def samples(text: str, *names: str) -> Iterator[Sample]:
    """Yield the samples of some metrics; of thousands of others not even the lines are read."""
    prefixes = tuple(f"{name}{end}" for name in names for end in "{ ")
    lines = "\n".join(line for line in text.splitlines() if line.startswith(prefixes))
    for family in text_string_to_metric_families(lines):
        yield from family.samples


def served(sandbox: Sandbox) -> Requests:
    """Return what the API server has answered since it started, whoever asked.

    It counts a watch when it ends.
    """
    counted: Requests = Counter()
    for sample in samples(sandbox.kubectl("get", "--raw", "/metrics"), "apiserver_request_total"):
        verb = sample.labels["verb"]
        counted[VERBS.get(verb, verb.lower()), sample.labels["resource"]] += int(sample.value)
    return counted


def asked(text: str) -> Requests:
    """Return what Troth's own metrics say it has asked."""
    counted: Requests = Counter()
    for sample in samples(text, "troth_api_requests_total"):
        counted[sample.labels["verb"], sample.labels["resource"]] += int(sample.value)
    return counted


def writes(requests: Requests, *, but: Iterable[str] = (LEASES,)) -> int:
    """Return how many of the requests were writes, those of some resources apart."""
    return sum(
        number
        for (verb, resource), number in requests.items()
        if verb not in READS and resource not in but
    )

"""Metric of requests to the API server, for issuer and gateway."""

from prometheus_client import CollectorRegistry, Counter

from troth.cluster.api import Observer


def counting(registry: CollectorRegistry) -> Observer:
    """Return an observer for an `ApiServer` that counts requests in the registry."""
    requests = Counter(
        "troth_api_requests",
        "Requests to the API server.",
        ("verb", "resource", "code"),
        registry=registry,
    )
    return lambda verb, resource, code: requests.labels(verb, resource, code).inc()

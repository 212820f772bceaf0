"""Counts the requests of the issuer and the gateway to the API server."""

from prometheus_client import CollectorRegistry, Counter

from troth.cluster.api import Observer


def counting(registry: CollectorRegistry) -> Observer:
    """Return what an `ApiServer` tells of each request, as a metric of the registry."""
    requests = Counter(
        "troth_api_requests",
        "Requests to the API server.",
        ("verb", "resource", "code"),
        registry=registry,
    )
    return lambda verb, resource, code: requests.labels(verb, resource, code).inc()

"""Who appears in the demo: services of the shop, pods without an identity, and hosts outside."""

from sandbox.demo.shop import Place

CHECKOUT, PAYMENTS = Place("shop", "checkout"), Place("shop", "payments")
FULFILMENT, RECOMMENDATIONS = Place("shop", "fulfilment"), Place("shop", "recommendations")
LEDGER, REPORTING = Place("finance", "ledger"), Place("finance", "reporting")
WAREHOUSE = Place("legacy", "warehouse")
STAGING = Place("staging", "checkout")

PUBLIC = Place("ingress-nginx", "ingress")
COLLECTOR = Place("monitoring", "prometheus")
STRANGER = Place("shop", "stranger")
VISITORS = {PUBLIC: "the public", COLLECTOR: "the collector", STRANGER: "a stranger"}
"""Pods without an identity, and how the output names them. Each listens too."""

VISITORS_PORT = ("web", 8080)

API_SERVER, PROVIDER = Place("", "the API server"), Place("", "api.stripe.com")
OUTSIDE_PORT = "https"
PROVIDERS_ADDRESS = "203.0.113.10"
"""One of those that payments declares."""


def short(place: Place | str) -> str:
    """Return a place as the shop's people name it: without their own namespace."""
    return str(place).removeprefix("shop/")


def between(caller: Place, callee: Place) -> str:
    """Return who calls whom, without the callee's namespace where it is the caller's."""
    here = "shop" if caller in VISITORS else caller.namespace
    callee_name = callee.name if callee.namespace in {here, ""} else str(callee)
    return f"{VISITORS.get(caller) or short(caller)} → {callee_name}"

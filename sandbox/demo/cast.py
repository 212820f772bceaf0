"""Who appears in the demo: services of the shop, pods without an identity, and hosts outside."""

from sandbox.demo.namespaces import own, shown
from sandbox.demo.shop import Place

SHOP, FINANCE = own("shop"), own("finance")
CHECKOUT, PAYMENTS = Place(SHOP, "checkout"), Place(SHOP, "payments")
FULFILMENT, RECOMMENDATIONS = Place(SHOP, "fulfilment"), Place(SHOP, "recommendations")
LEDGER, REPORTING = Place(FINANCE, "ledger"), Place(FINANCE, "reporting")
WAREHOUSE = Place(own("legacy"), "warehouse")
STAGING = Place(own("staging"), "checkout")

PUBLIC = Place(own("ingress-nginx"), "ingress")
COLLECTOR = Place(own("monitoring"), "prometheus")
STRANGER = Place(SHOP, "stranger")
VISITORS = {PUBLIC: "the public", COLLECTOR: "the collector", STRANGER: "a stranger"}
"""Pods without an identity, and how the output names them. Each listens too."""

VISITORS_PORT = ("web", 8080)

API_SERVER, PROVIDER = Place("", "the API server"), Place("", "api.stripe.com")
OUTSIDE_PORT = "https"
PROVIDERS_ADDRESS = "203.0.113.10"
"""One of those that payments declares."""


def short(place: Place | str) -> str:
    """Return a place as the shop's people name it: without their own namespace."""
    return shown(str(place).removeprefix(f"{SHOP}/"))


def between(caller: Place, callee: Place) -> str:
    """Return who calls whom, without the callee's namespace where it is the caller's."""
    here = SHOP if caller in VISITORS else caller.namespace
    is_near = callee.namespace in {here, ""}
    callee_name = callee.name if is_near else shown(str(callee))
    return f"{VISITORS.get(caller) or short(caller)} → {callee_name}"

"""The places of a campaign's identities."""

from tests.networkpolicy import Pod

NORTH, SOUTH, ANNEX = 1, 2, 3
"""Namespaces by their number on the stage; the annex is governed only for a while."""
PLACES = (("web", NORTH), ("payments", SOUTH), ("ledger", SOUTH), ("reports", ANNEX))
GATE, BILLING = "gate", "billing"
HOOK_PLACES = ((GATE, NORTH), (BILLING, SOUTH))
"""Identities that exist only for webhooks."""


def pods(namespaces: list[str]) -> list[Pod]:
    """Return one pod of each identity, and a stranger in each namespace."""
    named = [(namespaces[number], name) for name, number in (*PLACES, *HOOK_PLACES)]
    strangers = [(name, "stranger") for name in namespaces[NORTH:]]
    return [
        Pod(namespace, {"app": app}, f"10.0.0.{number}")
        for number, (namespace, app) in enumerate([*named, *strangers], start=1)
    ]

"""Categories of rules, by the first digit of the ID."""

CATEGORIES = {
    "1": "Shared credentials",
    "2": "Webhooks",
    "3": "Events",
    "4": "Identity headers",
    "5": "Standing exceptions",
    "6": "Network",
    "7": "Identity",
    "8": "Brokers",
}


def category_of(rule: str) -> str:
    """Return the category of a rule by its ID, such as `Identity` for `TR701`."""
    return CATEGORIES[rule.removeprefix("TR")[0]]

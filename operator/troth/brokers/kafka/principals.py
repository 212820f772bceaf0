"""Whom Kafka takes a client for that comes with its identity's certificate."""


def mapping_rule(principal_prefix: str) -> str:
    """Return the `ssl.principal.mapping.rules` that make an identity's subject its principal.

    What comes of `troth.pki.subjects.Subject` is `troth.trust.grant_candidate.principal_of`. It is
    for a listener of its own that trusts the roots of one trust domain and nothing else, for a
    subject is only as good as who vouches for it. Kafka holds a rule to the whole subject and
    refuses whom none fits; DEFAULT after it would let in everybody else by the subject as it is.
    """
    return f"RULE:^UID=([a-z0-9.-]+),OU=([a-z0-9-]+)$/{principal_prefix}$2.$1/"

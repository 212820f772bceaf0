"""Kafka principals of clients that authenticate with their identity's certificate."""


def mapping_rule(principal_prefix: str) -> str:
    """Return the `ssl.principal.mapping.rules` that map an identity's subject to its principal.

    The rule maps `troth.pki.certificates.subjects.Subject` to
    `troth.trust.topics.candidate.principal_of`.

    Use it on a separate listener that trusts only the roots of one trust domain, because any
    trusted CA could issue such a subject. Kafka matches a rule against the whole subject and
    rejects a client that matches no rule. Do not add DEFAULT: it would accept every other client
    under its unmapped subject.
    """
    return f"RULE:^UID=([a-z0-9.-]+),OU=([a-z0-9-]+)$/{principal_prefix}$2.$1/"

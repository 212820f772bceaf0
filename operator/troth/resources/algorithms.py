"""Key algorithms, with the names that resources use."""

from enum import StrEnum


class KeyAlgorithm(StrEnum):
    """Algorithm and size of a private key."""

    ECDSA_P256 = "ECDSA-P256"
    ECDSA_P384 = "ECDSA-P384"
    ED25519 = "Ed25519"
    RSA_2048 = "RSA-2048"
    RSA_4096 = "RSA-4096"


SLOW = frozenset({KeyAlgorithm.RSA_2048, KeyAlgorithm.RSA_4096})
"""Algorithms whose keys take long to generate: an RSA-4096 key about a second of a processor."""

"""Errors of the PKI, each with a reason and a message that says what to change."""


class PKIError(ValueError):
    """Invalid key material, certificate, token or name.

    `reason` is a stable CamelCase word, suitable as the reason of a condition. `str(error)` says
    what is wrong and what to change. Neither has bytes of a key, a password or unreadable input, so
    both may be shown anywhere.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type["PKIError"], tuple[str, str]]:
        """Support pickling and copying, which pass only one argument to an exception by default."""
        return type(self), (self.reason, str(self))


class SPIFFEIDError(PKIError):
    """Invalid trust domain name or SPIFFE ID."""


class KeyMaterialError(PKIError):
    """Private or public key that is missing, unreadable or unsupported."""


class CertificateError(PKIError):
    """Certificate, or PEM file of certificates, that is unreadable or of the wrong kind."""


class AuthorityError(PKIError):
    """Certificate authority whose leaves verifiers would reject."""


class IssuingError(PKIError):
    """Request for a certificate or token that may not be issued."""

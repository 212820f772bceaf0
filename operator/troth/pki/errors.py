"""What the PKI refuses, and how to mend it."""


class PKIError(ValueError):
    """Material the PKI cannot use.

    `reason` is a short CamelCase word, stable, fit for the reason of a condition. `str(error)` is
    a sentence for a person that says what is wrong and what to change. Neither ever holds bytes
    of a key, a password or an unreadable input, so both may be shown anywhere.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type["PKIError"], tuple[str, str]]:
        """Pickle and copy with both arguments, which `Exception` alone would forget."""
        return type(self), (self.reason, str(self))


class SPIFFEIDError(PKIError):
    """A trust domain name or SPIFFE ID outside the specification."""


class KeyMaterialError(PKIError):
    """A private or public key that is missing, unreadable or of an algorithm Troth does not use."""


class CertificateError(PKIError):
    """A certificate, or a PEM file of them, that cannot be read or is not what it should be."""


class AuthorityError(PKIError):
    """A certificate authority that could not issue a leaf anyone would accept."""


class IssuingError(PKIError):
    """A leaf that may not be issued as asked."""

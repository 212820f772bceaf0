"""Watch of the Secret from which the issuer works. If it is deleted, the issuer issues nothing."""

import time
from collections.abc import Callable

import structlog

from troth.cluster.selection import Selection
from troth.documents.token_grants import ConfigurationError
from troth.issuer.configuration import IssuerConfiguration, read_configuration
from troth.resources.references import Ref
from troth.serving.secret_watch import SecretWatch
from troth.world.facts.objects import Manifest

POLL_INTERVAL = 2.0
"""Seconds between two polls of the Secret's version."""

log = structlog.get_logger()


def secret_name(domain: str) -> str:
    """Return the name of the Secret for the issuer of a TrustDomain."""
    return f"{domain}-tokens"


class ConfigurationWatch(SecretWatch):
    """Keeps the configuration current."""

    invalid = ConfigurationError

    def __init__(
        self, namespace: str, domain: str, uptime: Callable[[], float] = time.monotonic
    ) -> None:
        self.configuration: IssuerConfiguration | None = None
        self._ref = Ref(namespace, secret_name(domain))
        self._uptime = uptime
        self._since = 0.0
        fields = f"metadata.name={self._ref.name}"
        super().__init__(Selection("Secret", namespace, fields=fields), POLL_INTERVAL)

    @property
    def ready(self) -> bool:
        """Whether the issuer has a configuration."""
        return self.configuration is not None

    @property
    def age(self) -> float | None:
        """Seconds since the configuration changed or was first read; None if there is none."""
        return None if self.configuration is None else self._uptime() - self._since

    def current(self) -> IssuerConfiguration | None:
        """Return what may be issued now."""
        return self.configuration

    def observe(self, manifest: Manifest) -> None:
        """Read the Secret. Other Secrets are ignored."""
        if Ref.of(manifest) == self._ref:
            super().observe(manifest)

    def forget(self, kind: str, ref: Ref, version: int) -> None:
        """Drop the Secret. Other Secrets are ignored."""
        if ref == self._ref:
            super().forget(kind, ref, version)

    def _read(self, ref: Ref, version: str, manifest: Manifest) -> None:
        del ref
        configuration = read_configuration(manifest)
        self.configuration, self._since = configuration, self._uptime()
        log.info(
            "issuer configuration read",
            version=version,
            trust_domain=configuration.grants.trust_domain,
            callers=len(configuration.grants.callers),
            signing_key=configuration.signing_key,
        )

    def _unreadable(self, ref: Ref, version: str, why: str, *, expected: bool) -> None:
        if expected:
            log.warning(
                "issuer configuration unreadable", secret=str(ref), version=version, why=why
            )
        else:
            log.error("issuer configuration unreadable", secret=str(ref), version=version, why=why)

    def _deleted(self, kind: str, ref: Ref, version: int) -> None:
        log.warning("issuer configuration deleted", kind=kind, secret=str(ref), version=version)
        self.configuration = None

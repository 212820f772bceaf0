"""CAs in Secrets of Troth's own namespace, and which of them signs a trust domain's leaves."""

from dataclasses import dataclass, field, replace

from troth.resources.references import Ref
from troth.resources.trust_domain.spec import TrustDomain
from troth.world.facts.objects import AuthoritySecret, Fault, KnownAuthority
from troth.world.observation import objects as observe


@dataclass(slots=True)
class Authorities:
    """Index of the CA Secrets."""

    own_namespace: str
    secrets: dict[str, AuthoritySecret] = field(default_factory=dict)
    """CA Secrets by name."""
    _judged: dict[tuple[str, str, str, bool], KnownAuthority] = field(default_factory=dict)

    def take(self, name: str, now: AuthoritySecret | None, uptime: float) -> None:
        """Take in the current state of a Secret."""
        known = self.secrets.pop(name, None)
        self._judged.clear()
        if now is None:
            return
        active = known and known.certificates == now.certificates
        prepared = known and known.prepared == now.prepared
        self.secrets[name] = replace(
            now,
            active_since=known.active_since if known and active else uptime,
            prepared_since=known.prepared_since if known and prepared else uptime,
        )

    def concern(self, domain: TrustDomain, ref: Ref) -> bool:
        """Return whether a trust domain depends on a Secret."""
        return ref in (self.ref(domain), self._given_ref(domain))

    def ref(self, domain: TrustDomain) -> Ref:
        """Return the Secret with the CA that signs a trust domain's leaves."""
        return Ref(self.own_namespace, f"{domain.metadata.name}-authority")

    def of(self, domain: TrustDomain) -> KnownAuthority | None:
        """Return a trust domain's authority from Troth's Secret, None if there is none.

        A copy of a provided CA is used only while that CA exists and is usable: removing it must
        stop issuance.
        """
        known = self._judge(self.ref(domain), domain)
        given_ref = self._given_ref(domain)
        if known is None or known.authority is None or given_ref is None:
            return known
        given = self.given_to(domain)
        if given is not None and given.authority is not None:
            return known
        message = (
            f"Secret {given_ref} does not exist; create it with tls.crt, tls.key and, for its "
            "root, ca.crt"
        )
        fault = given.fault if given else Fault("SecretMissing", message)
        return replace(known, authority=None, fault=fault, prepared=None, retiring=None)

    def is_unconfined(self, domain: TrustDomain) -> bool:
        """Return whether a trust domain's root could certify identities of another domain.

        If the root does not exist yet, the spec decides.
        """
        known = self.of(domain)
        if known is not None and known.authority is not None:
            return not known.authority.confined
        made = domain.spec.authority.self_managed
        return made is not None and not made.confined

    def given_to(self, domain: TrustDomain) -> KnownAuthority | None:
        """Return the CA that a person provided for a trust domain, None if there is none."""
        ref = self._given_ref(domain)
        return self._judge(ref, domain) if ref else None

    def _given_ref(self, domain: TrustDomain) -> Ref | None:
        given = domain.spec.authority.secret_ref
        return Ref(self.own_namespace, given.name) if given else None

    def _judge(self, ref: Ref, domain: TrustDomain) -> KnownAuthority | None:
        secret = self.secrets.get(ref.name)
        if secret is None:
            return None
        own = ref == self.ref(domain)
        key = (secret.uid, secret.resource_version, domain.spec.domain, own)
        if key not in self._judged:
            if not own:  # only Troth makes plain certificates, for roots of its own
                secret = replace(secret, plain=b"")
            self._judged[key] = observe.known_authority(secret, domain.spec.domain)
        return self._judged[key]

"""An expired certificate that the domain's root has signed, as a thief may have one."""

from collections.abc import Mapping
from datetime import timedelta

from sandbox.node.workload import Files
from troth.pki.certificates.authorities import load_signing_authority
from troth.pki.certificates.issuing import LeafProfile, issue
from troth.pki.keys.private import generate_key, private_key_pem
from troth.pki.spiffe import SPIFFEID
from troth.resources.algorithms import KeyAlgorithm

LIFETIME = timedelta(minutes=1)


def expired_certificate(spiffe_id: str, authority: Mapping[str, bytes]) -> Files:
    """Return tls.crt and tls.key of an identity, expired.

    `authority` is the data of the domain's CA Secret, which only an administrator can read. The
    root is minutes old and backdated by five minutes, so a leaf of one minute from its start has
    expired already.
    """
    signer = load_signing_authority(
        authority["tls.crt"],
        authority["tls.key"],
        authority.get("ca.crt"),
        SPIFFEID.parse(spiffe_id).trust_domain,
    )
    key = generate_key(KeyAlgorithm.ECDSA_P256)
    profile = LeafProfile(spiffe_id, (), LIFETIME)
    certificate = issue(profile, key, signer, signer.authority.not_before)
    return {"tls.crt": certificate.decode(), "tls.key": private_key_pem(key).decode()}

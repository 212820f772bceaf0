"""An old certificate, as a thief may have one: really signed by the domain's root, and over."""

from collections.abc import Mapping
from datetime import timedelta

from sandbox.node.workload import Files
from troth.pki.authorities import load_signing_authority
from troth.pki.issuing import LeafProfile, issue
from troth.pki.keys import generate_key, private_key_pem
from troth.pki.spiffe import SPIFFEID
from troth.resources.algorithms import KeyAlgorithm

LASTED = timedelta(minutes=1)


def expired_certificate(spiffe_id: str, authority: Mapping[str, bytes]) -> Files:
    """Return tls.crt and tls.key of an identity whose time is over.

    `authority` is the data of the domain's CA Secret, which only an administrator can read. The
    root is minutes old; since it counts as valid from five minutes before it was made, a leaf of
    one minute from then on has ended already.
    """
    signer = load_signing_authority(
        authority["tls.crt"],
        authority["tls.key"],
        authority.get("ca.crt"),
        SPIFFEID.parse(spiffe_id).trust_domain,
    )
    key = generate_key(KeyAlgorithm.ECDSA_P256)
    profile = LeafProfile(spiffe_id, (), LASTED)
    certificate = issue(profile, key, signer, signer.authority.not_before)
    return {"tls.crt": certificate.decode(), "tls.key": private_key_pem(key).decode()}

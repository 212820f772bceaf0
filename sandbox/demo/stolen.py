"""An old certificate, as a thief may have one: really signed by the domain's root, and over."""

from datetime import timedelta
from pathlib import Path

from sandbox.certificates import owner_only
from troth.pki.authorities import load_signing_authority
from troth.pki.issuing import LeafProfile, issue
from troth.pki.keys import generate_key, private_key_pem
from troth.pki.spiffe import SPIFFEID
from troth.resources.algorithms import KeyAlgorithm

LASTED = timedelta(minutes=1)


def expired_certificate(directory: Path, spiffe_id: str, authority: dict[str, bytes]) -> Path:
    """Write tls.crt and tls.key of an identity whose time is over into a new directory.

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
    files = {
        "tls.crt": issue(profile, key, signer, signer.authority.not_before),
        "tls.key": private_key_pem(key),
    }
    directory.mkdir(mode=0o700)
    for name, content in files.items():
        with open(directory / name, "wb", opener=owner_only) as file:
            file.write(content)
    return directory

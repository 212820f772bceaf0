"""Given intermediates: openssl verifies their leaves without any knowledge of Troth."""

import base64
import subprocess
from pathlib import Path

from tests.cluster.stage import DOMAIN, IDENTITY, Stage
from tests.cluster.test_authority import INTERMEDIATE, ROOT, given
from tests.pki.builders import by_hand
from troth.pki.keys.private import generate_key
from troth.resources.algorithms import KeyAlgorithm


def openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)


def openssl_verify(directory: Path, purpose: str) -> subprocess.CompletedProcess[str]:
    """Verify a leaf and its chain with openssl against the given roots."""
    leaf = str(directory / "tls.crt")
    roots = ("-CAfile", str(directory / "ca.crt"))
    return openssl("verify", "-x509_strict", "-purpose", purpose, *roots, "-untrusted", leaf, leaf)


async def test_leaves_of_a_given_intermediate_verify_with_openssl(
    stage: Stage, tmp_path: Path
) -> None:
    await stage.person.put(given(stage))
    domain = await stage.domain(authority={"secretRef": {"name": "corporate"}})
    await stage.run()
    payments = await stage.identity("payments", ports=["https"])
    await stage.person.ready(DOMAIN, domain)
    await stage.person.ready(IDENTITY, payments)
    for name, content in (await stage.secret(payments))["data"].items():
        (tmp_path / name).write_bytes(base64.b64decode(content))

    assert (tmp_path / "ca.crt").read_bytes() == ROOT.pem
    assert (tmp_path / "tls.crt").read_bytes().endswith(INTERMEDIATE.pem)
    for purpose in ("sslserver", "sslclient"):
        judged = openssl_verify(tmp_path, purpose)
        assert judged.returncode == 0, judged.stderr
    text = ("x509", "-in", str(tmp_path / "tls.crt"), "-noout", "-ext", "subjectAltName")
    names = openssl(*text).stdout
    assert f"URI:spiffe://{stage.name}.example/ns/{stage.shop}/sa/payments" in names

    namesake = by_hand("corporate root", own_key=generate_key(KeyAlgorithm.ECDSA_P256))
    (tmp_path / "ca.crt").write_bytes(namesake.pem)
    assert openssl_verify(tmp_path, "sslserver").returncode != 0, "a root in name alone is none"

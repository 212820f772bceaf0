"""The programs and tables of the pages about tokens are correct."""

import re
from inspect import getsource
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import builders
from tests.edge.shop import DOMAIN, identity_document, write_bundle, write_identity
from tests.guides.pages import blocks, page
from troth.edge.identity.files import Identity
from troth.edge.inbound import refusal
from troth.issuer.errors import Code
from troth.planning.trust_domain import tokens
from troth.planning.trust_domain.issuer import certificate as issuer_certificate
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.trust_domain.spec import TrustDomain
from troth.world.observation.objects import tokens_secret

TEXT = page("tokens.md", "reference/tokens.md")


@pytest.fixture
def identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Identity:
    """The mounts of a pod, where every program looks for them."""
    secret, bundle = tmp_path / "identity", tmp_path / "bundle"
    write_identity(secret, identity_document(f"https://{DOMAIN}"), "doc")
    write_bundle(bundle)
    monkeypatch.setattr(Identity.__init__, "__defaults__", (secret, bundle))
    return Identity()


@pytest.mark.parametrize("code", blocks(TEXT, "python"), ids=lambda code: code.splitlines()[0])
def test_programs_of_the_guide_run(identity: Identity, code: str) -> None:
    program: dict[str, Any] = {"__name__": "program"}
    exec(compile(code, "docs/tokens.md", "exec", dont_inherit=True), program)
    for name in ("client", "transport"):
        if name in program:
            program[name].close()


def test_guide_has_programs_of_every_kind() -> None:
    code = "".join(blocks(TEXT, "python"))
    modules = {
        "frameworks": ("uvicorn", "starlette", "flask", "gunicorn"),
        "inbound": ("asgi", "wsgi"),
        "outbound": ("httpx",),
    }
    for folder, names in modules.items():
        for name in names:
            assert f"from troth.edge.{folder}.{name} import" in code


def test_manifests_of_the_guide_are_valid() -> None:
    declared = [
        document
        for block in blocks(TEXT, "yaml")
        for document in yaml.safe_load_all(block)
        if isinstance(document, dict) and document.get("kind")
    ]
    assert len(declared) == 3
    for document in declared:
        if document["kind"] == "TrustDomain":
            TrustDomain.parse(builders.domain(**document["spec"]))
        else:
            spec = document["spec"]
            ServiceIdentity.parse(builders.identity(ports=["https"], **spec))


def test_every_error_code_is_explained() -> None:
    known = {*refusal._SENTENCES} - {"transaction-signature"}
    listed = set(
        re.findall(r"`([a-z-]+)`", "".join(re.findall(r"^\| (`.*?) \| 40", TEXT, re.MULTILINE)))
    )
    assert known <= listed


def test_every_answer_of_the_issuer_is_explained() -> None:
    listed = re.findall(r"^\| `([a-z_]+)` \| ", TEXT, re.MULTILINE)
    assert set(Code) <= set(listed)


def test_every_reason_for_missing_tokens_is_explained() -> None:
    code = getsource(tokens) + getsource(issuer_certificate)
    reasons = set(re.findall(r'(?:false\(TYPE, |Fault\()"(\w+)"', code))
    unreadable = tokens_secret(builders.secret("production-tokens")).fault
    assert unreadable is not None
    listed = "".join(re.findall(r"^\| (`[A-Z].*?) \|", TEXT, re.MULTILINE))
    assert len(reasons) > 5
    assert reasons | {unreadable.reason} <= set(re.findall(r"`(\w+)`", listed))

"""Questions to judges and their verdicts, and programs that exchange JSON lines."""

from __future__ import annotations

import json
import subprocess
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.judges.token_cases import Case
from tests.judges.token_world import ISSUERS, Kind
from tests.patience import PATIENCE
from tests.pki.builders import DOMAIN


@dataclass(frozen=True)
class Verdict:
    """Whether a token is valid, and in the judge's words its subject or its fault."""

    good: bool
    says: str


Judge = Callable[[Sequence[Case]], list[Verdict]]
Bundles = Mapping[str, Mapping[str, Any]]
"""SPIFFE bundles as JSON, by trust domain."""


@dataclass(frozen=True)
class Program:
    """A program that reads questions on its standard input and answers each with a line."""

    argv: tuple[str | Path, ...]

    def ask(self, questions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        done = subprocess.run(
            self.argv,
            input="".join(f"{json.dumps(question)}\n" for question in questions),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(answers) == len(questions), done.stderr
        return answers

    def verdicts(self, questions: Sequence[Mapping[str, Any]]) -> list[Verdict]:
        return [Verdict(answer["ok"], answer["says"]) for answer in self.ask(questions)]


def answering(judge: Callable[[Case], str]) -> Judge:
    def answer(case: Case) -> Verdict:
        try:
            return Verdict(good=True, says=judge(case))
        except Exception as refused:  # noqa: BLE001 - a judge that raises has not accepted
            return Verdict(good=False, says=f"{type(refused).__name__}: {refused}")

    return lambda cases: [answer(case) for case in cases]


def key_and_issuer(
    bundles: Bundles, case: Case, subject: str, kid: object
) -> tuple[Mapping[str, str], str]:
    domain = urlsplit(subject).netloc if case.kind is Kind.ACCESS else DOMAIN
    for key in bundles[domain]["keys"]:
        if key["use"] == "jwt-svid" and key["kid"] == kid:
            return key, ISSUERS[domain]
    raise ValueError("there is no such key")


def decoded(token: str) -> tuple[bytes, bytes, bytes]:
    header, payload, signature = (
        urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split(".")
    )
    return header, payload, signature

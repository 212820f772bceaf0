"""A policy is deleted: when the broker ends what is open, and what is left of it."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sandbox.demo.cast import CHECKOUT
from sandbox.demo.cluster import Cluster
from sandbox.demo.errors import DemoError
from sandbox.demo.message_trials import ORDER, Deed, Done
from sandbox.demo.messaging import ORDERS, Answer, OnStage, Refusal, Service

POLICY = ("topicpolicy", "orders", "--namespace", "shop")
DELETE = ("delete", *POLICY)
SECRET = ("secret", "checkout-main", "--namespace", "shop")
WITHIN = 5.0
"""Seconds in which an open connection must be ended, or its next message be refused."""
PATIENCE = 15.0
PAUSE = 0.02


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of a policy that is deleted.

    `seconds` are how long after the command began what was open was `ended`, infinite if it was
    not; `how` says what that means. `login` is the last attempt to log in anew. `left` is what of
    the policy's does not go.
    """

    seconds: float
    ended: Answer
    how: str
    login: Done
    left: tuple[str, ...]

    @property
    def open_is_wrong(self) -> bool:
        """Whether what was open went on."""
        return self.seconds > WITHIN

    @property
    def is_wrong(self) -> bool:
        """Whether anything of the policy still holds."""
        return self.open_is_wrong or self.login.is_wrong or bool(self.left)


def end(cluster: Cluster, stage: OnStage, checkout: Service, files: Path) -> Ending:
    """Delete the policy while checkout is connected, and look what becomes of it.

    `files` are checkout's, which it keeps. Raises `DemoError` if it is refused before, and
    `CommandError` if the policy does not go.
    """
    if (before := checkout.publish(ORDERS, ORDER)).refused:
        raise DemoError(f"checkout is refused before its policy is deleted: {before.words}")
    with ThreadPoolExecutor(1) as executor:
        began = time.monotonic()
        deleted = executor.submit(cluster.sandbox.kubectl, *DELETE, f"--timeout={PATIENCE:.0f}s")
        ended = checkout.until_refused(PATIENCE)
        seconds = time.monotonic() - began if ended else float("inf")
        deleted.result()
    left = [what for what in (POLICY, SECRET) if not _goes(cluster, what)]
    login = Deed(CHECKOUT, "logs in anew, with the file that it still has", Refusal.LOGIN)
    return Ending(
        seconds,
        ended or Answer("nothing"),
        stage.ends,
        Done(login, _until_refused(stage, files), stage.refusals[Refusal.LOGIN]),
        tuple("/".join(what[:2]) for what in left),
    )


def _goes(cluster: Cluster, what: tuple[str, ...]) -> bool:
    deadline = time.monotonic() + WITHIN
    while cluster.sandbox.kubectl("get", *what, "--ignore-not-found", "--output=name"):
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE)
    return True


def _until_refused(stage: OnStage, files: Path) -> Answer:
    deadline = time.monotonic() + WITHIN
    while not (answer := stage.log_in(files)).refused and time.monotonic() < deadline:
        time.sleep(PAUSE)
    return answer

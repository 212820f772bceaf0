"""The data of a credential's Secret, and what becomes of it at each turn.

The files are those of the current credential, in the form that client libraries read. The next one
and the one before are beside it for as long as they are, under the same name with `next-` or
`retiring-` before it; `troth.json` says which is which. Nothing is remembered anywhere else, so a
turn is a function from data to data.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from troth.brokers.kafka import credentials as kafka_credentials
from troth.brokers.protocol import Credential, Login, MissingExtraError, UnsupportedError
from troth.planning.brokers.credential_public import public_data
from troth.planning.steps.broker_credentials import CredentialRequest, Turn
from troth.resources.messaging.message_broker import BrokerType
from troth.trust.grants import Slot
from troth.world.facts.broker import Held
from troth.world.observation.broker_secrets import ACCOUNT, STATE, State, Which, read_state

_PREFIXES: Mapping[Which, str] = {"next": "next-", "retiring": "retiring-"}


class Form(Protocol):
    """What the credentials of one type of broker are."""

    SECRET: str
    """The key of a Secret under which the secret part is."""

    def issue(self, request: CredentialRequest, now: datetime) -> tuple[str, str]:
        """Return a new secret, and what the broker must know of it.

        Raises `ValueError` for a principal that cannot have one.
        """

    def material_of(self, principal: str, secret: str) -> str:
        """Return what the broker must know; raises `ValueError` where the secret is none."""

    def fingerprint_of(self, material: str) -> str:
        """Return what a credential is known by."""

    def files(self, request: CredentialRequest, slot: Slot, secret: str) -> dict[str, str]:
        """Return what clients read beside the secret."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """The credentials of a Secret: what is said of them, and the secret of each."""

    state: State
    secrets: Mapping[Which, str] = field(repr=False)


def turned(
    turn: Turn, data: Mapping[str, bytes], request: CredentialRequest, now: datetime
) -> dict[str, bytes]:
    """Return all of a Secret's data after a turn; `data` is what it has now.

    A turn that was made already changes nothing more, but for `ISSUE`, which always makes a new
    credential. Raises `ValueError`, which quotes nothing of it, where the data is not what the
    turn is made from, and `BrokerError` where there are no credentials for such a broker.
    """
    form = _form(request.type)
    if turn is Turn.ISSUE:
        kept = _issued(form, request, now)
    else:
        kept = _moved(turn, _read(form, data, request), form, request, now)
    texts = {
        **public_data(request),
        **form.files(request, kept.state.current.slot, kept.secrets["current"]),
        **{_key(form, which): secret for which, secret in kept.secrets.items()},
        STATE: kept.state.text(),
    }
    return {key: text.encode() for key, text in texts.items()}


def material(data: Mapping[str, bytes], which: Which) -> Credential:
    """Return a credential of a Secret as its broker must be told; raises `ValueError`."""
    form, state, held, secret = _found(data, which)
    told = form.material_of(state.principal, secret)
    if form.fingerprint_of(told) != held.fingerprint:
        raise ValueError(f"the {which} credential is not the one that {STATE} names")
    return Credential(state.principal, held.slot, told)


def login(data: Mapping[str, bytes], which: Which) -> Login:
    """Return a credential of a Secret as a client has it; raises `ValueError`."""
    _, state, held, secret = _found(data, which)
    return Login(state.principal, held.slot, secret)


def _issued(form: Form, request: CredentialRequest, now: datetime) -> _Kept:
    secret, told = form.issue(request, now)
    current = Held(Slot.FIRST, form.fingerprint_of(told), now)
    return _Kept(State(request.broker, request.principal, current), {"current": secret})


def _moved(turn: Turn, kept: _Kept, form: Form, request: CredentialRequest, now: datetime) -> _Kept:
    state, secrets = kept.state, kept.secrets
    match turn:
        case Turn.PREPARE if state.retiring is not None:
            raise ValueError("the credential before is still there; it has to go first")
        case Turn.PREPARE if state.next is None:
            secret, told = form.issue(request, now)
            upcoming = Held(state.current.slot.other, form.fingerprint_of(told), now)
            return _Kept(replace(state, next=upcoming), {**secrets, "next": secret})
        case Turn.ACTIVATE if state.next is not None:
            return _Kept(
                replace(state, current=state.next, next=None, retiring=state.current),
                {"current": secrets["next"], "retiring": secrets["current"]},
            )
        case Turn.ACTIVATE if state.retiring is None:
            raise ValueError("there is no next credential")
        case Turn.RETIRE if state.retiring is not None:
            return _Kept(replace(state, retiring=None), {"current": secrets["current"]})
        case _:
            return kept


def _read(form: Form, data: Mapping[str, bytes], request: CredentialRequest) -> _Kept:
    state = read_state(data.get(STATE, b""))
    if (state.broker, state.principal) != (request.broker, request.principal):
        raise ValueError("the credential is of another broker or principal")
    if data.get(ACCOUNT, b"") != request.account.encode():
        raise ValueError("the credential is of another account; a new one has to be issued")
    for which in state.held:
        material(data, which)
    return _Kept(state, {which: _secret(form, data, which) for which in state.held})


def _found(data: Mapping[str, bytes], which: Which) -> tuple[Form, State, Held, str]:
    state = read_state(data.get(STATE, b""))
    held = state.held.get(which)
    if held is None:
        raise ValueError(f"there is no {which} credential")
    form = _form(BrokerType.KAFKA if kafka_credentials.SECRET in data else BrokerType.NATS)
    return form, state, held, _secret(form, data, which)


def _secret(form: Form, data: Mapping[str, bytes], which: Which) -> str:
    secret = data.get(_key(form, which), b"")
    if not secret.isascii():
        raise ValueError(f"the {which} credential is not as Troth writes it")
    return secret.decode()


def _key(form: Form, which: Which) -> str:
    return _PREFIXES.get(which, "") + form.SECRET


def _form(broker: BrokerType) -> Form:
    match broker:
        case BrokerType.KAFKA:
            return kafka_credentials
        case BrokerType.NATS:
            try:
                from troth.brokers.nats import credentials as nats_credentials  # noqa: PLC0415 - an extra
            except ImportError:
                raise MissingExtraError(
                    "credentials for NATS need troth[nats]; install it"
                ) from None
            return nats_credentials
        case _:
            raise UnsupportedError(f"Troth makes no credentials for {broker} yet")

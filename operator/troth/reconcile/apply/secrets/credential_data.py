"""The data of a credential's Secret after each change of a rotation.

The files contain the current credential, in the form that client libraries read. During an overlap,
the next and the previous credential have the same keys with the prefix `next-` or `retiring-`.
`troth.json` records which credential is which. There is no other state, so a change is a function
from data to data.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import get_args

from troth.brokers.protocol import Credential, CredentialRequest, Dialect, Login
from troth.brokers.registry import DIALECTS, dialect_of
from troth.planning.steps.broker_credentials import CredentialChange
from troth.resources.messaging.broker_type import BrokerType
from troth.trust.grants import Slot
from troth.world.facts.broker import SlotCredential
from troth.world.observation.broker_secrets import (
    ACCOUNT,
    STATE,
    State,
    Which,
    public_data,
    read_state,
)

_PREFIXES: Mapping[Which, str] = {"next": "next-", "retiring": "retiring-"}


@dataclass(frozen=True, slots=True)
class _Kept:
    """The credentials of a Secret: their state, and the secret of each."""

    state: State
    secrets: Mapping[Which, str] = field(repr=False)


def changed_data(
    change: CredentialChange, data: Mapping[str, bytes], request: CredentialRequest, now: datetime
) -> dict[str, bytes]:
    """Return all data of a Secret after a change; `data` is its current data.

    Repeating a change has no effect, except for `ISSUE`, which always issues a new credential.
    Raises `ValueError` if the data does not allow the change; the message quotes none of it. Raises
    `BrokerError` if brokers of this type have no credentials.
    """
    dialect = dialect_of(request.type)
    if change is CredentialChange.ISSUE:
        kept = _issued(dialect, request, now)
    else:
        kept = _moved(change, dialect, _read(dialect, data, request), request, now)
    texts = {
        **public_data(request),
        **dialect.files(request, kept.state.current.slot, kept.secrets["current"]),
        **{_key(dialect, which): secret for which, secret in kept.secrets.items()},
        STATE: kept.state.text(),
    }
    return {key: text.encode() for key, text in texts.items()}


def material(type_: BrokerType, data: Mapping[str, bytes], which: Which) -> Credential:
    """Return a credential of a Secret in the form that the broker needs.

    Raises `ValueError` if the Secret does not hold the credential as Troth writes it for this type
    of broker, and `BrokerError` if brokers of this type have no credentials.
    """
    return _material(dialect_of(type_), data, which)


def login(type_: BrokerType, data: Mapping[str, bytes], which: Which) -> Login:
    """Return a credential of a Secret in the form that a client uses; raises as `material` does."""
    dialect = dialect_of(type_)
    state, held = _held(data, which)
    return Login(state.principal, held.slot, _secret(dialect, data, which))


def secrets_of(data: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the part of a Secret's data that `login` reads, for any type of broker."""
    keys = {STATE, *(_key(each, which) for each in DIALECTS.values() for which in get_args(Which))}
    return {key: data[key] for key in keys & data.keys()}


def _material(dialect: Dialect, data: Mapping[str, bytes], which: Which) -> Credential:
    state, held = _held(data, which)
    material = dialect.material_of(state.principal, _secret(dialect, data, which))
    if dialect.fingerprint_of(material) != held.fingerprint:
        raise ValueError(f"the {which} credential does not match {STATE}")
    return Credential(state.principal, held.slot, material)


def _issued(dialect: Dialect, request: CredentialRequest, now: datetime) -> _Kept:
    new = dialect.issue(request, now)
    current = SlotCredential(Slot.FIRST, dialect.fingerprint_of(new.material), now)
    return _Kept(State(request.broker, request.principal, current), {"current": new.secret})


def _moved(
    change: CredentialChange,
    dialect: Dialect,
    kept: _Kept,
    request: CredentialRequest,
    now: datetime,
) -> _Kept:
    state, secrets = kept.state, kept.secrets
    match change:
        case CredentialChange.PREPARE if state.retiring is not None:
            raise ValueError("the previous credential still exists; it must be retired first")
        case CredentialChange.PREPARE if state.next is None:
            new = dialect.issue(request, now)
            upcoming = SlotCredential(
                state.current.slot.other, dialect.fingerprint_of(new.material), now
            )
            return _Kept(replace(state, next=upcoming), {**secrets, "next": new.secret})
        case CredentialChange.ACTIVATE if state.next is not None:
            return _Kept(
                replace(state, current=state.next, next=None, retiring=state.current),
                {"current": secrets["next"], "retiring": secrets["current"]},
            )
        case CredentialChange.ACTIVATE if state.retiring is None:
            raise ValueError("there is no next credential")
        case CredentialChange.RETIRE if state.retiring is not None:
            return _Kept(replace(state, retiring=None), {"current": secrets["current"]})
        case _:
            return kept


def _read(dialect: Dialect, data: Mapping[str, bytes], request: CredentialRequest) -> _Kept:
    state = read_state(data.get(STATE, b""))
    if (state.broker, state.principal) != (request.broker, request.principal):
        raise ValueError("the credential is for another broker or principal")
    if data.get(ACCOUNT, b"") != request.account.encode():
        raise ValueError("the credential is for another account; a new one must be issued")
    for which in state.held:
        _material(dialect, data, which)
    return _Kept(state, {which: _secret(dialect, data, which) for which in state.held})


def _held(data: Mapping[str, bytes], which: Which) -> tuple[State, SlotCredential]:
    state = read_state(data.get(STATE, b""))
    held = state.held.get(which)
    if held is None:
        raise ValueError(f"there is no {which} credential")
    return state, held


def _secret(dialect: Dialect, data: Mapping[str, bytes], which: Which) -> str:
    secret = data.get(_key(dialect, which), b"")
    if not secret.isascii():
        raise ValueError(f"the {which} credential does not have the form that Troth writes")
    return secret.decode()


def _key(dialect: Dialect, which: Which) -> str:
    return _PREFIXES.get(which, "") + dialect.secret_key

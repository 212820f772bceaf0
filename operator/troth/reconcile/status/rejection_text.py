"""Sentences about writes that the API server rejects: what, who or why, and what to do.

The message of the API server may quote the request. A sentence about a Secret has only recognized
causes and names of fields; any other has the message too, shortened.
"""

import re

from troth.cluster.denials import denial
from troth.cluster.errors import STORE_FULL, ApiError
from troth.planning.steps.step import Target

TOO_LARGE = 413
UNPROCESSABLE = 422

_NAME = "[a-z0-9.-]{1,253}"
_DENYING_POLICY = re.compile(
    rf'\S+ "{_NAME}" is forbidden: ValidatingAdmissionPolicy \'({_NAME})\' with binding '
    rf"'({_NAME})' denied request"
)
_FAILED_MUTATION = re.compile(rf"policy '({_NAME})' with binding '({_NAME})' denied request: ")
_DENYING_WEBHOOK = re.compile(rf'admission webhook "({_NAME})" denied the request')
_UNCALLED_WEBHOOK = re.compile(
    rf'(?:Internal error occurred: )?failed calling webhook "({_NAME})": '
)
_IMMUTABLE = "field is immutable when `immutable` is set"
_TOO_LONG = "Too long"
_NUMBER = re.compile(r"(?<![a-z0-9-])\d+(?:[a-z]+\d+)*")
"""A number or a duration such as `1m30s` without its last unit, and not the digits of a name."""


def sentence(place: Target, error: Exception, *, removing: bool) -> str:
    """Return what is refused, why, and what to do."""
    kind, ref = place
    what = f"{kind} {ref} cannot be {'deleted' if removing else 'written'}: {error}"
    if not isinstance(error, ApiError):
        return what
    cause = cause_of(error)
    because = f", because {cause}" if cause else ""
    said = error.line
    if kind != "Secret" and not denial(error):
        if cause:
            return f"{what}{because} ({said})"
        return f"{what}: {said}" if said else what
    if not cause and error.status == UNPROCESSABLE and error.fields:
        return (
            f"{what} in {' and '.join(error.fields)}; find the mutating admission policy or "
            "webhook that changes it, and exempt Troth's ServiceAccount from it"
        )
    return what + because


def essence(text: str) -> str:
    """Return a sentence without its numbers, which differ between attempts: ports and times.

    Digits that belong to a name stay, because another name is another cause.
    """
    return _NUMBER.sub("#", text)


def cause_of(error: ApiError) -> str:
    """Return the cause of a refusal with the next step, "" if it is not recognized.

    It quotes only names, never the request.
    """
    message = error.message
    if denied := denial(error):
        return denied
    if error.reason == STORE_FULL:
        return (
            "etcd of the API server is full; compact and defragment it, then disarm its NOSPACE "
            "alarm"
        )
    if found := _DENYING_POLICY.match(message):
        return (
            f"ValidatingAdmissionPolicy {found[1]} with binding {found[2]} denies it; change the "
            "policy, or exempt Troth's ServiceAccount from it"
        )
    if found := _FAILED_MUTATION.match(message):
        return (
            f"MutatingAdmissionPolicy {found[1]} with binding {found[2]} cannot change it; correct "
            "the policy, or exempt Troth's ServiceAccount from it"
        )
    if found := _DENYING_WEBHOOK.match(message):
        return (
            f"the admission webhook {found[1]} denies it; change the webhook, or exempt Troth's "
            "ServiceAccount from it"
        )
    if found := _UNCALLED_WEBHOOK.match(message):
        return (
            f"the API server cannot call the admission webhook {found[1]}; restore the webhook's "
            "service, or exempt Troth's ServiceAccount from it"
        )
    if _IMMUTABLE in message:
        return (
            "it is immutable; replace it with a copy without `immutable`, or delete it if Troth "
            "may issue its contents again"
        )
    if error.status == TOO_LARGE or _TOO_LONG in message:
        return "it would exceed the size limit of 1 MiB; declare fewer peers"
    return ""

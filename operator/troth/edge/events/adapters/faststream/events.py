"""What handlers and publishers use: the verified event, and the attributes of a new one."""

from typing import Annotated, Any, Final

from faststream import Context
from faststream.message.utils import encode_message
from faststream.response import PublishCommand
from faststream.response.publish_type import PublishType

from troth.edge.events.event import Event
from troth.edge.events.message import Sealed
from troth.edge.events.sealing import Sealer

EVENT: Final = "troth_event"
"""Name of the verified event in FastStream's context."""

VerifiedEvent = Annotated[Event, Context(EVENT)]
"""Annotation of a handler's parameter that gets the verified event."""

_PREFIX = "troth-"
_OPTIONS = frozenset({"type", "subject", "tenant", "request_id", "transaction", "id", "about"})


def attributes(type: str, **options: str) -> dict[str, str]:  # noqa: A002 - CloudEvents' name
    """Return the headers that tell the middleware how to seal a message.

    `options` are `subject`, `tenant`, `request_id`, `transaction`, `id` and `about` of
    `Sealer.seal`. The middleware removes these headers: `broker.publish(order, topic="orders",
    headers=attributes("shop.order.placed", tenant="acme"))`.
    """
    unknown = options.keys() - _OPTIONS
    if unknown:
        raise TypeError(f"an event has no option {min(unknown)}; use {', '.join(sorted(_OPTIONS))}")
    return {f"{_PREFIX}{name}": value for name, value in ({"type": type} | options).items()}


def seal(sealer: Sealer, command: PublishCommand, serializer: Any) -> Sealed:  # noqa: ANN401
    """Seal what FastStream publishes.

    Raises `SealingError` as `Sealer.seal` does, and `ValueError` for a request, a reply, a batch
    or a message without `attributes`.
    """
    if command.publish_type is not PublishType.PUBLISH or command.reply_to:
        raise ValueError("requests and replies cannot be sealed; publish an event instead")
    if len(command.batch_bodies) > 1:
        raise ValueError("a batch has one seal for several events; publish each event by itself")
    given = {
        name.removeprefix(_PREFIX): command.headers[name]
        for name in command.headers
        if name.removeprefix(_PREFIX) in _OPTIONS and name.startswith(_PREFIX)
    }
    if "type" not in given:
        raise ValueError("the event has no type; publish it with headers=attributes('...')")
    data, content_type = encode_message(command.body, serializer)
    if content_type:
        given["content_type"] = content_type
    return sealer.seal(data, topic=command.destination, **given)


def unsealed_headers(command: PublishCommand) -> dict[str, Any]:
    """Return the headers of a message that are not about its seal."""
    return {name: value for name, value in command.headers.items() if not name.startswith(_PREFIX)}

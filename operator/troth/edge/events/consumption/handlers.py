"""Handlers of events: plain functions, with the policy and the type of the payload they expect.

```python
@handler(policy="shop/orders", model=Order)
def place(order: Order, event: Event) -> None: ...


@handler(policy="shop/refunds")
async def refund(event: Event) -> None: ...
```

An adapter takes the handler. A payload that the model rejects is rejected as `SchemaInvalid`, like
data that does not satisfy the policy's schema; the function is not called. The decorated function
can still be called directly, as tests do.
"""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

from pydantic import TypeAdapter, ValidationError

from troth.edge.events.event import Event
from troth.edge.events.rejection import Reason, RejectedError

P = ParamSpec("P")
R = TypeVar("R")


class Handler(Generic[P, R]):
    """A function that handles the events of a policy.

    `policy` is `<namespace>/<name>` of a TopicPolicy, and `group` this workload's group if it has
    several. `is_async` tells whether the function is a coroutine function.
    """

    def __init__(
        self,
        function: Callable[P, R],
        policy: str,
        group: str | None = None,
        model: Any = None,  # noqa: ANN401 - any type that pydantic validates
    ) -> None:
        """Use `handler` as a decorator instead."""
        self.policy = policy
        self.group = group
        self.is_async = inspect.iscoroutinefunction(function)
        self._function = function
        self._handle: Callable[..., Any] = function
        self._model = model
        self._adapter = None if model is None else TypeAdapter(model)
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", type(function).__name__)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function as it is."""
        return self._function(*args, **kwargs)

    def prepare(self, event: Event) -> tuple[Any, ...]:
        """Return the function's arguments for an event: the parsed payload, if any, and the event.

        Raises `RejectedError` with `SchemaInvalid` if the model rejects the payload or a validator
        of it fails. It quotes no data.
        """
        if self._adapter is None:
            return (event,)
        try:
            if event.payload is None:
                return self._adapter.validate_json(event.data), event
            return self._adapter.validate_python(event.payload), event
        except ValidationError as error:
            raise RejectedError(Reason.SCHEMA_INVALID, self._fault(error)) from None
        except Exception as error:  # a validator of the application may raise anything
            # Its text may quote the event.
            detail = f"the payload's model raised {type(error).__qualname__}"
            raise RejectedError(Reason.SCHEMA_INVALID, detail) from error

    def handle(self, arguments: tuple[Any, ...]) -> Any:  # noqa: ANN401 - as the function returns
        """Call the function with the arguments that `prepare` returned.

        For a coroutine function the result must be awaited.
        """
        return self._handle(*arguments)

    async def call(self, arguments: tuple[Any, ...]) -> None:
        """Call the function from asyncio, a plain one in a thread.

        In the event loop, a slow function would hold up all other messages and the heartbeats.
        """
        if self.is_async:
            await self.handle(arguments)
        else:
            await asyncio.to_thread(self._call_function, arguments)

    def _call_function(self, arguments: tuple[Any, ...]) -> None:
        try:
            self.handle(arguments)
        except StopIteration as error:  # no future of asyncio can have it
            raise RuntimeError("the handler raised StopIteration") from error

    def _fault(self, error: ValidationError) -> str:
        name = getattr(self._model, "__name__", str(self._model))
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        # A place deeper in the data may consist of the data's own keys.
        fields = getattr(self._model, "model_fields", ())
        place = f" at {first['loc'][0]}" if first["loc"] and first["loc"][0] in fields else ""
        return f"the payload does not satisfy the model {name}{place} ({first['type']})"


def handler(
    *,
    policy: str,
    group: str | None = None,
    model: Any = None,  # noqa: ANN401 - any type that pydantic validates
) -> Callable[[Callable[P, R]], Handler[P, R]]:
    """Return a decorator that makes a function the handler of a policy's events.

    With a `model`, such as a pydantic model, the function is called with the parsed payload and the
    `Event`, otherwise with the `Event` alone. The payload is what the policy's schema has
    validated; without a schema, the data is parsed as JSON. So a model is for JSON and Avro, not
    for Protobuf. `group` is needed if this workload
    consumes by the policy with several groups.
    """

    def decorate(function: Callable[P, R]) -> Handler[P, R]:
        return Handler(function, policy, group, model)

    return decorate

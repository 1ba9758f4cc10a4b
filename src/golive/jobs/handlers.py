"""
What the user registers: a function, the type of its payload, and its limits.

The payload's type is read from the function's signature once, at registration. JSON is decoded and validated by msgspec
(Struct, dataclass, TypedDict, plain types) or, for a pydantic model, by pydantic; results are encoded the same way.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

import msgspec

from golive.errors import ConfigError
from golive.jobs.context import JobContext
from golive.jobs.errors import InvalidPayloadError

Function = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Handler:
    """A registered function and its limits, which :meth:`golive.jobs.Jobs.handler` explains."""

    name: str
    function: Function
    queue: str
    attempts_max: int
    timeout: timedelta
    concurrency: int | None
    retry_on_timeout: bool
    isolation: str = "none"
    memory_bytes_max: int | None = None
    backoff_base: timedelta = timedelta(seconds=1)
    backoff_max: timedelta = timedelta(minutes=10)
    downstream: str | None = None
    payload_type: Any
    is_async: bool
    takes_payload: bool
    context_name: str | None
    decode: Callable[[bytes], Any]

    @cached_property
    def timeout_seconds(self) -> float:
        """*timeout*, ready for every run; 0.0 means none."""
        return self.timeout.total_seconds()

    def call(self, payload: Any, context: JobContext) -> Any:
        """The function's own return value: an awaitable if it is a coroutine function."""
        positional = (payload,) if self.takes_payload else ()
        named = {self.context_name: context} if self.context_name else {}
        return self.function(*positional, **named)


def describe(function: Function, name: str, **limits: Any) -> Handler:
    """
    The handler for *function*, its signature read.

    Raises: ConfigError when the signature cannot be a handler's.
    """
    place = f"@jobs.handler({name!r}) on {getattr(function, '__qualname__', function)}"
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise ConfigError(
            f"{place}: expected annotations that can be resolved, got {error}. Import the name at module level."
        ) from error
    context_name, payloads = None, []
    for parameter in inspect.signature(function).parameters.values():
        if hints.get(parameter.name) is JobContext or (parameter.name == "ctx" and parameter.name not in hints):
            context_name = parameter.name
        elif parameter.default is inspect.Parameter.empty:
            payloads.append(parameter)
    if len(payloads) > 1 or any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.KEYWORD_ONLY) for p in payloads):
        raise ConfigError(f"{place}: expected one payload and a JobContext at most, got {inspect.signature(function)}.")
    payload_type = hints.get(payloads[0].name, Any) if payloads else Any
    return Handler(
        name=name, function=function, payload_type=payload_type, context_name=context_name,
        takes_payload=bool(payloads), is_async=inspect.iscoroutinefunction(function),
        decode=_decoder(payload_type, place), **limits,
    )  # fmt: skip


def encode_result(value: Any) -> bytes:
    """
    *value* as JSON.

    Raises: TypeError when it holds something JSON cannot say.
    """
    return _encoder.encode(value)


def parse(payload: bytes) -> Any:
    """
    The JSON value of *payload*, whatever its type. Unlike a typed decoder, this reads what a type would skip.

    Raises: InvalidPayloadError for what is not JSON in UTF-8 (RFC 8259, 8.1), or nested too deeply.
    """
    try:
        return msgspec.json.decode(payload)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:  # not UTF-8 is a ValueError
        raise InvalidPayloadError(str(error)) from error


def canonical(payload: bytes) -> bytes:
    """
    The same bytes for the same JSON value, whatever its spacing and the order of its keys. For fingerprints.

    Raises: InvalidPayloadError, as :func:`parse`.
    """
    return _sorted.encode(parse(payload))


def _decoder(payload_type: Any, place: str) -> Callable[[bytes], Any]:
    validate = getattr(payload_type, "model_validate_json", None)  # pydantic, without importing it
    if validate is None:
        try:
            validate = msgspec.json.Decoder(payload_type).decode
        except TypeError as error:
            raise ConfigError(
                f"{place}: expected a payload type JSON can be validated against, got {error}."
            ) from error

    def decode(payload: bytes) -> Any:
        try:
            return validate(payload)
        except (ValueError, RecursionError, msgspec.MsgspecError) as error:  # pydantic's is a ValueError
            raise InvalidPayloadError(_in_words(error)) from error

    return decode


def _in_words(error: Exception) -> str:
    faults = getattr(error, "errors", None)
    if faults is None:
        return str(error)
    return "; ".join(
        f"{fault['msg']} - at `$.{'.'.join(map(str, fault['loc']))}`"
        for fault in faults(include_input=False, include_url=False)
    )


def _encode_other(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"expected a result JSON can hold, got {type(value).__qualname__}")
    return dump(mode="json")


_encoder = msgspec.json.Encoder(enc_hook=_encode_other)
_sorted = msgspec.json.Encoder(order="deterministic")

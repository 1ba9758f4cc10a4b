"""
The tables of ``[gates]`` that are made from :mod:`golive.promises`, and back.

A promise is a dataclass there, with its reasons. Here each becomes a section of golive.toml with the same names and
defaults: seconds are written as durations, requests as ``{ get = "/" }``, groups as lists. Without this, forty tables
would be spelt three times, and a test would have to hold them together.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import Field, create_model
from pydantic_core import core_schema

from golive.config.requests import SmokeRequest, smoke_request
from golive.config.types import Count, Duration, Number, Section, Switch, UrlPath
from golive.promises.request import SmokeRequest as Request


class Table:
    """
    The type of a table that is made from a promise. What it accepts is worked out when somebody wrote it, or asks for
    the schema: most files have a few of these tables, and forty models are a tenth of a second at every start.
    """

    promise: ClassVar[type]

    @classmethod
    def section(cls) -> type[Section]:
        """See :func:`section`."""
        return section(cls.promise)

    @classmethod
    def _read(cls, value: Any) -> Section:
        return value if isinstance(value, Section) else cls.section().model_validate(value)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(cls._read)

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: Any, handler: Any) -> dict[str, Any]:
        made = cls.section()
        made.model_rebuild(force=True)
        return dict(handler(made.__pydantic_core_schema__))


def written(promise: type) -> type[Table]:
    """The type of the table for *promise*, as a field of a section has it."""
    return type(f"{promise.__name__}Table", (Table,), {"promise": promise})


@functools.cache
def section(promise: type) -> type[Section]:
    """The section that spells *promise* in golive.toml."""
    hints = get_type_hints(promise, include_extras=True)
    fields: dict[str, Any] = {}
    for each in dataclasses.fields(promise):
        kind = _kind(hints[each.name])
        if each.default is not dataclasses.MISSING:
            fields[each.name] = (kind, Field(default=_written(each.default, hints[each.name])))
        elif each.default_factory is not dataclasses.MISSING:
            fields[each.name] = (kind, Field(default=each.default_factory()))
        else:
            fields[each.name] = (kind, ...)
    name = promise.__name__.removesuffix("Probe")
    return create_model(name, __base__=Section, __doc__=promise.__doc__, **fields)


def promise_of(promise: type, table: Section) -> Any:
    """*table*, a section made by :func:`section`, as the *promise* itself."""
    hints = get_type_hints(promise, include_extras=True)
    return promise(**{
        each.name: _meant(getattr(table, each.name), hints[each.name]) for each in dataclasses.fields(promise)
    })  # fmt: skip


_PLAIN: dict[Any, Any] = {
    str: str,
    int: Annotated[Count, Field(ge=0)],
    float: Annotated[Number, Field(ge=0)],
    bool: Switch,
}
_MARKED: dict[str, Any] = {"seconds": Duration, "path": UrlPath, "ratio": Annotated[Number, Field(ge=0, le=1)]}


def _kind(hint: Any) -> Any:
    """What golive.toml accepts for a field of type *hint*."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _MARKED[arguments[1]]
    if hint in _PLAIN:
        return _PLAIN[hint]
    if hint is Request:
        return SmokeRequest
    if dataclasses.is_dataclass(hint):
        return section(hint)  # type: ignore[arg-type]  # a class, not an instance
    if origin is tuple:
        return list[_kind(arguments[0])]  # type: ignore[misc]
    if origin is Mapping:
        return dict[str, _kind(arguments[1])]  # type: ignore[misc]
    if origin in (Union, types.UnionType):
        (inner,) = [argument for argument in arguments if argument is not type(None)]
        return _kind(inner) | None
    assert origin is Literal, f"a promise is not made of {hint}"
    return hint


def _written(value: Any, hint: Any) -> Any:
    """A default of a promise as the section holds it."""
    if get_origin(hint) is Annotated and get_args(hint)[1] == "seconds":
        return timedelta(seconds=value)
    if isinstance(value, Request):
        return SmokeRequest(get=value.path)
    return list(value) if isinstance(value, tuple) else value


def _meant(value: Any, hint: Any) -> Any:
    """A value of a section as the promise holds it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if value is None:
        return None
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, SmokeRequest):
        return smoke_request(value)
    if origin in (Union, types.UnionType):
        (hint,) = [argument for argument in arguments if argument is not type(None)]
    if isinstance(value, Section):
        return promise_of(hint, value)
    if isinstance(value, list):
        return tuple(_meant(each, arguments[0]) for each in value)
    return value

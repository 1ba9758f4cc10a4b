"""The kinds of value a setting can be, each with its own sentence for a value that is not one."""

from __future__ import annotations

import re
import shlex
import string
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, PlainValidator, WithJsonSchema

from golive.errors import did_you_mean
from golive.slo.units import format_quantity, parse_quantity
from golive.timing import format_duration, parse_duration

PLACEHOLDERS = ("port", "version", "python")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SWITCH = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


class Section(BaseModel):
    """
    A table of the configuration: frozen, and no key that is not known.

    Only the model that is asked builds a validator; a table inside another is a part of that one. Together with
    :func:`table` that is a third of what ``golive config`` costs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


def table() -> Any:
    """The default of a table inside a table: an empty one, validated with the rest instead of on its own."""
    return Field(default_factory=dict, validate_default=True)


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    return parse_duration(value)  # type: ignore[arg-type]  # it refuses everything but a string, in words


def _positive(value: object) -> timedelta:
    duration = _duration(value)
    if duration <= timedelta(0):
        raise ValueError(f'expected a duration longer than zero, got "{value}".')
    return duration


DURATION_PATTERN = r"^(\s*\d+(\.\d+)?\s*(ms|s|m|h|d|w))+\s*$"
_DURATION_SCHEMA = WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN})
_DURATION_TEXT = PlainSerializer(format_duration, return_type=str)
Duration = Annotated[timedelta, PlainValidator(_duration), _DURATION_TEXT, _DURATION_SCHEMA]
PositiveDuration = Annotated[timedelta, PlainValidator(_positive), _DURATION_TEXT, _DURATION_SCHEMA]


def _keeping(value: object) -> timedelta | None:
    return None if value is None or value == "forever" else _positive(value)


def _keeping_text(value: timedelta | None) -> str:
    return "forever" if value is None else format_duration(value)


#: How long something is kept; None, written ``"forever"``: it is never removed.
Keeping = Annotated[
    timedelta | None,
    PlainValidator(_keeping),
    PlainSerializer(_keeping_text, return_type=str),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": DURATION_PATTERN}, {"const": "forever"}]}),
]


def _not_a_switch(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"expected a number, got {str(value).lower()}.")
    return value


Count = Annotated[int, BeforeValidator(_not_a_switch)]
Number = Annotated[float, BeforeValidator(_not_a_switch)]


def _bytes(value: object) -> int:
    try:
        size, unit = parse_quantity(value) if isinstance(value, str) else (0.0, "number")
    except ValueError:
        size, unit = 0.0, "number"
    if unit != "bytes" or size < 1:
        raise ValueError(f'expected a size such as "512MiB", got {value!r}.')
    return int(size)


Bytes = Annotated[
    int,
    PlainValidator(_bytes),
    PlainSerializer(lambda size: format_quantity(float(size), "bytes"), return_type=str),
    WithJsonSchema({"type": "string", "examples": ["512MiB"]}),
]


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _SWITCH:
        return _SWITCH[value.strip().lower()]
    raise ValueError(f"expected true or false, got {value!r}.")


Switch = Annotated[bool, PlainValidator(_switch), WithJsonSchema({"type": "boolean"})]


def _weight(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a percentage such as 10 or 0.5, got {value!r}. Write a number.")
    if not 0 < value <= 100:  # NaN is not in there either
        raise ValueError(f"expected more than 0 and at most 100 percent, got {value:g}.")
    if Decimal(repr(float(value))) % Decimal("0.01"):
        raise ValueError(f"expected a multiple of 0.01 percent, got {value!r}. The finest step is 0.01.")
    return float(value)


Weight = Annotated[
    float,
    PlainValidator(_weight),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 100, "multipleOf": 0.01}),
]


def _url_path(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"/[!-~]*", value):
        raise ValueError(f'expected a path such as "/health/ready", got {value!r}.')
    return value


UrlPath = Annotated[str, PlainValidator(_url_path), WithJsonSchema({"type": "string", "pattern": "^/[!-~]*$"})]


def _token(value: object) -> str | None:
    if value == "":
        return None
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise ValueError(f'expected the name of a header or cookie, or "" for none, got {value!r}.')
    return value


Token = Annotated[
    str | None,
    PlainValidator(_token),
    PlainSerializer(lambda name: name or "", return_type=str),
    WithJsonSchema({"type": "string"}),
]


def _words(value: object, example: str) -> list[str]:
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise ValueError(f"expected a command, got one a shell could not read either: {error}.") from None
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise ValueError(f"expected a command such as {example}, or one string.")
    return value


def _command(value: object) -> list[str]:
    words = _words(value, '["uvicorn", "main:app", "--port", "{port}"]')
    for part in words:
        _check_placeholders(part)
    return words


def _hook_command(value: object) -> list[str]:
    words = _words(value, '["./hooks/migrate", "--check"]')
    if not words or not words[0]:
        raise ValueError('expected a command such as ["./hooks/migrate", "--check"], got none.')
    return words


def _check_placeholders(part: str) -> None:
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(part) if name is not None]
    except ValueError:
        raise ValueError(f'a brace in "{part}" has no partner. Write {{{{ or }}}} for a brace itself.') from None
    for name in names:
        if name not in PLACEHOLDERS:
            raise ValueError(
                f"unknown placeholder {{{name}}}{did_you_mean(name, list(PLACEHOLDERS)) or '.'} "
                f"Known are {', '.join(f'{{{known}}}' for known in PLACEHOLDERS)}; write {{{{ for a brace itself."
            )


_COMMAND_SCHEMA = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
Command = Annotated[list[str], PlainValidator(_command), _COMMAND_SCHEMA]
HookCommand = Annotated[list[str], PlainValidator(_hook_command), _COMMAND_SCHEMA]
"""A command without placeholders: braces are braces, the environment says what there is to know."""

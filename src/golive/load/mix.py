"""
A mix of requests from a file, so that realistic traffic need not be spelt on a command line.

A JSON list of objects with ``method``, ``path``, ``headers``, ``body`` (text, or any JSON, sent as such), ``weight``
and
``expect`` (a status or a list of them).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from golive.errors import UsageError
from golive.load.plan import RequestSpec

FILE_BYTES_MAX = 16 * 1024 * 1024
_KEYS = ("method", "path", "headers", "body", "weight", "expect")


def read_mix(path: Path) -> list[RequestSpec]:
    """
    The requests of the file at *path*; :class:`~golive.load.LoadPlan` checks their values.

    Raises: UsageError naming the file, the entry (from 0) and the key.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise UsageError(f"{path}: expected at most {FILE_BYTES_MAX} bytes.")
        entries = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: expected a readable file, got {error.strerror}. Check --mix.") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: expected JSON, got: {error}.") from None
    if not isinstance(entries, list) or not entries:
        raise UsageError(f"{path}: expected a list of requests, got {type(entries).__name__}.")
    return [_request(f"{path}/{number}", entry) for number, entry in enumerate(entries)]


def _request(place: str, entry: object) -> RequestSpec:
    if not isinstance(entry, dict) or not set(entry) <= set(_KEYS):
        raise UsageError(f"{place}: expected an object with some of {', '.join(_KEYS)}, got {_short(entry)}.")
    headers = _typed(place, "headers", entry.get("headers", {}), dict)
    weight = entry.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise UsageError(f"{place}/weight: expected a number > 0, got {_short(weight)}.")
    body, extra = _body(entry.get("body"))
    named = {name.lower() for name in headers}
    return RequestSpec(
        method=_typed(place, "method", entry.get("method", "GET"), str).upper(),
        path=_typed(place, "path", entry.get("path", ""), str),
        headers={
            **{name: value for name, value in extra.items() if name not in named},
            **{name: _typed(place, f"headers/{name}", value, str) for name, value in headers.items()},
        },
        body=body,
        weight=float(weight),
        expect=_expect(entry.get("expect")),
    )


def _body(body: Any) -> tuple[str | None, dict[str, str]]:
    """Text as it is; anything else as the JSON it was written as, which then says so."""
    if body is None or isinstance(body, str):
        return body, {}
    return json.dumps(body), {"content-type": "application/json"}


def _expect(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    return tuple(str(status) for status in (value if isinstance(value, list) else [value]))


def _typed(place: str, key: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise UsageError(f"{place}/{key}: expected {'text' if kind is str else 'an object'}, got {_short(value)}.")
    return value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "..."

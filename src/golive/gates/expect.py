"""Comparing an answer with what was declared; says the first difference in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from golive.gates.http import Answer
from golive.gates.schema import violation
from golive.gates.target import SmokeRequest

_SHOWN = 120


def difference(answer: Answer, request: SmokeRequest) -> str | None:
    """What is wrong with *answer*, or None: ``expected status 200, got 503``."""
    if not status_matches(answer.status, request.expect):
        wanted = " or ".join(str(status) for status in request.expect)
        return f"expected status {wanted}, got {answer.status}{_excerpt(answer)}"
    for name, wanted in request.expect_headers.items():
        got = answer.header(name)
        if got is None or (wanted and got != wanted):
            return f"expected header {name}{': ' + wanted if wanted else ''}, got {got if got is not None else 'none'}"
    if request.expect_json:
        found = json_difference(answer.json(), request.expect_json)
        if found:
            return found
    return violation(answer.json(), request.expect_schema) if request.expect_schema else None


def status_matches(status: int, expect: tuple[int | str, ...]) -> bool:
    """Whether *status* is one of ``200``, ``"2xx"``, ``"204"``."""
    return any(str(wanted).lower() in (str(status), f"{status // 100}xx") for wanted in expect)


def json_difference(got: Any, wanted: Any, place: str = "") -> str | None:
    """The first field of *wanted* that *got* has not or has otherwise; fields only *got* has are ignored."""
    if isinstance(wanted, Mapping):
        if not isinstance(got, Mapping):
            return f"expected {'JSON object' if not place else place + ' to be an object'}, got {_short(got)}"
        for key, value in wanted.items():
            inner = f"{place}.{key}" if place else str(key)
            if key not in got:
                return f"expected JSON field {inner}, got none"
            found = json_difference(got[key], value, inner)
            if found:
                return found
        return None
    return None if got == wanted else f"expected {place or 'JSON'} to be {_short(wanted)}, got {_short(got)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _excerpt(answer: Answer) -> str:
    text = answer.body[:_SHOWN].decode("utf-8", "replace").strip()
    clean = "".join(character if character.isprintable() else " " for character in text)
    return f" ({clean})" if clean else ""

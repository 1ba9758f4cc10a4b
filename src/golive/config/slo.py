"""``[slo]`` at the border of the configuration: the default table, and rows to and from what golive.toml writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from golive.config.types import DURATION_PATTERN
from golive.slo.row import Row
from golive.slo.table import PHASE_KEYS, PHASES, SloError, parse_table
from golive.timing import format_duration

DEFAULT_ROWS: Mapping[str, Mapping[str, object]] = {"error_rate": {"target": "<= 1%", "alert_if": "> 2%"}}
"""In force while ``[slo]`` is not written: the one promise every service makes. Source: seed 002."""

_LIMIT = {"type": "string", "pattern": r"^\s*(<|<=|==|>=|>)\s*\$?\s*-?[0-9.]+\s*(%|[A-Za-z]+)?\s*$"}
_PHASE_KEYS: dict[str, Any] = {
    "target": _LIMIT,
    "alert_if": _LIMIT,
    "act_if": _LIMIT,
    "window": {"type": "string", "pattern": DURATION_PATTERN},
    "severity": {"enum": ["page", "ticket"]},
    "baseline": {"type": "string", "pattern": r"^\s*[+-]\s*[0-9.]+\s*%\s*$"},
}
_PHASE = {"type": "object", "properties": _PHASE_KEYS, "additionalProperties": False}
SLO_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "metric | target | alert if: the load gate, the canary verdict and the alarms read these rows",
    "additionalProperties": {
        "type": "object",
        "properties": {
            **_PHASE_KEYS,
            **{key: {"type": "string"} for key in ("route", "queue", "query")},
            **dict.fromkeys(PHASES, _PHASE),
        },
        "additionalProperties": False,
    },
}


def default_table() -> dict[str, Row]:
    """The rows in force when nobody wrote any."""
    return parse_table(DEFAULT_ROWS)


def read_table(value: object) -> dict[str, Row]:
    """
    Rows as they are, or as written.

    Raises: ValueError for anything that is no table of rows (pydantic's contract).
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a table of rows, got {value!r}.")
    if all(isinstance(row, Row) for row in value.values()):
        return dict(value)
    try:
        return parse_table(value)
    except SloError as error:
        raise ValueError(str(error)) from None


def write_table(table: dict[str, Row]) -> dict[str, dict[str, Any]]:
    """The rows as golive.toml would write them; a phase only with what differs."""
    return {name: _write_row(row) for name, row in table.items()}


def _write_row(row: Row) -> dict[str, Any]:
    written: dict[str, Any] = {**_limits(row), "route": row.route, "queue": row.queue, "query": row.query}
    for phase, override in row.phases.items():
        own = _limits(row)
        written[phase] = {key: value for key, value in _limits(override).items() if value != own[key]}
    return {key: value for key, value in written.items() if value is not None}


def _limits(row: Row) -> dict[str, str | None]:
    sign = None if row.baseline is None else f"{row.baseline * 100:+.10g}%"
    values = (str(row.target), _text(row.alert_if), _text(row.act_if), format_duration(row.window), row.severity, sign)
    return dict(zip(PHASE_KEYS, values, strict=True))


def _text(value: object) -> str | None:
    return None if value is None else str(value)

"""
THE TABLE: what "good" means for a service, written once in ``[slo]`` as *metric | target | alert if*.

The load gate, the canary verdict, the alarms and the dashboards all read these rows. This module turns what was written
into :class:`~golive.slo.row.Row` objects and finds every fault before it complains.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TypeVar, get_args

from golive.errors import ExitCode, GoliveError, did_you_mean
from golive.slo.condition import Condition, parse_condition
from golive.slo.indicators import CUSTOM, SPELLINGS, Indicator, Severity, indicator_of, spelling_hint
from golive.slo.markdown import to_markdown
from golive.slo.row import Judgement, Phase, Row, Verdict
from golive.timing import parse_duration

__all__ = ["Condition", "Fault", "Judgement", "Phase", "Row", "SloError", "Verdict", "parse_table", "to_markdown"]

T = TypeVar("T")

ROWS_MAX = 100
"""Each row is a test on every look and an alarm; beyond this a table has stopped saying what matters."""
PHASES: tuple[str, ...] = get_args(Phase)
PHASE_KEYS = ("target", "alert_if", "act_if", "window", "severity", "baseline")
WINDOW_DEFAULT = timedelta(minutes=5)
KEYS = (*PHASE_KEYS, "route", "queue", "query")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
_ROUTE = re.compile(r"(?:[A-Z]+ )?/\S*")
_BASELINE = re.compile(r"([+-])\s*(\d{1,4}(?:\.\d+)?)\s*%")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with the table: at which *key* (path below ``[slo]``), and what to do about it."""

    key: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        return f"{'.'.join(('slo', *self.key))}: {self.message}"


class SloError(GoliveError):
    """
    The table is wrong.

    Attributes:
        faults: all of them, in the order written.
        key: path of the first one below ``[slo]``, e.g. ``("error_rate", "gate", "target")``.
    """

    exit_code = ExitCode.USAGE

    def __init__(self, faults: list[Fault]) -> None:
        assert faults, "an SloError names at least one fault"
        self.faults = tuple(faults)
        self.key = faults[0].key
        super().__init__("\n".join(map(str, faults)))


def parse_table(rows: Mapping[str, Mapping[str, object]]) -> dict[str, Row]:
    """
    The rows of ``[slo]``, by name, in the order written.

    Raises: SloError with every fault found; each carries its key path, so that a caller can add the line.
    """
    parsed = {name: _RowParser(name, settings) for name, settings in rows.items()}
    table = {name: parser.row() for name, parser in parsed.items()}
    faults = [fault for parser in parsed.values() for fault in parser.faults]
    if len(rows) > ROWS_MAX:
        faults.insert(0, Fault((), f"expected at most {ROWS_MAX} rows, got {len(rows)}."))
    if faults:
        raise SloError(faults)
    return {name: row for name, row in table.items() if row is not None}


@dataclass
class _RowParser:
    """Reads one row and collects what is wrong with it."""

    name: str
    settings: object
    faults: list[Fault] = field(default_factory=list)

    def row(self) -> Row | None:
        """The row, or None when faults were found."""
        named = self._indicator()
        if not isinstance(self.settings, Mapping):
            example = self.settings if isinstance(self.settings, str) else "< 1%"
            self.fault((), f'expected a table such as {{ target = "{example}" }}, got {self.settings!r}.')
        if named is None or not isinstance(self.settings, Mapping):
            return None
        own = {key: value for key, value in self.settings.items() if key not in PHASES}
        self._unknown((), own, KEYS)
        if "target" not in own:
            self.fault((), 'has no target. Write { target = "...", alert_if = "..." }.')
        base = self._read((), own, own, *named)
        phases = {phase: self._phase(phase, own, *named) for phase in PHASES if phase in self.settings}
        if base is None or self.faults:
            return None
        return replace(base, phases={phase: row for phase, row in phases.items() if row})

    def _indicator(self) -> tuple[Indicator, float | None] | None:
        if not _NAME.fullmatch(self.name):
            self.fault((), "a row's name is lower case, digits and underscores, such as submit_latency_p95.")
            return None
        found = indicator_of(self.name)
        if found is None and isinstance(self.settings, Mapping) and "query" in self.settings:
            return CUSTOM, None
        if found is None:
            hint = did_you_mean(self.name, SPELLINGS) or f".{spelling_hint(self.name)}"
            self.fault((), f"ends in no built-in indicator{hint} A row of your own needs a query; "
                           f"built in are {', '.join(SPELLINGS)}.")  # fmt: skip
        return found

    def _phase(self, phase: str, own: Mapping[str, object], indicator: Indicator, quantile: float | None) -> Row | None:
        assert isinstance(self.settings, Mapping), "only a row that is a table has phases"
        override = self.settings[phase]
        if not isinstance(override, Mapping):
            self.fault((phase,), f'expected a table such as {{ alert_if = "> 2%" }}, got {override!r}.')
            return None
        self._unknown((phase,), override, PHASE_KEYS)
        return self._read((phase,), {**own, **override}, override, indicator, quantile)

    def _read(
        self,
        at: tuple[str, ...],
        settings: Mapping[str, object],
        written: Mapping[str, object],
        indicator: Indicator,
        quantile: float | None,
    ) -> Row | None:
        """The row from *settings*; *written* are the keys that stand at *at*, and only their faults are told there."""
        get = _Getter(self, at, settings, written)
        target = get.condition("target", indicator)
        alert_if = get.condition("alert_if", indicator)
        act_if = get.condition("act_if", indicator)
        window = get.value("window", _window) or WINDOW_DEFAULT
        route, queue = get.scope("route", _route, indicator), get.scope("queue", _text, indicator)
        severity = get.value("severity", _severity) or indicator.severity
        baseline, query = get.value("baseline", _baseline), get.value("query", _text)
        if target is None:
            return None
        row = Row(self.name, indicator.name, quantile, target, alert_if, act_if, window,
                  route, queue, severity, baseline, query)  # fmt: skip
        for key, message in _contradictions(row):
            self.fault((*at, key) if key in written else at, message if key in written else f"{key} {message}")
        return row

    def _unknown(self, at: tuple[str, ...], settings: Mapping[str, object], known: tuple[str, ...]) -> None:
        choice = [*known, *PHASES] if not at else list(known)
        for key in settings:
            if key not in known:
                hint = did_you_mean(key, choice) or f". Known here: {', '.join(choice)}."
                self.fault((*at, key), f"unknown key{hint}")

    def fault(self, key: tuple[str, ...], message: str) -> None:
        """Remember that *key*, below this row, is wrong."""
        self.faults.append(Fault((self.name, *key), message))


@dataclass(frozen=True, slots=True)
class _Getter:
    """Reads single keys of one row; a bad value becomes a fault at its key, and None."""

    parser: _RowParser
    at: tuple[str, ...]
    settings: Mapping[str, object]
    written: Mapping[str, object]

    def value(self, key: str, read: Callable[[object], T]) -> T | None:
        if key not in self.settings:
            return None
        try:
            return read(self.settings[key])
        except ValueError as error:
            if key in self.written:
                self.parser.fault((*self.at, key), str(error))
            return None

    def condition(self, key: str, indicator: Indicator) -> Condition | None:
        return self.value(key, lambda text: _possible(parse_condition(text, indicator.unit), indicator))

    def scope(self, key: str, read: Callable[[object], str], indicator: Indicator) -> str | None:
        if key in self.written and key not in indicator.scopes:
            allowed = " or ".join(indicator.scopes) or "neither route nor queue"
            self.parser.fault((*self.at, key), f"{indicator.name} cannot be narrowed by {key}; it takes {allowed}.")
            return None
        return self.value(key, read)


def _possible(condition: Condition, indicator: Indicator) -> Condition:
    """*condition* if a value of this indicator can satisfy it. Raises: ValueError."""
    if indicator is CUSTOM:
        return condition
    if condition.value < 0:
        raise ValueError(f'{indicator.name} is never negative, got "{condition}".')
    if condition.unit == "ratio" and condition.value > 1:
        raise ValueError(f'expected a share between 0% and 100%, got "{condition}".')
    never_below, never_above = condition.op == "<" and condition.value == 0, condition.op == ">" and indicator.share
    if never_below or (never_above and condition.value == 1):
        raise ValueError(f'"{condition}" can never be true of {indicator.name}.')
    return condition


def _contradictions(row: Row) -> list[tuple[str, str]]:
    found = []
    for key, limit in (("alert_if", row.alert_if), ("act_if", row.act_if)):
        if limit and limit.unit != row.target.unit:
            found.append((key, f'is in {limit.unit}, the target "{row.target}" in {row.target.unit}. Use one unit.'))
        elif limit and limit.overlaps(row.target):
            found.append((key, f'"{limit}" can be true while the target "{row.target}" is met. Leave no overlap.'))
    if row.act_if and row.alert_if and row.act_if != row.alert_if and not row.alert_if.holds(row.act_if.value):
        found.append(("act_if", f'"{row.act_if}" must be a worse case of alert_if "{row.alert_if}".'))
    if row.baseline is not None and (row.baseline < 0) != row.target.op.startswith(">"):
        sign = "-" if row.target.op.startswith(">") else "+"
        found.append(("baseline", f'worse than target "{row.target}" is the other way: write "{sign}...%".'))
    if row.route and row.queue:
        found.append(("queue", "a row is about a route or a queue, not both."))
    return found


def _window(value: object) -> timedelta:
    window = parse_duration(value)  # type: ignore[arg-type]  # it refuses everything but a string, in words
    if window <= timedelta(0):
        raise ValueError('expected a window longer than zero, such as "5m".')
    return window


def _route(value: object) -> str:
    if not isinstance(value, str) or not _ROUTE.fullmatch(value):
        raise ValueError(f'expected a route such as "POST /api/orders" or "/api/orders", got {value!r}.')
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected a text that is not empty, got {value!r}.")
    return value


def _severity(value: object) -> Severity:
    if value in ("page", "ticket"):
        return value
    raise ValueError(f'expected "page" or "ticket", got {value!r}.')


def _baseline(value: object) -> float:
    match = _BASELINE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'expected a tolerance against the stable version such as "+20%", got {value!r}.')
    return float(f"{match[1]}{match[2]}") / 100

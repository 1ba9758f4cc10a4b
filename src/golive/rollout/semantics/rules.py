"""
What all borrowed rules share: reading snapshots, summing them up between two measurements, and being stored.

    observe -> read the counters -> add them to the interval -> the tool's own step (:meth:`Rules.look`)

Pure like golive's judge: time comes from the snapshots. None of these tools looks at 100 %: there it is promote.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from golive.errors import ConfigError, did_you_mean
from golive.rollout.judge.decision import Action, Decision, RowVerdict
from golive.rollout.judge.judge import BOUNDS, PLAN, SLO
from golive.rollout.judge.reading import CANARY, Reader, Tick, UnreadableError
from golive.rollout.judge.table import Want, read_table
from golive.rollout.semantics.interval import Interval
from golive.slo.row import Verdict

STATE_VERSION = 1
EPSILON_S = 1e-6
"""Looks come on a grid of floating point seconds; a measurement this little early is on time."""


@dataclass(frozen=True, slots=True)
class Moment:
    """
    When and where a look happens.

    Attributes:
        t: seconds since the canary first had traffic.
        stage: index into the plan, >= 0.
        fault: why the metrics could not be read this time; empty when they could.
    """

    t: float
    stage: int
    fault: str = ""


class Rules(ABC):
    """
    Judges one rollout by the rules of another tool. Not thread-safe; needs no clock.

    Args: as of :class:`golive.rollout.Judge`; *options* are those of the tool, see its ``Options``.

    Raises: ConfigError or SloError naming every fault.
    """

    name: ClassVar[str]
    options_class: ClassVar[type[Any]]

    def __init__(
        self,
        plan: Sequence[float] = PLAN,
        slo: Mapping[str, Mapping[str, object]] = SLO,
        tick_s: float = 10.0,
        histogram_bounds: Sequence[float] = BOUNDS,
        routes: Sequence[str] = ("*",),
        **options: Any,
    ) -> None:
        self.options = make_options(self.name, self.options_class, options)
        self.plan, self.tick_s = [float(weight) for weight in plan], float(tick_s)
        self.slo = {name: dict(row) for name, row in slo.items()}
        self.bounds, self.routes = [float(edge) for edge in histogram_bounds], [str(route) for route in routes]
        self.wants = read_table(slo, self.routes, self.bounds)
        self._reader = Reader(len(self.routes), self._buckets)
        self._interval = Interval(len(self.routes), self._buckets)
        self._stage = -1
        self._t = -math.inf
        self.rows: dict[str, list[str]] = {}

    @property
    def _buckets(self) -> int:
        return len(self.bounds) + 1 if self.bounds else 0

    # ------------------------------------------------------------------ one look

    def observe(self, snapshot: object) -> Decision:
        """Look at the counters as they are now and decide; see :meth:`golive.rollout.Judge.observe`."""
        tick, fault = self._read(snapshot)
        t, stage, age = (_number(snapshot, name) for name in ("t", "stage", "stage_age"))
        if t is None or stage is None:
            return self.hold(f"no data: {fault}")
        if t < 0 or stage < 0:
            return self.hold("the canary has no traffic yet")
        if t <= self._t:
            return self.hold("the evidence is stale: nothing newer than the last look")
        self._t = t
        if stage != self._stage:
            first, self._stage = self._stage < 0, int(stage)
            self.enter(max(t - (self.tick_s if age is None else age), 0.0), first=first)
        if tick is not None and not tick.is_history:
            self._interval.add(tick)
        if self.plan[self._stage] >= 1.0:
            return self.decision(Action.PROMOTE, f"done; {self.name} does not look at 100%.")
        return self.look(Moment(t, self._stage, fault))

    def _read(self, snapshot: object) -> tuple[Tick | None, str]:
        """The tick, or why there is none. That there is nothing yet to compare the first look with is no fault."""
        first = self._reader.before is None
        try:
            return self._reader.read(snapshot), ""
        except UnreadableError as error:
            return None, "" if first and self._reader.before is not None else str(error)

    def begin_interval(self) -> None:
        """Forget what was counted since the last measurement."""
        self._interval = Interval(len(self.routes), self._buckets)

    def measure(self) -> dict[str, float]:
        """The canary's metric of every row that can be judged; a new interval begins."""
        values = {want.name: self._interval.value(want, CANARY, self.bounds) for want in self.judged}
        self.begin_interval()
        return values

    @property
    def judged(self) -> list[Want]:
        """The rows there is evidence for in principle."""
        return [want for want in self.wants if not want.unjudgeable]

    @abstractmethod
    def enter(self, t: float, *, first: bool) -> None:
        """A stage began at about *t* seconds; *first* when it is the first of the rollout."""

    @abstractmethod
    def look(self, moment: Moment) -> Decision:
        """The tool's own step."""

    # ------------------------------------------------------------------ decisions

    def note(self, row: str, verdict: Verdict, sentence: str) -> None:
        """What the last measurement of *row* said; it stands until the next one."""
        self.rows[row] = [str(verdict), sentence]

    def decision(self, action: Action, reason: str, *, needs_human: bool = False, confidence: float = 0.0) -> Decision:
        """A decision with the newest verdict of every row. These rules know no confidence unless they say one."""
        verb = {Action.ROLLBACK: "roll back", Action.PROMOTE: "promote", Action.HOLD: "hold"}[action]
        rows = tuple(self._row(want) for want in self.wants)
        return Decision(action, confidence, rows, f"{verb}: {reason}", needs_human=needs_human)

    def hold(self, reason: str, *, needs_human: bool = False) -> Decision:
        """Go on waiting."""
        return self.decision(Action.HOLD, f"{reason}.", needs_human=needs_human)

    def _row(self, want: Want) -> RowVerdict:
        if want.unjudgeable:
            return RowVerdict(want.name, Verdict.INCONCLUSIVE, f"{want.name}: {want.unjudgeable}.")
        verdict, sentence = self.rows.get(want.name, ["INCONCLUSIVE", "not measured yet"])
        return RowVerdict(want.name, Verdict(verdict), f"{want.name}: {sentence}.")

    # ------------------------------------------------------------------ state

    def to_dict(self) -> dict[str, Any]:
        """Settings and state as plain JSON; :meth:`from_dict` continues with identical decisions."""
        return {
            "version": STATE_VERSION,
            "semantics": self.name,
            "settings": {
                "plan": self.plan, "slo": self.slo, "tick_s": self.tick_s,
                "histogram_bounds": self.bounds, "routes": self.routes,
            },
            "options": {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self.options).items()},
            "reader": self._reader.before,
            "interval": self._interval.to_dict(),
            "stage": [self._stage, self._t if math.isfinite(self._t) else None],
            "rows": self.rows,
            "state": self.kept(),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Rules:
        """
        The rules that :meth:`to_dict` described.

        Raises: ConfigError when the state is of an unknown version or of other rules.
        """
        if stored.get("version") != STATE_VERSION or stored.get("semantics") != cls.name:
            got = f"version {stored.get('version')!r} of {stored.get('semantics')!r}"
            raise ConfigError(f"judge state: expected version {STATE_VERSION} of {cls.name!r}, got {got}. Start again.")
        stored = copy.deepcopy(dict(stored))
        rules = cls(**stored["settings"], **stored["options"])
        rules._reader.before = stored["reader"]
        rules._interval.restore(stored["interval"])
        rules._stage, t = stored["stage"]
        rules._t = -math.inf if t is None else t
        rules.rows = stored["rows"]
        rules.keep(stored["state"])
        return rules

    @abstractmethod
    def kept(self) -> dict[str, Any]:
        """The tool's own state, as plain JSON."""

    @abstractmethod
    def keep(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`kept` gave."""


def make_options(name: str, options_class: type[Any], options: Mapping[str, object]) -> Any:
    """
    The options of one tool.

    Raises: ConfigError naming every fault. *options_class* lists its own with ``faults()``.
    """
    known = [each.name for each in fields(options_class)]
    faults = [
        f'{name}: unknown option "{option}"{did_you_mean(option, known)} Known: {", ".join(known)}.'
        for option in options
        if option not in known
    ]
    made = options_class(**{option: value for option, value in options.items() if option in known})
    faults += [f"{name}.{fault}" for fault in made.faults()]
    if faults:
        raise ConfigError(*faults)
    return made


def number_fault(name: str, value: object, least: float, *, whole: bool = False, none: bool = False) -> list[str]:
    """One fault unless *value* is a number of *least* or more (*whole*: an integer; *none*: or nothing)."""
    if none and value is None:
        return []
    kinds = int if whole else (int, float)
    if isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value) and value >= least:
        return []
    return [f"{name}: expected {'a whole number' if whole else 'a number'}, {least:g} or more, got {value!r}."]


def _number(snapshot: object, name: str) -> float | None:
    try:
        number = float(getattr(snapshot, name))
    except (AttributeError, TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None

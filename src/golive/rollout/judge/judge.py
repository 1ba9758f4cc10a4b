"""
The judge of one rollout: each look goes through the same five steps.

    read the counters -> compare (regression) -> prove (promotion) -> learn what stable is like -> decide

Estimates of stable are learned after they were used, so that no test judges data with themselves. A rollback needs
evidence of 1/alpha for a visible regression; a promotion needs proof; everything else holds, and says what is missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from golive.errors import ConfigError
from golive.rollout.judge.decision import Decision
from golive.rollout.judge.gauges import Gauges
from golive.rollout.judge.history import History
from golive.rollout.judge.jobs import JOB_BOUNDS, all_runs_and_faults, row_value
from golive.rollout.judge.layout import Counts, Line, count, make_lines, noninferiority_line
from golive.rollout.judge.options import Options, make_options
from golive.rollout.judge.promotion import Look, Promotion
from golive.rollout.judge.reading import CANARY, STABLE, Reader, Tick, UnreadableError
from golive.rollout.judge.regression import Regression
from golive.rollout.judge.report import Look as ReportLook
from golive.rollout.judge.report import Report
from golive.rollout.judge.table import Want, read_table
from golive.slo.baseline import Baseline
from golive.slo.clumping import Clumping

PLAN = (0.01, 0.05, 0.25, 0.5, 0.95, 1.0)
SLO: Mapping[str, Mapping[str, object]] = {"error_rate": {"target": "<= 1%", "alert_if": "> 2%"}}
BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
RATE_MEMORY = 0.9
CLUMP_S = 10.0
STATE_VERSION = 2
MOVES = ("requests", "jobs", "both")
FAILED_JOBS = "failed jobs"
ODDS_MIN, ODDS_MAX = 0.1, 3.0


class Judge:
    """
    Judges one rollout. Not shared between rollouts, not thread-safe; needs no clock.

    Args:
        plan: the stages' weights, ascending shares in 0..1.
        slo: the rows of the SLO table, as in ``[slo]`` of golive.toml.
        tick_s: the usual time between two looks, seconds. Looks may be irregular.
        histogram_bounds: upper edges of the latency buckets, seconds, ascending; empty when there is no latency.
        routes: names of the routes, in the order of the counters.
        moves: what the weight splits: "requests", "jobs" (their runs then take the place of requests, queues that of
            routes) or "both". See :mod:`golive.rollout.judge.jobs`.
        pace: "careful" (about 23 min), "fast" (about 9 min) or "demo" (half a minute at 200 requests/s; coarse).
        options: see :class:`~golive.rollout.judge.options.Options`.

    Raises: ConfigError or SloError naming every fault.
    """

    def __init__(
        self,
        plan: Sequence[float] = PLAN,
        slo: Mapping[str, Mapping[str, object]] = SLO,
        tick_s: float = 10.0,
        histogram_bounds: Sequence[float] = BOUNDS,
        routes: Sequence[str] = ("*",),
        *,
        moves: str = "requests",
        pace: str = "careful",
        **options: Any,
    ) -> None:
        _check(plan, tick_s, histogram_bounds, routes, moves)
        self.options: Options = make_options(pace, options)
        self.plan, self.routes = [float(weight) for weight in plan], [str(route) for route in routes]
        bounds = JOB_BOUNDS if moves == "jobs" else histogram_bounds
        self.bounds, self.tick_s, self.moves = [float(edge) for edge in bounds], float(tick_s), moves
        self.slo = {name: dict(row) for name, row in slo.items()}
        self.wants = read_table(slo, self.routes, self.bounds, moves)
        self._own = [want.name for want in self.wants if want.kind == "own"]
        if moves == "both":
            self._own.append(FAILED_JOBS)
        buckets = len(self.bounds) + 1 if self.bounds else 0
        self._reader = Reader(self.routes, buckets, moves, len(self.plan))
        self._history: History | None = History(len(self.routes), buckets)
        self._gauges = Gauges()
        self._stage, self._origin, self._rate = -1, 0.0, 0.0
        self._arrivals = [0.0, 0.0, 0.0]
        self._silent = [0.0, 0.0]

    # ------------------------------------------------------------------ one look

    def observe(self, snapshot: object) -> Decision:
        """
        Look at the counters as they are now and decide.

        Args:
            snapshot: anything with ``t``, ``stage``, ``weight``, ``stage_age``, ``requests``, ``errors``, ``latency``
                (cumulative; version 0 stable, 1 canary; latency not cumulated over buckets, one bucket more than
                bounds), optionally ``units``, ``bad_units``, ``values`` and ``jobs``, and ``epoch``, which is another
                when whoever counts began anew while the counters went on. Whatever is missing or broken holds.
        """
        first = self._reader.before is None
        try:
            tick = self._reader.read(snapshot)
        except UnreadableError as error:
            if first and self._reader.before is not None and self._history is not None:
                self._history.begin(self._reader.before)
            return self._report().unreadable(str(error))
        if tick.is_history:
            if self._history is not None:
                self._history.add(tick)
            return self._report().unreadable("the canary has no traffic yet; learning what stable is like")
        if self._history is not None:
            self._freeze(tick)
        return self._judge(tick)

    def _judge(self, tick: Tick) -> Decision:
        t = tick.t - self._origin
        self._enter_stage(tick)
        levels: dict[str, bool] = {}
        counts = [*count(self._lines, tick), *self._own_counts(tick, levels)]
        rows = range(len(counts))
        stable = [each.b for each in counts], [each.n_s for each in counts]
        self._baseline.look(*stable)
        phi = self._phi()
        incident = [self._baseline.incident(row, phi[row]) for row in rows]
        warm = tick.stage_age < self.options.warm_up_s + 1e-9
        usual = [self._baseline.cautious_rate(row) for row in rows]
        blame = self._phi(cautious=True)
        self._regression.observe(t, counts, blame, usual, incident, levels, warm=warm, alone=tick.weight >= 1.0)
        self._prove(t, counts, phi, incident, warm=warm)
        self._baseline.learn(*stable, tick.seconds, [not each for each in incident])
        self._baseline.accept(row for row, line in enumerate(self._lines) if line.kind == "tail")
        self._clumping.learn(*stable, tick.seconds)
        return self._decide(tick, t, incident)

    def _prove(
        self, t: float, counts: Sequence[Counts], phi: Sequence[float], incident: Sequence[bool], *, warm: bool
    ) -> None:
        def look(row: int) -> Look:
            line = self._lines[row]
            return Look(counts[row], phi[row], self._baseline.rate(row), incident[row], line.worse, line.worse_excess)

        tail = None if warm or self._tail is None else look(self._tail)
        last = len(counts) - 1  # the failed jobs, where both kinds move
        failed = Look(counts[last], phi[last], self._baseline.rate(last), incident[last])
        self._promotion.observe(t, look(0), tail, failed if self.moves == "both" else None)

    def _decide(self, tick: Tick, t: float, incident: Sequence[bool]) -> Decision:
        report = self._report()
        weight = self._regression.weigh(t)
        lead = weight.lead
        judged = [0] if self._tail is None else [0, self._tail]
        trouble = any(incident[row] for row in [*judged, *([-1] if self.moves == "both" else [])])
        phi = self._phi()
        look: ReportLook = {
            "tick": tick, "weight": weight, "incident": trouble, "phi": phi, "rate": self._rate, "tail": self._tail,
        }  # fmt: skip
        if weight.total >= self._regression.goal and lead.kind == "level":
            want = next(want for want in self.wants if want.name == lead.want)
            if self._gauges.verdict(want.row)[0] == "FAIL":
                return report.gauge_failed(look, want, lead)
        elif weight.total >= self._regression.goal and self._regression.visible(lead.line):
            return report.rollback(look, lead)
        return report.hold_or_promote(look, self._why_not(tick, weight.suspicion, trouble))

    def _why_not(self, tick: Tick, suspicion: float, trouble: bool) -> str:
        """What forbids a promotion whatever was proven; empty when nothing does."""
        if trouble:
            return "stable itself is in trouble; nothing is blamed on the canary until that is over"
        if suspicion > math.log(self.options.warn):
            return "the canary is suspicious"
        if not tick.counted:
            return (
                f"no {self._noun} are counted yet: this is the first look since counting began anew, as after a "
                "takeover by another controller or a restart of the gateway"
            )
        fault = self._arrival_fault(tick)
        if not fault and self._arrivals[0] == 0 and tick.total(CANARY) == 0:
            return f"the canary had no {self._noun[:-1]} in this stage yet, and no data is never a pass"
        return fault

    # ------------------------------------------------------------------ what is kept between looks

    def _freeze(self, tick: Tick) -> None:
        """The first tick with a canary: fix the lines from stable's history and replay it into the estimates."""
        assert self._history is not None
        self._origin = max(tick.t - tick.seconds, 0.0)
        histogram = self._history.latency()
        lines = make_lines(self.options, self.wants, self.routes, self.bounds, histogram, self._noun)
        self._build(lines, noninferiority_line(lines, self.bounds, histogram), units=tick.units is not None)
        for past in self._history.replay(units=self._units):
            counts = [*count(self._lines, past), *self._own_counts(past, {})]
            stable = [each.b for each in counts], [each.n_s for each in counts]
            if past.seconds > 0:
                self._baseline.look(*stable)
                self._clumping.learn(*stable, past.seconds)
            self._baseline.learn(*stable, past.seconds, [True] * len(counts))
        self._history = None

    def _build(self, lines: list[Line], tail: int | None, *, units: bool) -> None:
        self._lines, self._tail, self._units = lines, tail, units
        rows = len(lines) + len(self._own)
        self._regression = Regression(self.options, lines, self.wants, self._own, self.tick_s)
        minute_s, both = self._regression.minute_s, self.moves == "both"
        self._promotion = Promotion(self.options, self.plan, minute_s, latency=tail is not None, jobs=both)
        self._baseline = Baseline(rows)
        self._clumping = Clumping(rows, min(CLUMP_S, max(self.options.burst_s / 3, self.tick_s)))

    def _phi(self, *, cautious: bool = False) -> list[float]:
        """Clumping of every line; units are counted once each, and a route clumps at least like the total."""
        factor = self._clumping.cautious_factor if cautious else self._clumping.factor
        phi = [factor(row) for row in range(len(self._lines) + len(self._own))]
        phi = [
            max(own, phi[0]) if line.kind == "route" else own for own, line in zip(phi, self._lines, strict=False)
        ] + phi[len(self._lines) :]
        if self._units:
            phi[0] = 1.0
        return phi

    def _own_counts(self, tick: Tick, levels: dict[str, bool]) -> list[Counts]:
        """Counts of the rows with their own measurement; levels go to the gauges, and to *levels* what they show."""
        counts = []
        for want in self.wants:
            if want.kind != "own":
                continue
            stable, canary = self._values_of(want, tick)
            if isinstance(stable, list) and isinstance(canary, list):
                counts.append(Counts(min(canary), canary[1], min(stable), stable[1]))
                continue
            counts.append(Counts(0.0, 0.0, 0.0, 0.0))
            if isinstance(stable, float) or isinstance(canary, float):
                known = [level if isinstance(level, float) else None for level in (stable, canary)]
                alone = self._gauges.look(want.row, known)
                if alone is not None:
                    levels[want.name] = alone
        if self.moves == "both" and tick.jobs is not None:
            (n_s, b), (n_c, c) = (all_runs_and_faults(each) for each in tick.jobs)
            counts.append(Counts(c, n_c, b, n_s))
        elif self.moves == "both":
            counts.append(Counts(0.0, 0.0, 0.0, 0.0))
        return counts

    def _values_of(self, want: Want, tick: Tick) -> Sequence[Any]:
        """What both versions say about a row: measured for it, or seen in the jobs."""
        if want.name in tick.values or tick.jobs is None:
            return tick.values.get(want.name, (None, None))
        return [row_value(want, counts) for counts in tick.jobs]

    @property
    def _noun(self) -> str:
        return "jobs" if self.moves == "jobs" else "requests"

    def _enter_stage(self, tick: Tick) -> None:
        """Count arrivals, and begin anew what belongs to a stage."""
        requests = [tick.total(STABLE), tick.total(CANARY)]
        if tick.counted:
            rate = sum(requests) / tick.seconds
            self._rate = rate if self._rate == 0 else RATE_MEMORY * self._rate + (1 - RATE_MEMORY) * rate
        if tick.stage != self._stage:
            self._stage = tick.stage
            self._regression.begin_stage()
            self._promotion.begin_stage()
            self._arrivals = [0.0, 0.0, 0.0]
            return
        expected = tick.weight * sum(requests)
        self._arrivals = [
            held + new for held, new in zip(self._arrivals, (requests[CANARY], sum(requests), expected), strict=True)
        ]

    def _arrival_fault(self, tick: Tick) -> str:
        """One version missing, or a share of requests that has little to do with the weight: hold."""
        requests = [tick.total(STABLE), tick.total(CANARY)]
        wanted = [1.0 - tick.weight, tick.weight]
        for version, name in ((CANARY, "canary"), (STABLE, "stable")):
            self._silent[version] = (
                0.0
                if requests[version]
                else self._silent[version] + wanted[version] * max(self._rate * tick.seconds, sum(requests))
            )
            if self._silent[version] >= 10.0:
                return f"{name} gets no requests although its weight is {100 * wanted[version]:.3g}%"
        return _sample_ratio_fault(*self._arrivals)

    def _report(self) -> Report:
        if self._history is not None:
            return Report(self.wants, self.plan, self.options, None, None, self._gauges, self._noun)
        return Report(self.wants, self.plan, self.options, self._regression, self._promotion, self._gauges, self._noun)

    # ------------------------------------------------------------------ state

    def to_dict(self) -> dict[str, Any]:
        """Settings and state as plain JSON; :meth:`from_dict` continues with identical decisions."""
        state: dict[str, Any] = {
            "version": STATE_VERSION,
            "settings": {
                "plan": self.plan,
                "slo": self.slo,
                "tick_s": self.tick_s,
                "histogram_bounds": self.bounds,
                "routes": self.routes,
                "moves": self.moves,
            },
            "options": {name: _listed(value) for name, value in asdict(self.options).items()},
            "reader": self._reader.before,
            "gauges": self._gauges.to_dict(),
            "stage": [self._stage, self._origin, self._rate, self._arrivals, self._silent],
        }  # fmt: skip
        if self._history is not None:
            return {**state, "history": self._history.to_dict()}
        return {
            **state,
            "lines": [line.to_dict() for line in self._lines],
            "tail": self._tail,
            "units": self._units,
            **{name: getattr(self, f"_{name}").to_dict() for name in _PARTS},
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Judge:
        """
        The judge that :meth:`to_dict` described.

        Raises: ConfigError when the state is of an unknown version.
        """
        if state.get("version") != STATE_VERSION:
            raise ConfigError(
                f"judge state: expected version {STATE_VERSION}, got {state.get('version')!r}. Start the stage again."
            )
        import copy  # only on the way back from a journal

        state = copy.deepcopy(dict(state))
        judge = cls(**state["settings"], **state["options"])
        judge._reader.before = state["reader"]
        judge._gauges.restore(state["gauges"])
        judge._stage, judge._origin, judge._rate, judge._arrivals, judge._silent = state["stage"]
        if "history" in state:
            assert judge._history is not None
            judge._history.restore(state["history"])
            return judge
        judge._history = None
        judge._build([Line(**line) for line in state["lines"]], state["tail"], units=state["units"])
        for name in _PARTS:
            getattr(judge, f"_{name}").restore(state[name])
        return judge


_PARTS = ("regression", "promotion", "baseline", "clumping")


def _listed(value: object) -> object:
    """Tuples as lists, which is what JSON makes of them."""
    return list(value) if isinstance(value, tuple) else value


def _sample_ratio_fault(canary: float, requests: float, expected: float) -> str:
    """
    Sample-ratio mismatch: six sigma, and odds three times what the weight means, or a tenth of it.

    The band is wide on purpose: with a hundred sticky clients 5 % of the traffic is five of them, or one, or nine. Too
    much is the danger (more users than were agreed to); too little only makes the evidence slow.
    """
    if requests <= 0 or expected <= 0 or expected >= requests:
        return ""
    sigma = math.sqrt(expected * (1 - expected / requests))
    odds = (canary + 0.5) * (requests - expected) / ((requests - canary + 0.5) * expected)
    if abs(canary - expected) <= 6 * sigma or ODDS_MIN <= odds <= ODDS_MAX:
        return ""
    return (
        f"the canary got {canary:,.0f} of {requests:,.0f} requests in this stage where its weight means "
        f"{expected:,.0f}: the gateway does something else than it was told, or a few sticky clients make most of "
        "the traffic"
    )


def _check(plan: Sequence[float], tick_s: float, bounds: Sequence[float], routes: Sequence[str], moves: str) -> None:
    """Raises ConfigError with every fault of the settings that are not options."""
    faults = []
    weights = [float(weight) for weight in plan]
    if not weights or not all(0 < weight <= 1 for weight in weights) or weights != sorted(set(weights)):
        faults.append(f"judge.plan: expected ascending shares above 0 and up to 1, got {list(plan)!r}.")
    if not (math.isfinite(tick_s) and tick_s > 0):
        faults.append(f"judge.tick_s: expected seconds above 0, got {tick_s!r}.")
    edges = [float(edge) for edge in bounds]
    if edges != sorted(set(edges)) or not all(edge > 0 and math.isfinite(edge) for edge in edges):
        faults.append(f"judge.histogram_bounds: expected ascending seconds above 0, got {list(bounds)!r}.")
    if not routes or isinstance(routes, str):
        faults.append(f'judge.routes: expected at least one name such as "GET /a", got {routes!r}.')
    if moves not in MOVES:
        faults.append(f'judge.moves: expected "requests", "jobs" or "both", got {moves!r}.')
    if faults:
        raise ConfigError(*faults)

"""
How often the judge is wrong, and how fast it is right: seeded rollouts on the days of golive.testing.traffic.

    python benchmarks/simulate_judge.py                                        # every bar; 1,000 rollouts a cell
    python benchmarks/simulate_judge.py --rollouts 50 --bars                   # the bars alone, coarsely
    python benchmarks/simulate_judge.py --days noisy_pod --rps 100 --pace fast # one cell, whatever settings

The judges are played a thousand at a time (golive.testing.judge_batch, held equal to the real one by its test). Ends
with the bars of the project, each with its figure; a missed one is exit code 1. Seeds are fixed: the same command
prints the same table. Settings were tuned on other seeds (900,000 and up).
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from golive.testing.traffic import PLAN, SLO, Day, Outcome, bad_days, healthy_days
from golive.testing.traffic_batch import ship_batch

RPS = (1.0, 10.0, 100.0, 1000.0)
PATIENT_S = 6 * 3600.0
"""At one request a second a regression of a hundredth takes hours to be seen by anybody."""
FIXED_PLAN_S = 50 * 60.0
"""Five stages of ten minutes: what a plan with fixed pauses takes to 100 %."""
TEN_TIMES = ("errors_0.1_to_1%", "errors_0.3_to_3%")


@dataclass(frozen=True)
class Cell:
    """Rollouts of one kind."""

    name: str
    rps: float
    rollouts: int
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)


def play(cell: Cell) -> list[Outcome]:
    """All rollouts of a cell."""
    if cell.name in healthy_days(1, 0):
        days = [healthy_days(cell.rps, cell.seed + k)[cell.name] for k in range(cell.rollouts)]
    else:
        days = [{**bad_days(cell.rps), **_bar_days(cell.rps)}[cell.name]] * cell.rollouts
    return ship_batch(days, SLO, cell.seed, **{"plan": PLAN, **cell.settings})


def _bar_days(rps: float) -> dict[str, Day]:
    """Regressions from the start that are just worse than the margin, for the calibration of confidence."""
    worse = {"margin": 0.0041, "margin_x2": 0.007, "margin_x4": 0.013}
    return {
        name: Day(name, False, rps, errors=lambda t, weight, rate=rate: rate)  # type: ignore[misc]
        for name, rate in worse.items()
    }


# ---------------------------------------------------------------------- what is printed


def shares(outcomes: Sequence[Outcome]) -> tuple[float, float, float]:
    """Percent taken back, live and open."""
    ends = [outcome.ending for outcome in outcomes]
    return tuple(100 * ends.count(end) / len(ends) for end in ("rolled_back", "live", "undecided"))  # type: ignore[return-value]


def confident(outcomes: Sequence[Outcome]) -> float:
    """Percent that ever reached a confidence of 95."""
    return 100 * sum(outcome.confident_at < math.inf for outcome in outcomes) / len(outcomes)


def median(values: Sequence[float]) -> float:
    """NaN for none."""
    return statistics.median(values) if values else math.nan


def p95(values: Sequence[float]) -> float:
    """The value that 95 % do not exceed."""
    return sorted(values)[min(math.ceil(0.95 * len(values)) - 1, len(values) - 1)] if values else math.nan


HEAD = "day                   rps  back%  live%  open%  back_s back95s  failed fail95  live_s  >=95%"


def line(cell: Cell, outcomes: Sequence[Outcome]) -> str:
    """One row of the table."""
    back = [outcome for outcome in outcomes if outcome.ending == "rolled_back"]
    live = [outcome.t for outcome in outcomes if outcome.ending == "live"]
    when, failed = [outcome.t for outcome in back], [outcome.failed for outcome in back]
    figures = [median(when), p95(when), median(failed), p95(failed), median(live)]
    return " ".join([
        f"{cell.name:18} {cell.rps:6g}", *(f"{share:6.1f}" for share in shares(outcomes)),
        *(f"{figure:7.0f}" if math.isfinite(figure) else "      -" for figure in figures),
        f"{confident(outcomes):6.1f}",
    ])  # fmt: skip


# ---------------------------------------------------------------------- the bars


@dataclass
class Bar:
    """One thing that must be true: its figure, and whether it holds."""

    what: str
    figure: float
    limit: float
    most: bool = True

    @property
    def holds(self) -> bool:
        """NaN holds nothing."""
        return self.figure <= self.limit if self.most else self.figure >= self.limit

    def __str__(self) -> str:
        sign = "<=" if self.most else ">="
        return f"{'ok    ' if self.holds else 'MISSED'} {self.what}: {self.figure:.4g} ({sign} {self.limit:g})"


Results = list[tuple[Cell, list[Outcome]]]


def table_cells(rollouts: int, seed: int, rps: Sequence[float]) -> list[Cell]:
    """Every healthy and every bad day at every rate; at one request a second regressions get six hours."""
    cells = [Cell(name, each, rollouts, seed) for name in healthy_days(1, 0) for each in rps]
    for name in bad_days(1):
        for each in rps:
            patient = {"horizon_s": PATIENT_S} if each <= 1 and name in (*TEN_TIMES, "latency_+50%") else {}
            cells.append(Cell(name, each, rollouts, seed, patient))
    return cells


def bar_cells(rollouts: int, seed: int) -> list[Cell]:
    """What the table does not hold: a stage of 10 % and the calibration of confidence."""
    ten = {"plan": (0.1, 0.5, 1.0), "horizon_s": 900.0}
    cells = [Cell("half_fails", 5.0, rollouts, seed, {**ten, "tick_s": tick}) for tick in (2.0, 5.0, 10.0)]
    cells += [Cell("errors_0.3_to_3%", 50.0, rollouts, seed, {**ten, "tick_s": tick}) for tick in (5.0, 10.0)]
    cells += [Cell("steady", 50.0, rollouts, seed)]
    return cells + [Cell(name, rps, rollouts, seed) for name in _bar_days(1) for rps in (10.0, 100.0, 1000.0)]


def table_bars(results: Results) -> list[Bar]:
    """False rollbacks and misses."""
    bars = []
    for cell, outcomes in results:
        where = f"{cell.name} at {cell.rps:g} rps"
        back, live, _ = shares(outcomes)
        if cell.name in healthy_days(1, 0):
            bars.append(Bar(f"% of healthy rollouts taken back, {where}", back, 1.0))
        elif cell.name in (*TEN_TIMES, "latency_+50%"):
            bars += [Bar(f"% caught, {where}", back, 99.0, most=False), Bar(f"% shipped, {where}", live, 1.0)]
    return bars


def special_bars(results: Results) -> list[Bar]:
    """Speed, harm and calibration."""
    bars = []
    for cell, outcomes in results:
        tick, when = cell.settings.get("tick_s", 10.0), [outcome.t for outcome in outcomes if outcome.ending != "live"]
        if cell.name == "half_fails":
            where = f"half fails at 5 rps and 10 %, tick {tick:g} s"
            failed = p95([outcome.failed for outcome in outcomes])
            bars += [Bar(f"median seconds, {where}", median(when), 12.0), Bar(f"p95 seconds, {where}", p95(when), 30.0),
                     Bar(f"p95 failed requests, {where}", failed, 10.0)]  # fmt: skip
        elif cell.name == "errors_0.3_to_3%":
            bars.append(
                Bar(f"median seconds, ten times the errors at 50 rps and 10 %, tick {tick:g} s", median(when), 45.0)
            )
        elif cell.name == "steady":
            live = [outcome.t for outcome in outcomes if outcome.ending == "live"]
            bars.append(
                Bar("times sooner than the fixed plan, healthy at 50 rps", FIXED_PLAN_S / median(live), 2.0, most=False)
            )
        else:
            bars.append(Bar(f"% that ever earn 95, {cell.name} at {cell.rps:g} rps", confident(outcomes), 5.0))
    return bars


def main() -> int:
    """Parse, run in processes, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=1000, help="a cell")
    parser.add_argument("--rps", type=float, nargs="+", default=list(RPS))
    parser.add_argument("--days", nargs="+", choices=[*healthy_days(1, 0), *bad_days(1)], help="these cells, no bars")
    parser.add_argument("--bars", action="store_true", help="only the cells of speed, harm and calibration")
    parser.add_argument("--pace", default="careful")
    parser.add_argument("--tick", type=float, default=10.0)
    parser.add_argument("--plan", type=float, nargs="+", default=list(PLAN))
    parser.add_argument("--history", type=float, default=600.0)
    parser.add_argument("--horizon", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    a = parser.parse_args()
    settings = {"pace": a.pace, "tick_s": a.tick, "plan": tuple(a.plan), "history_s": a.history, "horizon_s": a.horizon}
    began = time.perf_counter()
    with multiprocessing.Pool(a.processes) as pool:

        def table(cells: Sequence[Cell]) -> Results:
            print(HEAD)
            results = []
            for cell, outcomes in zip(cells, pool.imap(play, cells), strict=True):
                print(line(cell, outcomes), flush=True)
                results.append((cell, outcomes))
            return results

        if a.days:
            table([Cell(name, rps, a.rollouts, a.seed, settings) for name in a.days for rps in a.rps])
            bars = []
        else:
            bars = [] if a.bars else table_bars(table(table_cells(a.rollouts, a.seed, a.rps)))
            bars += special_bars(table(bar_cells(a.rollouts, a.seed)))
    for bar in bars:
        print(bar)
    missed = sum(not bar.holds for bar in bars)
    took = time.perf_counter() - began
    print(f"{len(bars) - missed} bars hold, {missed} missed; {a.rollouts} rollouts a cell; {took:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

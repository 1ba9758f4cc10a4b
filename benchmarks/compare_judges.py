"""
golive beside the rules of Argo Rollouts, Flagger and Kayenta, on the same seeded days of golive.testing.traffic.

    python benchmarks/compare_judges.py                                  # the table of docs/verdict.md
    python benchmarks/compare_judges.py --rollouts 200 --rps 5 50 500    # closer, slower

golive's rollouts are played together (golive.testing.judge_batch), the others' one by one: the same days with the same
things happening at the same time, but not the same dice. The others get their own steps with the same weights; their
limits are the targets of the same SLO table. Nothing of theirs is run: these are their rules
(golive.rollout.semantics), fed with the same counters.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from golive.rollout.semantics.argo import ArgoRules
from golive.rollout.semantics.flagger import FlaggerRules
from golive.rollout.semantics.kayenta import KayentaRules
from golive.testing.traffic import BOUNDS, PLAN, ROUTES, SLO, Day, Outcome, bad_days, healthy_days, ship
from golive.testing.traffic_batch import ship_batch

TICK_S = 10.0
HORIZON_S = 3600.0
ARGO = {"interval_s": 60.0, "initial_delay_s": 60.0, "count": 5, "conditions": "target"}

PACES = {"golive careful": "careful", "golive fast": "fast"}
RULES: dict[str, Callable[..., Any]] = {
    "argo failureLimit 0": lambda *table: ArgoRules(*table, **ARGO),
    "argo failureLimit 3": lambda *table: ArgoRules(*table, **ARGO, failure_limit=3),
    "flagger threshold 5": lambda *table: FlaggerRules(*table, threshold=5),
    "kayenta 10 min/stage": lambda *table: KayentaRules(*table, lifetime_s=600.0),
}


def run(job: tuple[str, str, float, int, int]) -> list[Outcome]:
    """All rollouts of one judge on one kind of day."""
    judge, name, rps, seed, rollouts = job
    days = [_day(name, rps, seed + k) for k in range(rollouts)]
    if judge in PACES:
        return ship_batch(days, SLO, seed, plan=PLAN, tick_s=TICK_S, horizon_s=HORIZON_S, pace=PACES[judge])
    return [
        ship(RULES[judge](PLAN, SLO, TICK_S, BOUNDS, ROUTES), day, seed + k, tick_s=TICK_S, horizon_s=HORIZON_S)
        for k, day in enumerate(days)
    ]


def _day(name: str, rps: float, seed: int) -> Day:
    return {**healthy_days(rps, seed), **bad_days(rps)}[name]


def line(judge: str, rps: float, healthy: Sequence[Outcome], bad: Sequence[Outcome]) -> str:
    """One row: what went wrong on healthy days, what was caught on bad ones."""
    caught = [each for each in bad if each.ending == "rolled_back"]
    live = [each.t for each in healthy if each.ending == "live"]
    figures = [
        f"{rps:g}",
        judge,
        _percent(sum(each.ending == "rolled_back" for each in healthy), len(healthy)),
        _percent(len(live), len(healthy)),
        f"{statistics.median(live) / 60:.0f} min" if live else "-",
        _percent(len(caught), len(bad)),
        _percent(sum(each.ending == "live" for each in bad), len(bad)),
        f"{statistics.median(each.t for each in caught):.0f} s" if caught else "-",
        f"{statistics.median(each.failed for each in bad):,.0f}" if bad else "-",
    ]
    return "| " + " | ".join(figures) + " |"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}%" if whole else "-"


HEAD = (
    "| rps | rules | healthy: taken back | healthy: live in 1 h | median time to 100% | bad: caught | bad: shipped "
    "| median detection | median failed requests |\n|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    """Parse, run in processes, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=20, help="seeds per day")
    parser.add_argument("--rps", type=float, nargs="+", default=[5, 100])
    parser.add_argument("--days", nargs="+", default=[*healthy_days(1, 0), *bad_days(1)])
    parser.add_argument("--judges", nargs="+", default=[*PACES, *RULES], choices=[*PACES, *RULES])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    a = parser.parse_args()
    began = time.perf_counter()
    healthy = [name for name in a.days if name in healthy_days(1, 0)]
    bad = [name for name in a.days if name in bad_days(1)]
    print(f"{len(healthy)} healthy and {len(bad)} bad days, {a.rollouts} seeds each, from seed {a.seed}\n\n{HEAD}")
    with multiprocessing.Pool(a.processes) as pool:
        for rps in a.rps:
            for judge in a.judges:
                ends = [
                    [each for found in pool.map(run, _jobs(judge, names, rps, a), chunksize=1) for each in found]
                    for names in (healthy, bad)
                ]
                print(line(judge, rps, *ends), flush=True)
    print(f"\n{time.perf_counter() - began:.0f} s")


def _jobs(judge: str, names: Sequence[str], rps: float, a: argparse.Namespace) -> list[tuple[object, ...]]:
    return [(judge, name, rps, a.seed, a.rollouts) for name in names]


if __name__ == "__main__":
    main()

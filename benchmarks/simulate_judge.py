"""
How often the judge is wrong, and how fast it is right: seeded rollouts on the days of golive.testing.traffic.

    python benchmarks/simulate_judge.py --rollouts 400 --rps 10 100 1000            # the whole table
    python benchmarks/simulate_judge.py --days noisy_pod --rps 100 --pace fast      # one cell
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import statistics
import time
from typing import Any

from golive.rollout.judge import Judge
from golive.testing.traffic import BOUNDS, PLAN, ROUTES, SLO, Outcome, bad_days, healthy_days, ship


def run(job: tuple[str, float, int, dict[str, Any]]) -> Outcome:
    """One rollout."""
    name, rps, seed, settings = job
    day = {**healthy_days(rps, seed), **bad_days(rps)}[name]
    plan, tick_s = settings.get("plan", PLAN), settings["tick_s"]
    judge = Judge(plan, SLO, tick_s, BOUNDS, ROUTES, pace=settings["pace"])
    return ship(
        judge, day, seed, plan=plan, tick_s=tick_s, history_s=settings["history_s"], horizon_s=settings["horizon_s"]
    )


def line(name: str, rps: float, outcomes: list[Outcome]) -> str:
    """One row of the table."""
    n = len(outcomes)
    back = [o for o in outcomes if o.ending == "rolled_back"]
    live = [o for o in outcomes if o.ending == "live"]
    confident = sum(o.confident_at < math.inf for o in outcomes)

    def middle(values: list[float]) -> str:
        return f"{statistics.median(values):7.0f}" if values else "      -"

    def p95(values: list[float]) -> str:
        return (
            f"{sorted(values)[min(math.ceil(0.95 * len(values)) - 1, len(values) - 1)]:7.0f}" if values else "      -"
        )

    shares = [100 * len(back) / n, 100 * len(live) / n, 100 * (n - len(back) - len(live)) / n]
    when, failed = [o.t for o in back], [o.failed for o in back]
    return " ".join([
        f"{name:18} {rps:6g}", *(f"{share:6.1f}" for share in shares),
        middle(when), p95(when), middle(failed), p95(failed), middle([o.t for o in live]),
        f"{100 * confident / n:6.1f}",
    ])  # fmt: skip


def main() -> None:
    """Parse, run in processes, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=200)
    parser.add_argument("--rps", type=float, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--days", nargs="+", default=[*healthy_days(1, 0), *bad_days(1)])
    parser.add_argument("--pace", default="careful")
    parser.add_argument("--tick", type=float, default=10.0)
    parser.add_argument("--plan", type=float, nargs="+", default=PLAN)
    parser.add_argument("--history", type=float, default=600.0)
    parser.add_argument("--horizon", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--reasons", action="store_true", help="print why the first rollouts were rolled back")
    a = parser.parse_args()
    settings = {"pace": a.pace, "tick_s": a.tick, "plan": tuple(a.plan), "history_s": a.history, "horizon_s": a.horizon}
    began = time.perf_counter()
    print(f"pace {a.pace}, plan {settings['plan']}, tick {a.tick:g} s, {a.rollouts} rollouts a line")
    print("day                   rps  back%  live%  open%  back_s back95s  failed fail95  live_s  >=95%")
    with multiprocessing.Pool(a.processes) as pool:
        for name in a.days:
            for rps in a.rps:
                jobs = [(name, rps, a.seed + k, settings) for k in range(a.rollouts)]
                outcomes = pool.map(run, jobs, chunksize=4)
                print(line(name, rps, outcomes), flush=True)
                if a.reasons:
                    for o in [o for o in outcomes if o.ending == "rolled_back"][:5]:
                        print(f"    t={o.t:g} stage={o.stage} {o.reason}")
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()

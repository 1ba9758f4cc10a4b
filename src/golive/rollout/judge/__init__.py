"""
The verdict on a canary: promote, hold or roll back, with a confidence that means something and the reason in words.

    judge = Judge(slo={"error_rate": {"target": "<= 1%", "alert_if": "> 2%"}}, routes=("GET /a",))
    decision = judge.observe(snapshot)      # every few seconds; cumulative counters, version 0 stable, 1 canary

Pure: no clock, no I/O, no randomness; the same snapshots give the same decisions, so a journal replays. The methods and
their sources are in docs/verdict.md.
"""

from golive.rollout.judge.decision import Action, Decision, RowVerdict
from golive.rollout.judge.judge import Judge
from golive.rollout.judge.options import PACES, Options

__all__ = ["PACES", "Action", "Decision", "Judge", "Options", "RowVerdict"]

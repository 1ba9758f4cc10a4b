"""A service that sleeps: nothing is asked of either version."""

from __future__ import annotations

from types import SimpleNamespace

from golive.rollout import Judge


def test_without_any_request_nothing_is_promoted() -> None:
    """No harm is possible where nobody is served, and still no data is never a pass: it holds, then asks a human."""
    judge = Judge(plan=(0.1, 0.5, 1.0), histogram_bounds=(0.1, 1.0), tick_s=10.0, dwell_s=10.0, bake_s=10.0)
    actions, asked = set(), False
    for tick in range(-50, 600):
        t = tick * 10.0
        snapshot = SimpleNamespace(
            t=t,
            stage=-1 if t < 0 else 0,
            weight=0.0 if t < 0 else 0.1,
            stage_age=max(t, 0.0),
            requests=[[min(50 + tick, 49)], [0]],
            errors=[[0], [0]],
            latency=[[min(50 + tick, 49), 0, 0], [0, 0, 0]],
        )
        decision = judge.observe(snapshot)
        actions.add(str(decision.action))
        asked = asked or decision.needs_human
    assert actions == {"hold"}
    assert asked

"""The bar of a rollback is 1/alpha: not less, and no later than when it is reached."""

from __future__ import annotations

import math

import pytest
from tests.judge.conftest import World, make_judge, with_history


@pytest.mark.parametrize("canary", [0.004, 0.008, 0.02])
def test_a_rollback_comes_with_evidence_of_one_over_alpha_and_never_with_less(world: World, canary: float) -> None:
    """Evidence is log10 of the odds; a bar three nats lower would be an alpha of one in five."""
    judge = make_judge()
    with_history(world, judge)
    held = []
    for _ in range(600):
        decision = judge.observe(world.step(rps=200.0, canary=canary))
        if decision.action == "rollback":
            break
        held.append(decision.evidence)
    assert decision.action == "rollback"
    assert decision.evidence >= 2.0
    assert max(held) < 2.0
    assert judge._regression.goal == pytest.approx(math.log(100))

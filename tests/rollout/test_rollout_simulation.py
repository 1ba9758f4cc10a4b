"""The controller in a world that fails: seeds, kills at every write, usurpers, people at bad moments."""

from __future__ import annotations

import os
from datetime import timedelta
from itertools import pairwise

import msgspec
import pytest

from golive.rollout.hooks import POINTS, Hook
from golive.rollout.machine import Phase
from golive.testing.simulator import Faults, Outcome, guarded_plan, random_faults, simulate, small_plan, with_hooks

SEEDS = int(os.environ.get("GOLIVE_SEEDS", "2000"))
CHUNK = 100
GUARDED_CHUNK = 25
"""Rollouts that wait for people and windows last days of virtual time, and so take longer to play."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_rollouts_with_faults_keep_every_promise(first: int) -> None:
    """Each seed is a rollout with its own misfortunes; the world raises, naming the seed, when a promise is broken."""
    ends = {simulate(seed, random_faults(seed)).state.phase for seed in range(first, first + CHUNK)}
    assert ends == {Phase.LIVE, Phase.ROLLED_BACK}, "a world in which everything ends the same tests nothing"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, max(SEEDS // 16, GUARDED_CHUNK), GUARDED_CHUNK))
def test_rollouts_with_approvals_and_freezes_keep_every_promise(first: int) -> None:
    """As above, with people who must agree and windows in which nothing may rise."""
    seeds = range(first, first + GUARDED_CHUNK)
    ends = {simulate(seed, random_faults(seed), guarded_plan(seed)).state.phase for seed in seeds}
    assert ends == {Phase.LIVE, Phase.ROLLED_BACK}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, max(SEEDS // 16, GUARDED_CHUNK), GUARDED_CHUNK))
def test_rollouts_with_hooks_keep_every_promise(first: int) -> None:
    """As above, with hooks that take long, fail, and are lost when the controller is killed."""
    ends = {
        simulate(seed, random_faults(seed), with_hooks(small_plan(), seed)).state.phase
        for seed in range(first, first + GUARDED_CHUNK)
    }
    assert ends == {Phase.LIVE, Phase.ROLLED_BACK}


def test_a_version_in_production_that_dies_as_the_rollout_ends_runs_again() -> None:
    """Nobody is told to look after it any more; the controller does. Here it dies while the last hook runs."""
    outcome = simulate(593, random_faults(593), with_hooks(small_plan(), 593))
    assert outcome.state.phase is Phase.ROLLED_BACK
    assert "v1" in outcome.ending.running


def test_a_kill_at_any_write_runs_no_hook_twice() -> None:
    """Every point has a hook; whichever write the controller is killed at, each runs once and the end is the same."""
    hooks = tuple(Hook(point, ("hook",), timedelta(seconds=60)) for point in POINTS)
    plan = msgspec.structs.replace(small_plan((10, 100)), hooks=hooks)
    undisturbed = simulate(1, Faults(), plan)
    assert undisturbed.state.phase is Phase.LIVE
    assert [call.name for call in undisturbed.state.hooks_over] == [
        "before_stage-1-1", "after_stage-1-1", "before_promote-2-1", "before_stage-2-1", "after_stage-2-1",
        "after_promote-2-1",
    ]  # fmt: skip
    for write in range(1, undisturbed.kills + 1):
        killed = simulate(1, Faults(kills=(write,)), plan)
        assert killed.state.phase is Phase.LIVE, f"killed at write {write}"
        assert killed.state.hooks_over == undisturbed.state.hooks_over, f"killed at write {write}"


def steps(outcome: Outcome) -> list[int]:
    """The weights the rollout went through, in order."""
    return [entry.weight for before, entry in pairwise(outcome.entries) if entry.weight != before.weight]


GOOD, BAD = Faults(), Faults(error_ratio=0.5)


@pytest.mark.parametrize(("faults", "end"), [(GOOD, Phase.LIVE), (BAD, Phase.ROLLED_BACK)], ids=["good", "bad"])
def test_f1_a_kill_at_any_write_changes_nothing(faults: Faults, end: Phase) -> None:
    """Killed before or after any single write, the controller's successor ends the rollout as if nothing had been."""
    undisturbed = simulate(1, faults)
    assert undisturbed.state.phase is end
    for write in range(1, undisturbed.kills + 1):
        killed = simulate(1, Faults(error_ratio=faults.error_ratio, kills=(write,)))
        assert killed.state.phase is end, f"killed at write {write}"
        assert (killed.state.weight, killed.state.split) == (undisturbed.state.weight, undisturbed.state.split)
        assert steps(killed) == steps(undisturbed), f"killed at write {write}: the same steps, each once"


def test_a_controller_killed_again_and_again_still_arrives() -> None:
    """Twenty kills in one rollout: slower, and the same end."""
    outcome = simulate(3, Faults(kills=tuple(range(3, 63, 3))))
    assert outcome.state.phase is Phase.LIVE


@pytest.mark.parametrize("at", range(5, 300, 20))
def test_a_second_controller_takes_over_and_the_first_changes_nothing_more(at: int) -> None:
    """A controller whose renewals get lost is fenced off at the journal and at the gateway."""
    assert simulate(at, Faults(usurper_at=float(at))).state.phase is Phase.LIVE


@pytest.mark.parametrize("at", [1, 5, 20, 45, 90, 150, 200, 300, 400])
def test_an_abort_empties_the_candidate_within_two_seconds(at: int) -> None:
    """From any state, with a gateway that works, an answered abort is on the wire at once."""
    outcome = simulate(at, Faults(people=((float(at), "abort"),)))
    assert outcome.state.phase is Phase.ROLLED_BACK
    assert outcome.abort_seconds is not None
    assert outcome.abort_seconds <= 2


def test_a_broken_release_is_gone_before_it_grows() -> None:
    """Half of the requests fail: taken back at the first stage, and few users noticed."""
    outcome = simulate(7, BAD)
    assert outcome.state.phase is Phase.ROLLED_BACK
    assert max(entry.weight for entry in outcome.entries) == 100
    assert outcome.failed_requests <= 10

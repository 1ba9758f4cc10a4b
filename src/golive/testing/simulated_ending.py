"""How a simulated rollout ended, and what of it must be the same whatever happened to its controllers."""

from __future__ import annotations

import itertools

import msgspec

from golive.rollout.hooks import HookCall
from golive.rollout.journal import Entry
from golive.rollout.machine import State
from golive.rollout.ports import Split
from golive.testing.simulated_world import SERVICE, World


class RolloutEnding(msgspec.Struct, frozen=True):
    """
    Of one rollout.

    Attributes:
        steps: the weights it wanted, one after the other.
        hooks: the calls that are over.
        people: how many agreed to, and let pass, which stage at last.
    """

    id: str
    stable: str
    candidate: str
    phase: str
    stage: int
    steps: tuple[int, ...]
    hooks: tuple[HookCall, ...]
    people: tuple[int, int]
    ended_by: str | None


class Ending(msgspec.Struct, frozen=True):
    """
    Of the world.

    Attributes:
        production: the version in production by the journal, and the one before it.
        known, running: versions the gateway knows, and those that run.
        hooks: the calls that were begun, over all lives of all controllers, and how they ended.
        answers: who asked for what, in order, and the exit code that was answered.
    """

    rollouts: tuple[RolloutEnding, ...]
    production: tuple[str, str | None]
    traffic: Split
    jobs: Split
    known: tuple[str, ...]
    running: tuple[str, ...]
    hooks: tuple[tuple[str, str], ...]
    answers: tuple[tuple[str, str, int], ...]


class Outcome(msgspec.Struct, frozen=True):
    """
    How one simulated rollout ended.

    Attributes:
        took: virtual seconds.
        points: where its controllers could have been killed, in order.
        abort_seconds: from the answered abort to weight 0 at the gateway, when somebody aborted in time.
        failed_requests: of the candidate, as far as users saw them.
    """

    state: State
    entries: list[Entry]
    took: float
    points: list[str]
    abort_seconds: float | None
    failed_requests: int
    ending: Ending

    @property
    def kills(self) -> int:
        """How many points there are."""
        return len(self.points)


def ending_of(world: World) -> Ending:
    """See :class:`Ending`."""
    service = world.journal.service(SERVICE)
    assert service is not None, "a rollout is of a service"
    asked = world.journal.connection.execute("select verb, actor, exit_code from inbox order by id").fetchall()
    return Ending(
        tuple(_of_rollout(world, state) for state in reversed(world.journal.rollouts(SERVICE))),
        (service.version, service.previous),
        world.split,
        world.claims.split,
        tuple(sorted(world.known)),
        tuple(sorted(version for version in world.alive if world.living(version))),
        tuple((f"{rollout} {name}", run.outcome.value) for (rollout, name), run in world.hooks.runs.items()),
        tuple(tuple(row) for row in asked),
    )


def _of_rollout(world: World, state: State) -> RolloutEnding:
    weights = [entry.weight for entry in world.journal.entries(state.id)]
    steps = tuple(weight for weight, _ in itertools.groupby(weights))
    people = (state.approved_stage, state.settled_stage)
    return RolloutEnding(
        state.id, state.stable, state.candidate, state.phase.value, state.stage, steps, state.hooks_over, people,
        state.ended_by,
    )  # fmt: skip

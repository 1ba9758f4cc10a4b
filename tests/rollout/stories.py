"""
Stories of rollouts, told so that they go the same way whatever becomes of the controller: people and fate act when the
journal says that something has happened, not at an hour. Each is played undisturbed once, and then disturbed at every
point: see test_rollout_kill_points.py.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from golive.rollout.hooks import POINTS, Hook
from golive.rollout.journal import Entry
from golive.rollout.plan import Plan, Stage
from golive.rollout.ports import Split
from golive.testing.simulated_world import NEW, OLD, SERVICE, Act, Faults, World
from golive.testing.simulator import small_plan

NEXT = "v3"
MINUTE = timedelta(minutes=1)


class Story(msgspec.Struct, frozen=True):
    """
    One story.

    Attributes:
        attempts: whether a hook may need one more attempt when the controller that waits for it is killed.
    """

    plan: Plan
    faults: Faults = Faults()
    script: tuple[Act, ...] = ()
    attempts: bool = False


def when(phase: str, stage: int | None = None, rollout: int = 1) -> Callable[[Entry], bool]:
    """The journal says that *rollout* is in *phase* (of *stage*)."""
    name = f"{SERVICE}-{rollout}"
    return lambda entry: entry.rollout == name and entry.phase == phase and stage in (None, entry.stage)


def paused(entry: Entry) -> bool:
    """The journal says that somebody paused."""
    return entry.reason.startswith("paused by")


def asks(verb: str, who: str = "grace", **body: Any) -> Callable[[World], object]:
    """Somebody asks for something."""
    return lambda world: world.journal.ask(SERVICE, who, verb, body, world.clock.now())


def ships(version: str, plan: Plan, **body: Any) -> Callable[[World], object]:
    """Somebody ships one more version."""
    return asks("ship", "ada", version=version, plan=msgspec.to_builtins(plan), at_once=True, **body)


def turns_bad(world: World) -> None:
    """From now on half of the candidate's requests fail."""
    world.faults = replace(world.faults, error_ratio=0.5)


def dies(version: str) -> Callable[[World], object]:
    """The process of *version* is gone."""
    return lambda world: world.alive.pop(version, None)


def moves(split: Split) -> Callable[[World], None]:
    """Somebody moves the traffic by hand."""

    def move(world: World) -> None:
        world.split = split

    return move


PLAN = small_plan((10, 50, 100), watch=timedelta(seconds=40))
SHORT = small_plan((10, 100), watch=timedelta(seconds=20))
BACK = replace(small_plan((100,), floor=timedelta(0), watch=timedelta(0), at_once=True), judged=False)
SLOW = Faults(slow=4.0)
_AT_9_01 = ("Mon 09:01 - Mon 09:03",)


def _guarded(plan: Plan, stage: int, needed: int = 1) -> Plan:
    stages = list(plan.stages)
    stages[stage] = replace(stages[stage], approval="owners", needed=needed)
    return replace(plan, stages=tuple(stages))


def _hooked(plan: Plan, **options: Any) -> Plan:
    return replace(plan, hooks=tuple(Hook(point, ("hook",), timedelta(minutes=1), **options) for point in POINTS))


def _abort(phase: str, stage: int | None = None, after: float = 0.0) -> Act:
    return Act(when(phase, stage), asks("abort"), after)


STORIES: dict[str, Story] = {
    "a good release": Story(PLAN),
    "a bad release": Story(PLAN, Faults(error_ratio=0.5)),
    "it turns bad at half of the traffic": Story(PLAN, script=(Act(when("soaking", 1), turns_bad),)),
    "it turns bad in the watch": Story(PLAN, script=(Act(when("watching"), turns_bad),)),
    "a gateway that refuses and confirms late": Story(PLAN, Faults(gateway=0.3)),
    "evidence that fails and begins anew": Story(PLAN, Faults(evidence=0.3)),
    "slow writes": Story(PLAN, SLOW),
    "two of a group approve": Story(
        _guarded(PLAN, 1, 2),
        script=(Act(when("waiting"), asks("approve"), 3), Act(when("waiting"), asks("approve", "mary"), 8)),
    ),
    "an approval is refused": Story(_guarded(PLAN, 1), script=(Act(when("waiting"), asks("reject"), 2),)),
    "an agreement expires": Story(
        replace(_guarded(SHORT, 1, 2), approval_expires=MINUTE),
        script=(
            Act(when("waiting"), asks("approve"), 3),
            Act(lambda entry: "not complete within" in entry.reason, asks("approve"), 3),
            Act(lambda entry: "1 of 2" in entry.reason, asks("approve", "mary"), 3),
        ),
    ),
    "paused and resumed": Story(
        PLAN, script=(Act(when("soaking", 0), asks("pause"), 1), Act(paused, asks("resume"), 60)),
    ),
    "undecided, and somebody decides": Story(
        replace(SHORT, stages=(Stage(1000, MINUTE, MINUTE), Stage(10_000, MINUTE, MINUTE))),
        Faults(evidence=1.0),
        script=(Act(when("waiting", 0), asks("approve"), 2), Act(when("waiting", 1), asks("approve"), 2)),
    ),
    "aborted before any traffic": Story(PLAN, script=(_abort("deploying"),)),
    "aborted while the weight moves": Story(PLAN, SLOW, (_abort("shifting", 1),)),
    "aborted as the weight moves": Story(PLAN, script=(_abort("shifting", 1),)),
    "aborted while it soaks": Story(PLAN, script=(_abort("soaking", 1),)),
    "aborted in a pause": Story(
        PLAN, script=(Act(when("soaking", 0), asks("pause"), 1), Act(paused, asks("abort"), 5)),
    ),
    "aborted while it waits": Story(_guarded(PLAN, 1), script=(_abort("waiting", after=2),)),
    "aborted in the watch": Story(PLAN, script=(_abort("watching", after=5),)),
    "aborted while it is promoted": Story(PLAN, SLOW, (_abort("promoting"),)),
    "aborted while the old version leaves": Story(PLAN, SLOW, (_abort("retiring"),)),
    "returned to the version before": Story(SHORT, script=(Act(when("live"), ships(OLD, BACK, known=True), 5),)),
    "rollback while the old version leaves": Story(
        SHORT, SLOW,
        script=(
            Act(when("live"), ships(NEXT, SHORT), 5),
            Act(when("retiring", rollout=2), ships(NEW, BACK, known=True, force=True)),
        ),
    ),
    "the next version ends the watch": Story(
        replace(SHORT, watch=timedelta(minutes=20)), script=(Act(when("watching"), ships(NEXT, SHORT), 5),),
    ),
    "superseded": Story(
        SHORT, script=(Act(when("soaking", 0), ships(NEXT, SHORT, when_busy="supersede"), 5),)
    ),
    "queued": Story(SHORT, script=(Act(when("soaking", 0), ships(NEXT, SHORT, when_busy="queue"), 5),)),
    "refused while busy": Story(SHORT, script=(Act(when("soaking", 0), ships(NEXT, SHORT), 5),)),
    "a freeze in the middle": Story(replace(PLAN, freeze=_AT_9_01)),
    "an override in a freeze": Story(
        SHORT,
        script=(Act(when("live"), ships(NEXT, replace(SHORT, freeze=("Mon 09:00 - Mon 12:00",)), override="hot"), 5),),
    ),
    "hooks at every point": Story(_hooked(SHORT)),
    "hooks, and it turns bad": Story(_hooked(PLAN), script=(Act(when("soaking", 1), turns_bad),)),
    "a hook is retried": Story(
        _hooked(SHORT),
        Faults(hook_fails=1.0),
        script=(
            Act(when("waiting"), lambda world: setattr(world, "faults", replace(world.faults, hook_fails=0.0)), 1),
            Act(when("waiting"), asks("retry"), 2),
        ),
    ),
    "a hook means rollback": Story(_hooked(SHORT, on_failure="rollback"), Faults(hook_fails=1.0)),
    "hooks that may run again are lost": Story(
        _hooked(SHORT, idempotent=True), Faults(hook_lost=1.0), attempts=True
    ),
    "the candidate never starts": Story(SHORT, Faults(candidate_starts=False)),
    "the candidate dies": Story(SHORT, script=(Act(when("soaking", 0), dies(NEW), 11),)),
    "stable dies while it soaks": Story(SHORT, script=(Act(when("soaking", 0), dies(OLD), 11),)),
    "stable dies, and it is aborted at once": Story(
        PLAN, script=(Act(when("soaking", 1), dies(OLD), 5), Act(when("soaking", 1), asks("abort"), 5)),
    ),
    "somebody raises the weight": Story(PLAN, script=(Act(when("soaking", 0), moves(Split(OLD, NEW, 9000)), 3),)),
    "somebody lowers the weight": Story(
        PLAN,
        script=(
            Act(when("soaking", 1), moves(Split(OLD, NEW, 100)), 3),
            Act(lambda entry: "by somebody else" in entry.reason, asks("resume"), 20),
        ),
    ),
    "jobs move too": Story(PLAN, Faults(jobs=True)),
    "jobs move too, and it turns bad": Story(
        PLAN, Faults(jobs=True), (Act(when("soaking", 1), turns_bad),)
    ),
    "jobs move too, aborted while the weight moves": Story(PLAN, Faults(jobs=True, slow=4.0), (_abort("shifting", 1),)),
}  # fmt: skip

"""
The simulator: the real machine, controller, desk and journal in a world that lies, fails and kills, from a seed.

One seed is one rollout with everything that happens to it. The world keeps the truth (which version lives, what the
gateway really does) and checks, at every write, what must hold whatever happens; :class:`Broken` names the seed that
repeats the failure. In virtual time a day passes in a blink.

Faults: the gateway refuses, confirms late, or does as told and loses the confirmation; the evidence fails, freezes or
starts again from zero; versions do not start, die, come back; people pause, approve and abort at bad moments; the
controller is killed before or after any write, and a second one takes over while the first still believes it leads.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from golive.errors import GoliveError, RefusedError, UnavailableError
from golive.rollout import events as ev
from golive.rollout.calendar import closed_until
from golive.rollout.desk import Desk
from golive.rollout.journal import Entry
from golive.rollout.machine import Phase, State, replay
from golive.rollout.plan import Plan, Stage, make_plan
from golive.rollout.ports import (
    FencedError,
)
from golive.rollout.session import JudgeMaker
from golive.testing.simulated_ending import Outcome as Outcome
from golive.testing.simulated_ending import ending_of
from golive.testing.simulated_hooks import examine_hooks
from golive.testing.simulated_hooks import with_hooks as with_hooks
from golive.testing.simulated_judge import SimpleJudge as SimpleJudge
from golive.testing.simulated_life import Incarnation, usurper
from golive.testing.simulated_world import NEW, OLD, SERVICE, Act, Killed, World
from golive.testing.simulated_world import Broken as Broken
from golive.testing.simulated_world import Faults as Faults
from golive.testing.virtual import run_virtual

HORIZON_SECONDS = 200_000.0
"""A rollout that has not ended by then never will; those that wait for people and windows take days."""
_AFTERWARDS_SECONDS = 30.0
"""A write that was still on its way when all was over has come by then."""


def simulate(
    seed: int,
    faults: Faults,
    plan: Plan | None = None,
    maker: JudgeMaker | None = None,
    *,
    scripts: Sequence[Sequence[Act]] | None = None,
    horizon_seconds: float = HORIZON_SECONDS,
) -> Outcome:
    """
    Play one rollout to its end; with *scripts* only what these tell of people and fate happens, in as many rollouts as
    they begin.

    Raises: Broken when an invariant does not hold.
    """

    async def play() -> Outcome:
        world = World(seed, faults)
        world.scripts = [list(script) for script in scripts or ()]
        people = _people(world, plan or small_plan(), told=scripts is not None)
        return await _simulate(world, people, maker or SimpleJudge.make, horizon_seconds)

    return run_virtual(play())


async def _simulate(
    world: World, interfering: Coroutine[Any, Any, None], maker: JudgeMaker, horizon_seconds: float
) -> Outcome:
    people = asyncio.create_task(interfering)
    lives = asyncio.create_task(_lives(world, maker))
    broke = asyncio.create_task(world.broke.wait())
    try:
        async with asyncio.timeout(horizon_seconds):
            await asyncio.wait((lives, broke), return_when=asyncio.FIRST_COMPLETED)
            if world.broken is None:
                lives.result()
                if world.faults.rivals:
                    await asyncio.sleep(_AFTERWARDS_SECONDS)
            if people.done() and world.broken is None:
                people.result()
    except TimeoutError:
        state = world.journal.active(SERVICE)
        world.fail(f"no end after {world.now():.0f} s: {state[0] if state else 'not even begun'}")
    finally:
        for task in (people, lives, broke):
            task.cancel()
        await asyncio.gather(people, lives, broke, return_exceptions=True)
    if world.broken is not None:
        raise world.broken
    return _examine(world)


async def _people(world: World, plan: Plan, *, told: bool) -> None:
    """Somebody ships, others interfere; when the story is *told* nobody does but those in it."""
    body = {"version": NEW, "plan": msgspec.to_builtins(plan), "at_once": True}
    await _ship(world, body, plan)
    if told:
        return
    for at, verb in sorted(world.faults.people):
        await asyncio.sleep(max(0.0, at - world.now()))
        number = world.journal.ask(SERVICE, "grace", verb, {}, world.clock.now())
        if verb == "abort":
            await _abort(world, number)
    guarded = plan.freeze or plan.window or plan.hooks or any(stage.approval for stage in plan.stages)
    while guarded and not world.over:
        await asyncio.sleep(world.random.uniform(20, 200))
        who, verb = (
            world.random.choice(("grace", "grace", "mary")),
            world.random.choice(
                ("approve", "approve", "resume", "retry") if plan.hooks else ("approve", "approve", "resume")
            ),
        )
        world.journal.ask(SERVICE, who, verb, {}, world.clock.now())


async def _ship(world: World, body: dict[str, Any], plan: Plan) -> None:
    """Ask; in a freeze, ask again until it is over."""
    while True:
        number = world.journal.ask(SERVICE, "ada", "ship", body, world.clock.now())
        if not (plan.freeze or plan.window):
            return
        while (answer := world.journal.answer_to(number)) is None:  # noqa: ASYNC110 - as the command line does it
            await asyncio.sleep(0.2)
        if "frozen until" not in answer[1]:
            return
        await asyncio.sleep(30)


async def _abort(world: World, number: int) -> None:
    world.abort_at = world.now()
    world.exposed_after_abort = None if world.exposure(world.split) else 0.0
    while (answer := world.journal.answer_to(number)) is None:  # noqa: ASYNC110 - as the command line does it
        await asyncio.sleep(0.2)
    if answer[0] != 0:
        world.abort_at = None


async def _lives(world: World, maker: JudgeMaker) -> None:
    """One controller after the other, until all is over; with a usurper or a rival, two at a time."""
    numbers = itertools.count(10)
    playing: set[asyncio.Task[None]] = set()

    def begin(life: Coroutine[Any, Any, None]) -> None:
        playing.add(asyncio.create_task(life))

    world.usurp = lambda life: begin(_live(usurper(life, next(numbers))))
    begin(_live(Incarnation(world, 0, maker)))
    if world.faults.usurper_at is not None:
        begin(_usurp(world, maker, world.faults.usurper_at))
    try:
        while playing or not world.over:
            if not playing:
                await asyncio.sleep(1)
                begin(_live(Incarnation(world, next(numbers), maker)))
            done, _ = await asyncio.wait(playing, return_when=asyncio.FIRST_COMPLETED)
            playing -= done
            for task in done:
                task.result()
    finally:
        for task in playing:
            task.cancel()


async def _usurp(world: World, maker: JudgeMaker, at: float) -> None:
    await asyncio.sleep(at + 1)
    await _live(Incarnation(world, 1, maker))


async def _live(life: Incarnation) -> None:
    """One life of a controller, to its death, its dethronement or the end of everything."""
    world = life.world
    body = asyncio.create_task(life.controller.run(OLD))
    desk = asyncio.create_task(Desk(life.controller).serve())
    death: asyncio.Task[Any] = asyncio.create_task(life.dead.wait())
    over = asyncio.create_task(_wait_over(world))
    try:
        await asyncio.wait([body, desk, death, over], return_when=asyncio.FIRST_COMPLETED)
        for task in (body, desk):
            if task.done() and not life.dead.is_set():
                _forgive(task)
    finally:
        for task in (body, desk, death, over):
            task.cancel()
        await asyncio.gather(body, desk, death, over, return_exceptions=True)


def _forgive(task: asyncio.Task[None]) -> None:
    """A controller may end because it was refused or fenced off; anything else is a bug."""
    try:
        task.result()
    except (Killed, asyncio.CancelledError):
        pass
    except GoliveError as error:
        if not isinstance(error, FencedError | RefusedError | UnavailableError):
            raise


async def _wait_over(world: World) -> None:
    while not world.over:  # noqa: ASYNC110 - the journal is what says so
        await asyncio.sleep(1)
    # What died in the last moment has its time: the controller lives on, and starts it again.
    patience = world.now() + _AFTERWARDS_SECONDS
    while not world.living(world.split.stable) and world.now() < patience:  # noqa: ASYNC110
        await asyncio.sleep(1)


def _examine(world: World) -> Outcome:
    """What must hold when it is over."""
    rollouts = world.journal.rollouts(SERVICE)
    for rollout in rollouts:
        _examine_record(world, rollout)
    state = rollouts[0]
    if world.split != state.split:
        world.fail(f"the rollout is {state.phase} and the gateway has {world.split}")
    if world.faults.jobs and world.claims.split != state.split:
        world.fail(f"the rollout is {state.phase} and the jobs are claimed by {world.claims.split}")
    if not world.living(state.split.stable):
        world.fail("all traffic is on a version that does not run")
    abort = world.exposed_after_abort if world.abort_at is not None else None
    if world.abort_at is not None and state.phase is Phase.ROLLED_BACK and abort is None:
        world.fail("aborted, and the weight never reached 0")
    entries = list(world.journal.entries(state.id))
    return Outcome(state, entries, world.now(), world.points, abort, world.counts[NEW][1], ending_of(world))


def _examine_record(world: World, state: State) -> None:
    entries = list(world.journal.entries(state.id))
    if replay(entry.event for entry in entries) != state:
        world.fail("the journal does not replay to the stored state")
    if faults := world.journal.verify(state.id):
        world.fail(f"the journal is not whole: {faults}")
    weights = [entry.weight for entry in entries]
    rising = [after for before, after in itertools.pairwise(weights) if after > before]
    if rising != sorted(set(rising)):
        world.fail(f"a step was taken twice or out of order: {weights}")
    _examine_rises(world, state, entries)
    examine_hooks(world, state, entries)


def _examine_rises(world: World, state: State, entries: list[Entry]) -> None:
    """No weight rose in a freeze, and none without as many different people as its stage needs."""
    agreed: list[ev.Approved] = []
    for before, entry in itertools.pairwise(entries):
        if isinstance(entry.event, ev.Approved):
            agreed.append(entry.event)
        if entry.weight <= before.weight:
            continue
        if not state.overridden and closed_until(state.plan.freeze, state.plan.window, entry.at) is not None:
            world.fail(f"the weight rose to {entry.weight} at {entry.at}, in a freeze")
        stage = state.plan.stages[entry.stage]
        people = {event.actor for event in agreed}
        if stage.approval is not None and len(people) < stage.needed:
            world.fail(f"the weight rose to {entry.weight} and only {sorted(people)} had agreed")
        agreed.clear()


def guarded_plan(seed: int) -> Plan:
    """A small plan with approvals and freezes, drawn from *seed*."""
    dice = random.Random(seed * 31 + 7)  # noqa: S311 - repeatable on purpose
    plan = small_plan()
    stages = [
        msgspec.structs.replace(stage, approval=dice.choice((None, "owners")), needed=dice.choice((1, 2)))
        for stage in plan.stages
    ]
    begin = dice.randrange(0, 20)
    return msgspec.structs.replace(
        plan,
        stages=tuple(stages),
        approval_expires=dice.choice((None, timedelta(seconds=300), timedelta(seconds=900))),
        freeze=dice.choice(((), (f"Mon 09:{begin:02} - Mon 09:{begin + dice.randrange(1, 30):02}",))),
        window=dice.choice(((), (f"Mon-Tue 09:{begin + 5:02} - 18:00",))),
    )


def small_plan(
    weights: Sequence[float] = (1, 10, 50, 100),
    *,
    floor: timedelta = timedelta(seconds=30),
    watch: timedelta = timedelta(seconds=60),
    **options: Any,
) -> Plan:
    """A plan that is over in some minutes of virtual time."""
    stages = [Stage(round(weight * 100), floor, floor * 40) for weight in weights]
    return make_plan(stages, watch=watch, **options)


def random_faults(seed: int) -> Faults:
    """A world's misfortunes, drawn from *seed*: most worlds have a few, some have none."""
    dice = random.Random(seed * 7919 + 1)  # noqa: S311 - repeatable on purpose

    def sometimes(chance: float, value: Any, otherwise: Any) -> Any:
        return value if dice.random() < chance else otherwise

    people = [(dice.uniform(5, 600), dice.choice(("pause", "resume", "approve", "approve"))) for _ in range(3)]
    people += [(700.0 + 50 * number, verb) for number, verb in enumerate(("resume", "approve", "resume"))]
    if dice.random() < 0.2:
        people.append((dice.uniform(1, 500), "abort"))
    return Faults(
        gateway=sometimes(0.4, dice.uniform(0, 0.4), 0.0),
        evidence=sometimes(0.4, dice.uniform(0, 0.4), 0.0),
        error_ratio=sometimes(0.3, dice.choice((0.1, 0.5, 1.0)), 0.002),
        candidate_starts=dice.random() > 0.05,
        candidate_dies_at=sometimes(0.15, dice.uniform(4, 400), None),
        stable_dies_at=sometimes(0.15, dice.uniform(4, 400), None),
        kills=tuple(sorted(dice.sample(range(1, 240), k=dice.choice((0, 0, 1, 2, 5))))),
        usurper_at=sometimes(0.15, dice.uniform(5, 300), None),
        people=tuple(people),
        hook_fails=dice.choice((0.0, 0.2)),
        hook_lost=dice.choice((0.0, 0.5)),
    )

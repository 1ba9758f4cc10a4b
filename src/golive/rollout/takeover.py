"""
What a controller that starts in the middle of a rollout looks at, and writes, before it goes on: the traffic as the
last one, or somebody since, left it.
"""

from __future__ import annotations

from contextlib import suppress

from golive.errors import GoliveError, StateError, UnavailableError
from golive.rollout import events as ev
from golive.rollout.drift import is_less
from golive.rollout.journal import Journal
from golive.rollout.machine import State
from golive.rollout.ports import Health, Split
from golive.rollout.work import World


async def refuse_to_forget(world: World, journal: Journal, service: str, first_version: str) -> None:
    """
    A journal that was lost is not a service that is new: whatever the gateway serves stays where it is.

    Raises: StateError when the gateway serves something else than *first_version*.
    """
    seen = await _seen(world)  # None: no gateway, or none that ever had a split, so that nobody is served by anything
    if seen is not None and seen.stable != first_version:
        raise StateError(
            f"{journal.connection.path}: expected the record of {service}, which the gateway serves as {seen}; "
            f"the journal has none. Restore it, or begin anew with `golive up --version {seen.stable}`. "
            "Traffic is untouched."
        )


async def candidate_is_down(world: World, state: State) -> bool:
    """Whether the candidate has to be started again first, and stable can take its traffic meanwhile."""
    if state.weight == 0 or state.candidate not in state.running or state.stable not in state.running:
        return False
    health = {version: (await world.deployer.condition(version)).health for version in state.running}
    return health[state.candidate] is not Health.READY and health[state.stable] is Health.READY


async def less_than(world: World, state: State) -> Split | None:
    """The traffic, when the candidate has less of it than *state* wants."""
    seen = await _seen(world)
    return seen if seen is not None and is_less(seen, state) else None


async def _seen(world: World) -> Split | None:
    try:
        return await world.router.observe()
    except GoliveError:
        return None


async def lower(world: World, state: State) -> None:
    """No traffic for the candidate; it gets its share back when it is ready."""
    with suppress(UnavailableError, ValueError):  # a gateway that does not know it sends nobody there
        await world.router.apply(Split(state.stable, state.candidate, 0), fence=world.fence())


async def restore_traffic(world: World, state: State) -> None:
    """
    A gateway that lost its memory, or that we lowered, gets the split the journal last agreed to, but a candidate that
    did not come back gets nothing: its probe is told already. Less than the split is somebody's decision, made while
    nobody controlled or before; it stays, and was told as a drift or will be.
    """
    with suppress(GoliveError, ValueError):  # of a version that could not be started the gateway knows nothing
        if state.paused_by == "golive":
            if await _seen(world) is None:  # how much somebody left to the candidate is lost; less is none
                await world.router.apply(Split(state.stable), fence=world.fence())
            return
        if state.lowered and (await world.deployer.condition(state.candidate)).health is not Health.READY:
            return
        seen = await world.router.observe()
        if seen is not None and is_less(seen, state) and not state.lowered:
            return
        if seen != state.split:
            await world.router.apply(state.split, fence=world.fence())
        if state.lowered:
            world.tell(ev.TrafficConfirmed(at=world.clock.now(), split=state.split))

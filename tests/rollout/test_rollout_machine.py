"""Properties of the machine: whatever happens, in whatever order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from golive.rollout import events as ev
from golive.rollout import hooking
from golive.rollout.commands import Shift
from golive.rollout.hooks import Hook, HookCall, HookOutcome
from golive.rollout.machine import FINAL, Phase, State, begin, decide, replay, wanted
from golive.rollout.plan import Stage, make_plan
from golive.rollout.ports import Split

T0 = datetime(2026, 1, 5, tzinfo=UTC)
PLAN = make_plan(
    [
        Stage(100, timedelta(minutes=5), timedelta(hours=1)),
        Stage(2500, timedelta(minutes=5), None, "eng-lead"),
        Stage(10_000, timedelta(0)),
    ],
    watch=timedelta(minutes=30),
)
PLAN = msgspec.structs.replace(PLAN, hooks=(Hook("before_stage", ("x",)), Hook("on_rollback", ("x",), idempotent=True)))
START = ev.Started(at=T0, id="web-1", service="web", stable="v1", candidate="v2", plan=PLAN)

SPLITS = [None, Split("v1"), Split("v2"), *(Split("v1", "v2", w) for w in (0, 100, 2500, 5000, 10_000))]
VERSIONS = ["v1", "v2", "v3"]
EVENTS: list[tuple[type, dict[str, list[Any]]]] = [
    (ev.ControllerStarted, {"holder": ["x"]}),
    (ev.Deployed, {"version": VERSIONS}),
    (ev.DeployFailed, {"version": VERSIONS, "reason": ["no"]}),
    (ev.TrafficConfirmed, {"split": SPLITS[1:]}),
    (ev.Drifted, {"split": SPLITS}),
    (
        ev.Verdict,
        {
            "stage": [-1, 0, 1, 2, 3],
            "action": ["promote", "hold", "rollback"],
            "confidence": [50.0],
            "reason": ["so"],
            "needs_human": [False, True],
        },
    ),
    (ev.Probed, {"version": VERSIONS[:2], "healthy": [False, True], "dead": [False, True]}),
    (ev.Removed, {"version": VERSIONS[:2]}),
    (
        ev.HookEnded,
        {
            "call": [HookCall("before_stage", stage) for stage in (0, 1)] + [HookCall("on_rollback", 0)],
            "outcome": list(HookOutcome),
            "said": ["so"],
        },
    ),
    (ev.Retried, {"actor": ["ada"]}),
    (ev.Ticked, {}),
    (ev.Approved, {"actor": ["ada", "grace"]}),
    (ev.Rejected, {"actor": ["ada"]}),
    (ev.Paused, {"actor": ["ada"]}),
    (ev.Resumed, {"actor": ["ada"]}),
    (ev.Aborted, {"actor": ["ada"]}),
    (ev.WatchEnded, {"actor": ["ada"]}),
]
PAUSES = [timedelta(0), timedelta(minutes=1), timedelta(minutes=6), timedelta(hours=2)]


def history(steps: list[tuple[bool, int, int, int]]) -> list[ev.AnyEvent]:
    """Any events in any order, at times that never go back; every other time what the state waits for happens."""
    at, events = T0, []
    state, _ = begin(START)
    for expected, pause, kind, choice in steps:
        at += PAUSES[pause]
        event = _awaited(state, at) if expected else _any(at, kind, choice)
        events.append(event)
        state, _ = decide(state, event)
    return events


def histories() -> st.SearchStrategy[list[ev.AnyEvent]]:
    """As small numbers, which hypothesis draws and shrinks quickly."""
    step = st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, len(EVENTS) - 1), st.integers(0, 59))
    return st.lists(step, max_size=40).map(history)


def _any(at: datetime, kind: int, choice: int) -> Any:
    event, fields = EVENTS[kind]
    values = {}
    for name, options in fields.items():
        choice, index = divmod(choice, len(options))
        values[name] = options[index]
    return event(at=at, **values)


def _awaited(state: State, at: datetime) -> Any:
    """What lets the rollout go on from here."""
    if state.hook is not None and hooking.running(state):
        return ev.HookEnded(at=at, call=state.hook, outcome=HookOutcome.OK, said="exited with 0")
    ahead = {
        Phase.DEPLOYING: ev.Deployed(at=at, version="v2"),
        Phase.SHIFTING: ev.TrafficConfirmed(at=at, split=state.split),
        Phase.SOAKING: ev.Verdict(at=at, stage=state.stage, action="promote", confidence=99, reason="fine"),
        Phase.WAITING: ev.Approved(at=at, actor="ada"),
        Phase.WATCHING: ev.Ticked(at=at),
        Phase.PROMOTING: ev.TrafficConfirmed(at=at, split=state.split),
        Phase.RETIRING: ev.Removed(at=at, version="v1"),
        Phase.ROLLING_BACK: ev.TrafficConfirmed(at=at, split=state.split),
        Phase.DRAINING: ev.Removed(at=at, version="v2"),
    }
    return ahead.get(state.phase, ev.Ticked(at=at))


@settings(max_examples=500, deadline=None)
@given(histories())
def test_the_weight_rises_only_step_by_step_and_never_against_a_reason(events: list[ev.AnyEvent]) -> None:
    """Into the next stage only; not in a pause, past an approval, or while a version is unwell."""
    state, _ = begin(START)
    for event in events:
        after, _ = decide(state, event)
        if after.weight > state.weight and after.phase is Phase.SHIFTING:
            assert after.stage == state.stage + 1
            assert after.weight == PLAN.stages[after.stage].weight
            assert after.paused_by is None
            assert after.stable_healthy
            assert after.candidate_alive
            assert PLAN.stages[after.stage].approval is None or after.approved_stage >= after.stage
            assert after.hook is None
            assert ("before_stage", after.stage) in [(call.point, call.stage) for call in after.hooks_over]
        if state.phase in (Phase.ROLLING_BACK, Phase.DRAINING):
            assert after.weight == 0
        state = after


@settings(max_examples=200, deadline=None)
@given(histories())
def test_an_abort_wins_from_every_state_that_is_not_over(events: list[ev.AnyEvent]) -> None:
    """Whatever came before: the wanted weight is 0 at once, and the way back is asked for."""
    state = replay([START, *events])
    after, commands = decide(state, ev.Aborted(at=T0 + timedelta(days=9), actor="grace"))
    if state.phase in FINAL:
        assert after == state
        return
    assert after.weight == 0
    assert after.phase in (Phase.ROLLING_BACK, Phase.DRAINING)
    if after.phase is Phase.ROLLING_BACK and state.phase is not Phase.ROLLING_BACK:
        assert commands
        assert commands == wanted(after)


@settings(max_examples=200, deadline=None)
@given(histories())
def test_the_same_history_leads_to_the_same_state_also_from_the_journal(events: list[ev.AnyEvent]) -> None:
    """Replay is exact, and everything survives being written as JSON and read."""
    state = replay([START, *events])
    again = [msgspec.json.decode(msgspec.json.encode(event), type=ev.AnyEvent) for event in [START, *events]]
    assert replay(again) == state
    assert msgspec.json.decode(msgspec.json.encode(state), type=State) == state


@settings(max_examples=200, deadline=None)
@given(histories())
def test_there_is_always_a_way_to_the_end(events: list[ev.AnyEvent]) -> None:
    """Abort, then everything asked for succeeds: it is over in a handful of steps."""
    at = T0 + timedelta(days=9)
    state = replay([START, *events])
    state, _ = decide(state, ev.Aborted(at=at, actor="grace"))
    for _ in range(4):
        for event in (
            ev.Deployed(at=at, version="v1"),
            ev.TrafficConfirmed(at=at, split=state.split),
            ev.Removed(at=at, version="v2"),
        ):
            state, _ = decide(state, event)
        while hooking.running(state):
            state, _ = decide(state, _awaited(state, at))
    assert state.phase in FINAL


def test_traffic_never_goes_back_onto_a_dead_stable_while_the_candidate_lives() -> None:
    """Stable is revived first; no shift is asked for until it is seen to be ready."""
    state = replay(
        [
            START,
            ev.Deployed(at=T0, version="v2"),
            ev.TrafficConfirmed(at=T0, split=Split("v1", "v2", 100)),
            ev.Probed(at=T0, version="v1", healthy=False, dead=True),
        ]
    )
    after, commands = decide(state, ev.Aborted(at=T0, actor="ada"))
    assert not [command for command in commands if isinstance(command, Shift)]
    _, commands = decide(after, ev.Deployed(at=T0, version="v1"))
    assert commands == (Shift(Split("v1")),)

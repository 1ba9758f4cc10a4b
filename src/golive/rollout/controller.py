"""
The controller: keeps the lease, feeds the machine, does what it asks, and survives being killed at any instruction.

    requests, probes, samples, results of work --events--> decide() --journal (durable)--> commands --> the world

One rule carries the safety: an event is recorded together with the state it leads to *before* anything that follows
from it is done. A controller that starts therefore reads the state, does what ``wanted(state)`` says, and is where the
dead one was. Work in progress is a set of tasks, one per wanted command; what is no longer wanted is cancelled in the
turn of the loop that records why, and has ended before anything else begins: an abort never waits behind a slow
deployment, and no write that was under way comes after it.

Left out: what people may ask (:mod:`golive.rollout.desk`), how commands are done (:mod:`golive.rollout.work`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from golive.errors import GoliveError, StateError
from golive.rollout import events as ev
from golive.rollout import takeover
from golive.rollout.commands import Command, Observe
from golive.rollout.drift import same_traffic
from golive.rollout.hooks import HookRunner
from golive.rollout.journal import Answer, Entry, Journal
from golive.rollout.lease import Lease
from golive.rollout.machine import Phase, State, begin, decide, replay, wanted
from golive.rollout.pace import Pace
from golive.rollout.ports import Condition, Deployer, Evidence, FencedError, Gatekeeper, Health, Router, Sample, Split
from golive.rollout.session import EVERY_ROUTE, JudgeMaker, Session
from golive.rollout.state import EXPOSED
from golive.rollout.work import World
from golive.timing import Clock

log = logging.getLogger("golive.rollout")

#: Phases in which a healthy candidate is judged, and in which foreign hands on the gateway are noticed.
_STEADY = frozenset({Phase.SOAKING, Phase.WAITING, Phase.WATCHING})


#: Events that say something to people and to `golive explain` even when the machine stays where it is.
_ALWAYS_RECORDED = (ev.Verdict, ev.Taught, ev.ControllerStarted, ev.TrafficUnconfirmed)

_STABLE_PROBES_MAX = 3
"""Bad probes in a row after which the version that carries everybody counts as unhealthy."""


class Controller:
    """
    Controls the rollouts of one service.

    Attributes:
        current: the version in production.
        state: the rollout in progress, None between rollouts.
        entries: called with every journal entry after it was written.
    """

    def __init__(
        self,
        service: str,
        *,
        journal: Journal,
        router: Router,
        evidence: Evidence,
        deployer: Deployer,
        judges: JudgeMaker,
        clock: Clock,
        pace: Pace | None = None,
        gatekeeper: Gatekeeper | None = None,
        lease: Lease | None = None,
        hooks: HookRunner | None = None,
        routes: tuple[str, ...] = (EVERY_ROUTE,),
    ) -> None:
        self.service = service
        self.journal = journal
        self.lease = lease or Lease(journal.connection, service)
        self.evidence = evidence
        self.judges = judges
        self.clock = clock
        self.pace = pace or Pace()
        self.routes = routes
        self.world = World(
            router, deployer, clock, self.pace,
            fence=lambda: self.lease.fence, tell=self.tell, gatekeeper=gatekeeper, hooks=hooks,
        )  # fmt: skip
        self.current = ""
        self.state: State | None = None
        self.session: Session | None = None
        self.entries: Callable[[Entry], None] = lambda _entry: None
        self.idle = asyncio.Event()
        self.ready = asyncio.Event()
        self._events: asyncio.Queue[ev.AnyEvent] = asyncio.Queue()
        self._work: dict[Command, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._history: deque[Sample] = deque(maxlen=self.pace.history)
        self._bad_probes: dict[str, int] = {}
        self._revivals: dict[str, asyncio.Task[None]] = {}
        self._returning: asyncio.Task[None] | None = None

    # ---- life

    async def run(self, first_version: str) -> None:
        """
        Control the service until cancelled. *first_version* is what it runs when it never ran under golive before.

        Raises: RefusedError when another controller has the lease; FencedError when one took it; UnavailableError when
        the version in production cannot be started and no rollout is in progress.
        """
        self.lease.acquire(self.clock.now())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_lease())
                await self._take_over(first_version)
                group.create_task(self._look_around(group))
                self.ready.set()
                await self._follow()
        except* GoliveError as errors:
            raise _first(errors) from None
        finally:
            await self._stop_working()
            with suppress(StateError):
                self.lease.release(self.clock.now())

    async def _take_over(self, first_version: str) -> None:
        """Learn where the last controller stopped and make the world match it."""
        await self._load(first_version)
        if self.state is None:
            arm = await self.world.bring_up(self.current)
            await self.world.router.apply(Split(arm.version), fence=self.lease.fence)
            self.idle.set()
            return
        await self._look_for_less(self.state)
        down = await takeover.candidate_is_down(self.world, self.state)
        if down:
            # What somebody else lowered is not ours to raise afterwards, although we lower it further.
            ours = self.state.lowered or await takeover.less_than(self.world, self.state) is None
            self._take_up(lowered=ours)
            await takeover.lower(self.world, self.state)
            self._returning = asyncio.create_task(self._bring_back(self.state.running))
            return
        await self._bring_back(self.state.running, self._take_up)

    async def _bring_back(self, versions: tuple[str, ...], then: Callable[[], None] = lambda: None) -> None:
        """Have *versions* running again, do what comes *then*, and give the candidate the share it had."""
        await asyncio.gather(*(self._revive_quietly(version) for version in versions))
        then()
        if self.state is not None and self.state.phase in _STEADY:
            await takeover.restore_traffic(self.world, self.state)

    async def _look_around(self, group: asyncio.TaskGroup) -> None:
        """Probe and sample from now on, or from when the candidate is back: until then nobody asks how it is."""
        returning = self._returning
        if returning is not None:
            await asyncio.wait([returning])
            self._returning = None
            if not returning.cancelled():
                returning.result()
            self.tell(ev.Ticked(at=self.clock.now()))  # wakes the loop, which begins what had to wait
        group.create_task(self._repeat(self.pace.probe.total_seconds(), self._probe_all))
        group.create_task(self._repeat(self.pace.tick.total_seconds(), self._sample))

    async def _load(self, first_version: str) -> None:
        known = self.journal.service(self.service)
        if known is None:
            await takeover.refuse_to_forget(self.world, self.journal, self.service, first_version)
            await self.world.deployer.prepare(first_version)
            self.journal.adopt(self.service, first_version, self.clock.now())
        self.current = known.version if known else first_version
        stored = self.journal.active(self.service)
        if stored is not None:
            self._refuse_an_altered_record(stored[0])
            self.state, judge = stored
            self.current = self.state.stable
            if judge is not None:
                self.session = Session.restore(
                    judge, self.state, self.judges, self._routes_of(self.state), self.evidence.bounds
                )

    def _refuse_an_altered_record(self, state: State) -> None:
        """Nothing is decided on a record that does not hold together."""
        fault = next(self.journal.faults(state.id), None)
        if fault is None and replay(entry.event for entry in self.journal.entries(state.id)) != state:
            fault = "the events do not lead to the stored state"
        if fault is not None:
            raise StateError(
                f"{self.journal.connection.path}: expected a whole record of rollout {state.id}, got: {fault}. "
                f"Restore the file, or move it aside and begin anew with `golive up --version {state.stable}`. "
                "Traffic is untouched."
            )

    def _take_up(self, *, lowered: bool = False) -> None:
        self._decide(ev.ControllerStarted(at=self.clock.now(), holder=str(self.lease.holder), lowered=lowered))

    async def _look_for_less(self, state: State) -> None:
        """
        What somebody lowered while nobody controlled is told before anything else: with the time that has passed the
        next stage may be due, and nothing rises onto somebody's decision.
        """
        seen = await takeover.less_than(self.world, state)
        if seen is not None and state.phase in _STEADY and not state.lowered:
            self._decide(ev.Drifted(at=self.clock.now(), split=seen))

    async def _revive_quietly(self, version: str) -> None:
        try:
            await self.world.bring_up(version)
        except FencedError:
            raise
        except GoliveError as error:
            log.warning("%s could not be brought up: %s", version, error)
            self.tell(ev.Probed(at=self.clock.now(), version=version, healthy=False, dead=True, reason=str(error)))

    async def _keep_lease(self) -> None:
        while True:
            await self.clock.sleep(self.pace.renew.total_seconds())
            self.lease.renew(self.clock.now())

    async def _repeat(self, pause: float, look: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            await self.clock.sleep(pause)
            await look()

    # ---- the loop

    def tell(self, event: ev.AnyEvent) -> None:
        """Put *event* before the machine, after those already waiting."""
        self._events.put_nowait(event)

    def start(self, event: ev.Started, answer: Answer) -> None:
        """
        Begin a rollout now. It, and the *answer* to whoever asked for it, are one record.

        Raises: AssertionError when one is in progress, the caller has looked; WithdrawnError, FencedError.
        """
        assert self.state is None, "one rollout at a time"
        self._enter(event, begin(event)[0], answer)
        self.tell(ev.Ticked(at=event.at))  # wakes the loop, which begins the work

    def obey(self, event: ev.AnyEvent, answer: Answer) -> None:
        """
        Do now what somebody asked for. What follows from it and the *answer* are one record: whoever was told that it
        is done may rely on it, and a controller that dies before has done nothing.

        Raises: WithdrawnError, FencedError.
        """
        self._decide(event, answer)
        self.tell(ev.Ticked(at=event.at))

    async def _follow(self) -> None:
        if self.state is not None:
            await self._match_work()
        while True:
            event = await self._events.get()
            self._decide(event)
            await self._match_work()

    def _decide(self, event: ev.AnyEvent, answer: Answer | None = None) -> None:
        """One step of the machine; recorded when it says anything new."""
        if self.state is None:
            return
        after, _ = decide(self.state, event)
        if after != self.state or isinstance(event, _ALWAYS_RECORDED):
            self._enter(event, after, answer)
        elif answer is not None:
            self.answer(answer)

    def answer(self, answer: Answer) -> None:
        """
        Settle a request that changes nothing.

        Raises: WithdrawnError, FencedError.
        """
        self.journal.answer(answer, self.clock.now(), service=self.service, fence=self.lease.fence)

    def _enter(self, event: ev.AnyEvent, after: State, answer: Answer | None = None) -> None:
        session = self.session.to_dict() if self.session else None
        entry = self.journal.append(event, after, session, fence=self.lease.fence, answer=answer)
        self.state = after
        self.idle.clear()
        self.entries(entry)
        if after.final:
            self._close(after)
        self._drop_unwanted()

    def _close(self, state: State) -> None:
        self.current = state.split.stable
        self.state = None
        self.session = None
        self._bad_probes.clear()
        self.idle.set()

    # ---- work

    async def _match_work(self) -> None:
        """Wait for the end of what is no longer wanted, then begin what is."""
        while self._leaving:
            await asyncio.wait(self._leaving)
            self._leaving = {task for task in self._leaving if not task.done()}
        state = self.state
        if self._returning is not None:
            return  # the candidate is started again; nothing is begun for it meanwhile, and the way back ends that
        for command in wanted(state) if state else ():
            if command not in self._work and state is not None:
                if isinstance(command, Observe):
                    self._open_session(state)
                self._work[command] = asyncio.create_task(self._do(command, state))

    def _drop_unwanted(self) -> None:
        """
        Cancel what is no longer wanted, in the same breath as the record that says so: a write that raises the weight
        must not slip through between an abort and the next turn of the loop.
        """
        commands = wanted(self.state) if self.state else ()
        for command in [command for command in self._work if command not in commands]:
            task = self._work.pop(command)
            task.cancel()
            self._leaving.add(task)
        if self._returning is not None and (self.state is None or self.state.phase not in EXPOSED):
            self._returning.cancel()
            self._leaving.add(self._returning)
            self._returning = None

    async def _do(self, command: Command, state: State) -> None:
        try:
            await self.world.perform(command, state)
        except FencedError:
            log.warning("lost the lease while trying to %s", command)
        except (GoliveError, OSError) as error:
            log.exception("could not %s: %s", command, error)

    async def _stop_working(self) -> None:
        tasks = {*self._work.values(), *self._leaving, *self._revivals.values()}
        tasks |= {self._returning} if self._returning is not None else set()
        self._work.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._revivals.clear()

    # ---- evidence

    def _open_session(self, state: State) -> None:
        if self.session is None and state.stage >= 0:
            bounds = self.evidence.bounds
            self.session = Session(self.judges(state, None), state.entered_at, self._routes_of(state), bounds)
            self.session.teach(state, self._history)
            self._decide(ev.Taught(at=self.clock.now(), session=self.session.to_dict()))

    def _routes_of(self, state: State) -> tuple[str, ...]:
        """The routes the rollout's judge tells apart: those of the table it was started with."""
        return tuple(state.judging.get("routes", self.routes))

    async def _sample(self) -> None:
        """One tick: read the counters, judge them, and notice whether the traffic is still what we made it."""
        try:
            sample = await self.evidence.sample()
        except GoliveError as error:
            self._hold(f"no evidence: {error}")
            return
        state = self.state
        if state is None or state.stage < 0:
            self._history.append(sample)
        elif state.phase in _STEADY and self.session is not None:
            self._look(state, self.session, sample)
        await self._notice_drift()

    def _look(self, state: State, session: Session, sample: Sample) -> None:
        if missing := session.missing(state, sample):
            self._hold(missing)
        elif session.fits(state, sample):
            # Recorded at once: the judge has moved on with this sample, and its stored state must never be ahead of
            # the journal if we die before the queue is served.
            self._decide(session.look(state, sample))
            self.tell(ev.Ticked(at=self.clock.now()))  # the loop then begins what follows from it
        else:
            self._hold("the evidence changed between clients and requests; judging begins anew")
            self.session = None
            self._history.clear()
            self._open_session(state)

    def _hold(self, why: str) -> None:
        if self.state is not None and self.state.phase in _STEADY:
            self.tell(ev.Verdict(at=self.clock.now(), stage=self.state.stage, action="hold", confidence=0, reason=why))

    async def _notice_drift(self) -> None:
        state = self.state
        if state is None or state.phase not in _STEADY:
            return
        try:
            seen = await self.world.router.observe()
        except GoliveError:
            return
        if seen is not None and state is self.state and not same_traffic(seen, state.split):
            self.tell(ev.Drifted(at=self.clock.now(), split=seen))

    # ---- health

    async def _probe_all(self) -> None:
        versions = self.state.running if self.state else (self.current,)
        conditions = await asyncio.gather(*(self.world.deployer.condition(version) for version in versions))
        for version, condition in zip(versions, conditions, strict=True):
            self._judge_health(version, condition)

    def _judge_health(self, version: str, condition: Condition) -> None:
        healthy = condition.health is Health.READY
        before = self._bad_probes.get(version)  # None: this controller has not looked yet, whatever the last one saw
        bad = self._bad_probes[version] = 0 if healthy else (before or 0) + 1
        dead = condition.health is Health.DEAD
        if not healthy or before != 0:
            if version == self._kept() and not healthy and not dead and bad < _STABLE_PROBES_MAX:
                return  # one slow answer of the version that carries everybody says nothing
            self.tell(
                ev.Probed(at=self.clock.now(), version=version, healthy=healthy, dead=dead, reason=condition.reason)
            )
        if dead and version == self._kept():
            self._revive(version)

    def _kept(self) -> str:
        """The version that is kept alive whatever happens: it has, or takes back, all the traffic."""
        if self.state is None:
            return self.current
        if self.state.phase in (Phase.PROMOTING, Phase.RETIRING):
            return self.state.candidate
        return self.state.stable

    def _revive(self, version: str) -> None:
        """Start a dead version again, unless that is already being done."""
        busy = self._revivals.get(version)
        if busy is None or busy.done():
            log.warning("%s died; starting it again", version)
            self._revivals[version] = asyncio.create_task(self._revive_quietly(version))


def _first(errors: BaseExceptionGroup[GoliveError]) -> GoliveError:
    """The first of several errors that ended the controller; they have one cause."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, GoliveError)
    return error

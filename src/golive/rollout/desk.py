"""
The desk: what people may ask of the controller, and the answer they get.

Requests come through the journal's inbox, so that they outlive both sides. Every answer is a sentence and an exit code,
recorded in one step with what follows from it; a refused request changes nothing. The desk checks who may do what; the
machine only learns of what was allowed.

To make a release takes its time. One is made after the other, in a task of their own, and nothing else waits for them:
an abort is answered at the next look, whatever is being prepared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from golive.errors import ExitCode, GoliveError, RefusedError, UsageError
from golive.rollout import events as ev
from golive.rollout.calendar import closed_until, parse_window
from golive.rollout.controller import Controller
from golive.rollout.hooks import check_hooks
from golive.rollout.journal import Answer, Request, WithdrawnError
from golive.rollout.machine import Phase, State, WaitingFor, decide
from golive.rollout.plan import Plan, make_plan, preset
from golive.rollout.ports import FencedError
from golive.rollout.quarantine import LOOK_BACK, quarantined_by
from golive.timing import format_instant

Asked = tuple[ev.AnyEvent, str]
"""What somebody wants to happen, and the sentence that says it did."""
Verb = Callable[["Desk", Request], Asked]

_GOING_BACK = (Phase.ROLLING_BACK, Phase.DRAINING)
_LEAVING = (Phase.PROMOTING, Phase.RETIRING)


class Approvals(msgspec.Struct, frozen=True):
    """
    Who may approve what.

    Attributes:
        groups: group -> people. A group that is not listed can be answered by anybody.
        prevent_self_review: whether whoever started a rollout may not approve it.
    """

    groups: dict[str, tuple[str, ...]] = {}
    prevent_self_review: bool = False


class Desk:
    """Answers the requests for one controller."""

    def __init__(self, controller: Controller, approvals: Approvals | None = None) -> None:
        self.controller = controller
        self.approvals = approvals or Approvals()

    async def serve(self) -> None:
        """Look for requests until cancelled."""
        await self.controller.ready.wait()
        shipping: asyncio.Task[None] | None = None
        try:
            while True:
                requests = self.controller.journal.requests(self.controller.service)
                if shipping is not None and shipping.done():
                    shipping.result()
                    shipping = None
                ships = [request for request in requests if request.verb == "ship"]
                if ships and shipping is None:
                    shipping = asyncio.create_task(self._answer_ships(ships))
                    await asyncio.sleep(0)  # one that waits for nothing begins before what was asked after it
                self._answer_people(request for request in requests if request.verb != "ship")
                await self.controller.clock.sleep(self.controller.pace.inbox.total_seconds())
        finally:
            if shipping is not None:
                shipping.cancel()
                await asyncio.gather(shipping, return_exceptions=True)

    async def _answer_ships(self, requests: Iterable[Request]) -> None:
        """In the order in which they came, one at a time."""
        for request in requests:
            with self._answering(request):
                await self._ship(_readable(request))

    def _answer_people(self, requests: Iterable[Request]) -> None:
        """Do what is asked and say so, in one record; or say why not. Waits for nothing."""
        for request in requests:
            with self._answering(request):
                if request.verb == "abort" and self._call_off(_readable(request)):
                    continue
                event, text = self._asked(_readable(request))
                self.controller.obey(event, Answer(request.id, ExitCode.OK, text))

    def _call_off(self, abort: Request) -> bool:
        """
        Refuse every ship that is still being made, when no rollout is in progress that *abort* could mean. Returns
        whether there was one.
        """
        if self.controller.state is not None or abort.body.get("rollout"):
            return False
        inbox = self.controller.journal.requests(self.controller.service)
        ships = [request for request in inbox if request.verb == "ship"]
        for ship in ships:
            with suppress(WithdrawnError):
                text = f"{_version(ship)}: {abort.actor} called it off before it began. {self._traffic()}"
                self.controller.answer(Answer(ship.id, ExitCode.REFUSED, text))
        if ships:
            text = f"{', '.join(map(_version, ships))}: called off before it began. {self._traffic()}"
            self.controller.answer(Answer(abort.id, ExitCode.OK, text))
        return bool(ships)

    @contextmanager
    def _answering(self, request: Request) -> Iterator[None]:
        """Whoever does not get what was asked for is told why."""
        with suppress(WithdrawnError):
            try:
                yield
            except (FencedError, WithdrawnError):
                raise
            except GoliveError as error:
                self.controller.answer(Answer(request.id, error.exit_code, str(error)))

    def _asked(self, request: Request) -> Asked:
        verb = _VERBS.get(request.verb)
        if verb is None:
            raise UsageError(
                f'unknown request "{request.verb}". The command line and the controller differ in version.'
            )
        return verb(self, request)

    # ---- ship

    async def _ship(self, request: Request) -> None:
        """Left unanswered, and so looked at again, while it has to wait for the end of another rollout."""
        version = _version(request)
        if self.controller.state is not None:
            await self._make_room(request, version)
            return
        plan, judging = await self._be_certain(request, version)
        identifier = self.controller.journal.next_id(self.controller.service)
        self.controller.start(
            ev.Started(
                at=self.controller.clock.now(),
                id=identifier,
                service=self.controller.service,
                stable=self.controller.current,
                candidate=version,
                plan=plan,
                actor=request.actor,
                note=str(request.body.get("note", "")),
                judging=judging,
                override=str(request.body.get("override", "")),
                config_sha256=str(request.body.get("config_sha256", "")),
            ),
            Answer(request.id, ExitCode.OK, identifier),
        )

    def _refuse_in_a_freeze(self, plan: Plan, version: str, override: str) -> None:
        """The return to a version that served before is never frozen."""
        until = closed_until(plan.freeze, plan.window, self._now()) if plan.judged and not override else None
        if until is not None:
            raise RefusedError(
                f"{version}: releases are frozen until {format_instant(until)}; nothing was started. Ship then, or "
                'say why it cannot wait: --override "...".'
            )

    async def _make_room(self, request: Request, version: str) -> None:
        state = self.controller.state
        assert state is not None
        if state.phase in _LEAVING and version != state.candidate:
            return  # whoever comes after it waits until the old version has left; also somebody who wants that one back
        when_busy = request.body.get("when_busy")
        if state.phase is Phase.WATCHING and version not in (state.candidate, state.stable):
            await self._end_watch(request, version, state)
            return
        if when_busy == "queue" and version != state.candidate:
            return  # looked at again until the rollout is over
        if when_busy == "supersede" and version != state.candidate:
            await self._supersede(request, version, state)
            return
        raise RefusedError(
            f"rollout {state.id}: {state.candidate} is {_where(state)} and one rollout runs at a time. "
            "Wait for it, or take it back with `golive abort`."
        )

    async def _end_watch(self, request: Request, version: str, state: State) -> None:
        """
        The watch makes room for the next version, once it is certain that it can be shipped; the request waits for the
        old one to leave. That it was this request which ended the watch need not be remembered: whoever comes after the
        watch waits as well, also when the controller is another one by then. A watch that is paused stays.
        """
        if state.paused_by is not None:
            if request.body.get("when_busy") == "queue":
                return
            raise RefusedError(
                f"rollout {state.id}: its watch of {state.candidate} was paused by {state.paused_by}. `golive resume` "
                "first, or take it back with `golive abort`."
            )
        await self._be_certain(request, version)
        if self._is_still(request, state):
            self.controller.tell(ev.WatchEnded(at=self._now(), actor=request.actor))

    async def _be_certain(self, request: Request, version: str) -> tuple[Plan, dict[str, Any]]:
        """
        What *version* is shipped with: its plan, and how it is judged. Takes its time: the rollout in progress may be
        another one afterwards, and whoever asked may be gone.

        Raises: GoliveError when *version* cannot be shipped; nothing is given up for it then.
        """
        plan, judging = _plan(request.body), _judging(request.body)
        self._refuse_version(version, force=bool(request.body.get("force")))
        self._refuse_in_a_freeze(plan, version, str(request.body.get("override", "")))
        if not request.body.get("known"):  # a rollback goes to a release that was made before
            await self.controller.world.deployer.prepare(version)
        return plan, judging

    async def _supersede(self, request: Request, version: str, state: State) -> None:
        """Take the running version back, once it is certain that the new one can be shipped. That is no quarantine."""
        if state.phase in _GOING_BACK:
            return
        await self._be_certain(request, version)
        if self._is_still(request, state):
            why = f"superseded by {version}"
            self.controller.tell(ev.Aborted(at=self._now(), actor=request.actor, reason=why, superseded_by=version))

    def _is_still(self, request: Request, state: State) -> bool:
        """
        Whether all is as it was before the release was made: the same rollout in the same phase, not paused since,
        and the *request* not withdrawn. When something changed, nothing is done until the next look at the request.
        """
        now = self.controller.state
        if now is None or (now.id, now.phase, now.paused_by) != (state.id, state.phase, state.paused_by):
            return False
        return any(request.id == each.id for each in self.controller.journal.requests(self.controller.service))

    def _refuse_version(self, version: str, *, force: bool) -> None:
        if version == self.controller.current:
            raise RefusedError(f"{version} is already in production. {self._traffic()}")
        if force:
            return
        rollouts = self.controller.journal.rollouts(self.controller.service, limit=LOOK_BACK)
        state = quarantined_by(rollouts, version)
        if state is not None:
            who = "took it back" if state.candidate == version else f"of {state.actor} returned from it"
            raise RefusedError(
                f"{version} is in quarantine: rollout {state.id} {who} ({state.reason}). "
                "Ship a new version, or say --force."
            )

    # ---- everything else

    def _approve(self, request: Request) -> Asked:
        state = self._waiting(request)
        self._may_answer(state, request.actor)
        comment = str(request.body.get("comment", ""))
        approved = ev.Approved(at=self._now(), actor=request.actor, comment=comment)
        after, _ = decide(state, approved)
        if after.phase is Phase.WAITING and len(after.agreed) <= len(state.agreed) and request.actor in state.agreed:
            raise RefusedError(f"rollout {state.id}: {request.actor} has approved already; somebody else must agree.")
        still = f"; {after.reason}" if after.phase is Phase.WAITING else ""
        return approved, f"rollout {state.id}: approved by {request.actor}{still}"

    def _reject(self, request: Request) -> Asked:
        state = self._waiting(request)
        self._may_answer(state, request.actor)
        comment = str(request.body.get("comment", ""))
        event = ev.Rejected(at=self._now(), actor=request.actor, comment=comment)
        return event, f"rollout {state.id}: rejected by {request.actor}; traffic goes back to {state.stable}"

    def _retry(self, request: Request) -> Asked:
        state = self._waiting(request)
        if state.waiting_for is not WaitingFor.HOOK or state.hook is None:
            raise RefusedError(f"rollout {state.id}: no hook is asked about; it is {_where(state)}.")
        comment = str(request.body.get("comment", ""))
        event = ev.Retried(at=self._now(), actor=request.actor, comment=comment)
        return event, f"rollout {state.id}: the hook {state.hook.point} runs once more"

    def _pause(self, request: Request) -> Asked:
        state = self._active(request)
        if state.phase in (*_GOING_BACK, *_LEAVING):
            raise RefusedError(f"rollout {state.id}: it is {_where(state)}, which cannot be paused.")
        comment = str(request.body.get("comment", ""))
        event = ev.Paused(at=self._now(), actor=request.actor, comment=comment)
        return event, f"rollout {state.id}: paused; traffic stays {state.split}"

    def _resume(self, request: Request) -> Asked:
        state = self._active(request)
        if state.paused_by is None:
            raise RefusedError(f"rollout {state.id}: it is not paused; it is {_where(state)}.")
        event = ev.Resumed(at=self._now(), actor=request.actor)
        return event, f"rollout {state.id}: resumed"

    def _abort(self, request: Request) -> Asked:
        state = self._active(request)
        reason = str(request.body.get("reason", ""))
        event = ev.Aborted(at=self._now(), actor=request.actor, reason=reason)
        return event, f"rollout {state.id}: taking all traffic back to {state.stable}"

    # ---- helpers

    def _now(self) -> Any:
        return self.controller.clock.now()

    def _traffic(self) -> str:
        """While no rollout is in progress."""
        return f"Traffic is {self.controller.current}=100."

    def _active(self, request: Request) -> State:
        """The rollout in progress, which must be the one that whoever asks has seen."""
        state, meant = self.controller.state, request.body.get("rollout")
        if state is None:
            raise RefusedError(f"no rollout is in progress. {self._traffic()}")
        if meant and meant != state.id:
            raise RefusedError(
                f"rollout {meant}: it is not in progress; {state.id} is: {state.candidate} is {_where(state)}. "
                "Nothing was done."
            )
        return state

    def _waiting(self, request: Request) -> State:
        state = self._active(request)
        if state.phase is not Phase.WAITING:
            raise RefusedError(f"rollout {state.id}: it waits for nobody; it is {_where(state)}.")
        return state

    def _may_answer(self, state: State, actor: str) -> None:
        if self.approvals.prevent_self_review and actor == state.actor:
            raise RefusedError(f"rollout {state.id}: {actor} started it and may not approve it (prevent_self_review).")
        if state.waiting_for is not WaitingFor.APPROVAL:
            return
        group = state.plan.stages[state.stage + 1].approval or ""
        people = self.approvals.groups.get(group)
        if people is not None and actor not in people:
            whom = ", ".join(people) or "nobody: it is empty"
            raise RefusedError(f"rollout {state.id}: {actor} is not in the group {group}. Ask {whom}.")


_VERBS: dict[str, Verb] = {
    "approve": Desk._approve,
    "reject": Desk._reject,
    "retry": Desk._retry,
    "pause": Desk._pause,
    "resume": Desk._resume,
    "abort": Desk._abort,
}


def _version(ship: Request) -> str:
    return str(ship.body.get("version", "")) if isinstance(ship.body, dict) else ""


def _plan(body: dict[str, Any]) -> Plan:
    """The plan that came with the request, checked again: a request may come from another version of golive."""
    stored = body.get("plan")
    if stored is None:
        return preset("progressive")
    try:
        plan = msgspec.convert(stored, Plan)
    except msgspec.ValidationError as error:
        raise _unreadable("plan", str(error)) from None
    for text in (*plan.freeze, *plan.window):
        parse_window(text)
    watch = plan.watch if plan.watch >= timedelta(0) else timedelta(0)
    checked = make_plan(
        plan.stages,
        watch=watch,
        on_inconclusive=plan.on_inconclusive,
        failed_probes_max=plan.failed_probes_max,
        judged=plan.judged,
        at_once=bool(body.get("at_once")),
    )
    check_hooks(plan.hooks)
    return replace(
        checked, approval_expires=plan.approval_expires, freeze=plan.freeze, window=plan.window, hooks=plan.hooks
    )


def _judging(body: dict[str, Any]) -> dict[str, Any]:
    judging = body.get("judging", {})
    if not isinstance(judging, dict):
        raise _unreadable("judging", f"expected an object, got {judging!r:.40}")
    return judging


def _readable(request: Request) -> Request:
    """Raises: UsageError when the body is none."""
    if not isinstance(request.body, dict):
        raise _unreadable("request", f"expected an object, got {request.body!r:.40}")
    return request


def _unreadable(what: str, why: str) -> UsageError:
    return UsageError(f"the {what} cannot be read ({why}); command line and controller differ in version.")


def _where(state: State) -> str:
    return f"{state.phase.value.replace('_', ' ')} with traffic {state.split}"

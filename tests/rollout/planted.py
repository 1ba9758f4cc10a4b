"""
Bugs that are planted on purpose, to see whether the simulation finds them: one sentence, one change of one module.

    python tests/rollout/planted.py           every bug, and which seed or test found it; exit 1 when one gets away
    python tests/rollout/planted.py NUMBER    one of them

Each bug is tried in a process of its own, in which the module is compiled from the changed source. First seeded
rollouts are simulated, then the stories of kill_points.py; what they do not see the suite of the room has to see.
"""
# ruff: noqa: E501 - source is quoted as it stands

from __future__ import annotations

import importlib.machinery
import importlib.util
import io
import logging
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
SUITE = [
    "test_rollout_journal.py", "test_rollout_scenarios.py", "test_rollout_failure_modes.py", "test_rollout_machine.py",
    "test_rollout_quarantine.py", "test_rollout_dossier.py",
]  # fmt: skip
SEEDS, GUARDED_SEEDS, HOOK_SEEDS, DISTURBANCES = 24, 12, 10, 8
AT_ONCE = 2


class Bug(NamedTuple):
    """*before*, which is once in *module* (below golive.rollout), becomes *after*."""

    sentence: str
    module: str
    before: str
    after: str


BUGS = [
    # ---- the machine
    Bug(
        "An abort during the watch is ignored.",
        "machine",
        '    back = _roll_back(state, event.at, _said(f"aborted by',
        "    if state.phase is Phase.WATCHING:\n        return state\n"
        '    back = _roll_back(state, event.at, _said(f"aborted by',
    ),
    Bug(
        "The weight rises in a pause.",
        "machine",
        "if state.paused_by is not None or not state.stable_healthy or not",
        "if not state.stable_healthy or not",
    ),
    Bug(
        "The weight rises while stable is dead.",
        "machine",
        "state.paused_by is not None or not state.stable_healthy or",
        "state.paused_by is not None or",
    ),
    Bug(
        "A stage is entered without its approval.",
        "machine",
        "state.approved_stage < following:",
        "state.approved_stage < following - 1:",
    ),
    Bug("A freeze is not looked at.", "machine", "return _freeze(state, following, at) or hooking", "return hooking"),
    Bug(
        "A verdict of the stage before counts for this one.",
        "machine",
        "if event.stage != state.stage or state.phase not in",
        "if state.phase not in",
    ),
    Bug(
        "The traffic goes back onto a dead stable.",
        "machine",
        "return (*revive, Shift(state.split)) if state.stable_healthy or not state.candidate_alive else revive",
        "return (*revive, Shift(state.split))",
    ),
    Bug(
        "A stage does not last its floor.",
        "machine",
        "if at < state.entered_at + state.plan.stages[state.stage].floor:",
        "if at < state.entered_at:",
    ),
    Bug("A weight somebody else raised is kept.", "drift", "if seen > state.weight or", "if seen > 10_000 or"),
    Bug(
        "A successor raises what somebody lowered while nobody controlled.",
        "takeover",
        "if seen is not None and is_less(seen, state) and not state.lowered:",
        "if False:",
    ),
    Bug(
        "A successor enters the next stage before it looks what somebody lowered.",
        "controller",
        "        await self._look_for_less(self.state)\n",
        "",
    ),
    Bug(
        "A successor takes for its own what somebody lowered.",
        "controller",
        "ours = self.state.lowered or await takeover.less_than(self.world, self.state) is None",
        "ours = True",
    ),
    Bug(
        "Who does not come back gets traffic all the same.",
        "takeover",
        "if state.lowered and (await world.deployer.condition(state.candidate)).health is not Health.READY:",
        "if False:",
    ),
    Bug(
        "An abort does not end the return of a candidate that had died.",
        "controller",
        "if self._returning is not None and (self.state is None or self.state.phase not in EXPOSED):",
        "if False:",
    ),
    Bug(
        "A candidate that is being started again is taken for dead.",
        "controller",
        "        if self._returning is not None:\n            return  #",
        "        if False:\n            return  #",
    ),
    Bug(
        "What golive lowered itself is taken for somebody's decision.",
        "machine",
        "replace(state, lowered=True) if event.lowered and",
        "state if event.lowered and",
    ),
    Bug(
        "The second stage gets the weight of the last.",
        "machine",
        "weight=state.plan.stages[following].weight,",
        "weight=state.plan.stages[following if following == 0 else -1].weight,",
    ),
    Bug(
        "After a rollback stable is removed.",
        "machine",
        "else (Remove(state.candidate),)",
        "else (Remove(state.stable),)",
    ),
    Bug(
        "After the watch the new version is removed.",
        "machine",
        "else (Remove(state.stable),)",
        "else (Remove(state.candidate),)",
    ),
    Bug(
        "Any split that is confirmed is taken for the wanted one.",
        "machine",
        "    if event.split != state.split:\n        return state\n",
        "",
    ),
    Bug("A candidate that died is not noticed.", "machine", '    if event.dead:\n        return "died"\n', ""),
    Bug(
        "Three bad probes in a row are not enough.",
        "machine",
        "if state.failed_probes >= state.plan.failed_probes_max:",
        "if state.failed_probes > 100 * state.plan.failed_probes_max:",
    ),
    Bug(
        "A failing verdict is only noted.",
        "machine",
        'if event.action == "rollback" and state.weight > 0:',
        "if False:",
    ),
    Bug(
        "The candidate is stopped while it still has traffic.",
        "machine",
        "            revive = () if state.stable_healthy else (Deploy(state.stable),)\n",
        "            revive = (Remove(state.candidate),)\n",
    ),
    Bug(
        "A rollout is over before the version that leaves is gone.",
        "machine",
        "(Phase.RETIRING, Phase.DRAINING) and state.removed and",
        "(Phase.RETIRING, Phase.DRAINING) and",
    ),
    Bug(
        "A stage at its ceiling passes by itself.",
        "machine",
        "return replace(state, phase=Phase.WAITING, waiting_for=WaitingFor.DECISION, reason=why)",
        "return replace(state, settled_stage=state.stage)",
    ),
    Bug(
        "The version with all the traffic is forgotten while the old one leaves.",
        "state",
        "        if self.phase in (Phase.PROMOTING, Phase.RETIRING, Phase.LIVE):\n            return Split(self.candidate)",
        "        if self.phase in (Phase.PROMOTING, Phase.LIVE):\n            return Split(self.candidate)",
    ),
    # ---- people and hooks
    Bug("The same person counts twice.", "asking", "    if event.actor in state.agreed:\n        return state\n", ""),
    Bug("Agreement never expires.", "asking", "    if until is None or at < until or", "    if True or"),
    Bug(
        "A hook that is over runs again.",
        "hooking",
        "hook=None, hooks_over=(*state.hooks_over, call))",
        "hook=None, hooks_over=state.hooks_over)",
    ),
    Bug(
        "A hook nobody knows the end of is taken for done.",
        "hooking",
        "if event.outcome is HookOutcome.OK:",
        "if event.outcome in (HookOutcome.OK, HookOutcome.UNKNOWN):",
    ),
    Bug(
        "A failed hook does not hold the traffic.",
        "hooking",
        'if not held or hook.on_failure == "continue":',
        "if True:",
    ),
    Bug(
        "Every hook is taken for idempotent.",
        "hooking",
        "is HookOutcome.UNKNOWN and hook.idempotent and",
        "is HookOutcome.UNKNOWN and",
    ),
    Bug(
        "The traffic rises while a hook still runs.",
        "machine",
        "    if state.hook is not None:\n        return state\n    if not _passed",
        "    if state.hook is not None:\n        return _rise(state, state.stage + 1)\n    if not _passed",
    ),
    Bug(
        "A version that was taken back may come again.",
        "desk",
        "        if state is not None:\n            who =",
        "        if False:\n            who =",
    ),
    Bug(
        "A version somebody aborted may come again.",
        "quarantine",
        "and exposed and not state.superseded_by:",
        'and exposed and state.ended_by == "golive":',
    ),
    Bug(
        "Who waits for the end of a watch is refused when the controller died meanwhile.",
        "desk",
        "if state.phase in _LEAVING and version != state.candidate:",
        "if state.phase in _LEAVING and False:",
    ),
    # ---- controller, work, journal, lease
    Bug(
        "A request is answered before what follows from it is recorded.",
        "controller",
        "        self._decide(event, answer)\n        self.tell(ev.Ticked",
        "        self.answer(answer)\n        self.tell(event)\n        self.tell(ev.Ticked",
    ),
    Bug(
        "A rollout begins in one record, and who asked for it is answered in another.",
        "controller",
        "        self._enter(event, begin(event)[0], answer)\n",
        "        self._enter(event, begin(event)[0])\n        self.answer(answer)\n",
    ),
    Bug(
        "A write that is under way comes after the record of an abort.",
        "controller",
        "        self._drop_unwanted()\n\n    def _close",
        "        asyncio.get_running_loop().call_soon(self._drop_unwanted)\n\n    def _close",
    ),
    Bug(
        "A controller that was replaced still answers people.",
        "journal",
        "            if not holds(db, service, fence):",
        "            if False:",
    ),
    Bug(
        "What was withdrawn is done all the same.",
        "journal",
        "    if settled.rowcount != 1:",
        "    if False:",
    ),
    Bug(
        "What changes within a phase is not recorded.",
        "controller",
        "if after != self.state or",
        "if after.phase is not self.state.phase or",
    ),
    Bug(
        "What is no longer wanted goes on.",
        "controller",
        "            task.cancel()\n            self._leaving.add(task)\n",
        "            self._leaving_on = [*getattr(self, '_leaving_on', []), task]\n",
    ),
    Bug(
        "The state is acted upon before it is recorded.",
        "controller",
        "        entry = self.journal.append(event, after, session, fence=self.lease.fence, answer=answer)\n        self.state = after\n",
        "        self.state = after\n        self._early = [asyncio.ensure_future(self.world.perform(c, after)) for c in wanted(after)]\n"
        "        entry = self.journal.append(event, after, session, fence=self.lease.fence, answer=answer)\n",
    ),
    Bug(
        "A successor takes the candidate for stable.",
        "controller",
        "self.current = self.state.stable",
        "self.current = self.state.candidate",
    ),
    Bug(
        "A dead version is not started again.",
        "controller",
        "            self._revivals[version] = asyncio",
        "            _ = lambda: asyncio",
    ),
    Bug(
        "A drift is not looked for.",
        "controller",
        "state is self.state and not same_traffic(seen, state.split)",
        "False",
    ),
    Bug(
        "Evidence that fails counts as nothing new.",
        "controller",
        '            self._hold(f"no evidence: {error}")\n',
        "",
    ),
    Bug(
        "The gateway is told without the controller's own token.",
        "work",
        "await self.router.apply(split, fence=self.fence())",
        "await self.router.apply(split, fence=10**9)",
    ),
    Bug(
        "The destination is not asked before the write.",
        "work",
        "if not await self._can_take_it(split, state):",
        "if False:",
    ),
    Bug("A version is stopped before the gateway forgot it.", "work", "if leftovers:  #", "if True:  #"),
    Bug(
        "A dethroned controller still writes the journal.",
        "journal",
        "if not holds(db, state.service, fence):",
        "if False:",
    ),
    Bug(
        "An entry is not chained to the one before.",
        "journal",
        "previous = row[0] if row else GENESIS",
        "previous = GENESIS",
    ),
    Bug(
        "The state is not stored with its entry.",
        "journal",
        "            self._save(state, judge)\n            if answer",
        "            if self._last(state.id) is None or state.final:\n                self._save(state, judge)\n            if answer",
    ),
    Bug(
        "The fencing token does not grow.", "lease", "max((row[3] if row else 0) + 1, ", "max((row[3] if row else 1), "
    ),
    Bug(
        "A lease is taken from a living holder.",
        "lease",
        "    if _alive(holder, expires_at, now, here):",
        "    if False:",
    ),
    Bug("A lease that was lost is not noticed.", "lease", "if renewed.rowcount != 1:", "if False:"),
]


# ---- in the process of one bug


def plant(bug: Bug) -> None:
    """Have golive.rollout.MODULE compiled from its changed source when it is imported."""
    name = f"golive.rollout.{bug.module}"
    original = importlib.machinery.SourceFileLoader.get_code

    def get_code(self: Any, fullname: str) -> CodeType | None:
        if fullname != name:
            return original(self, fullname)
        path = self.get_filename(fullname)
        source = Path(path).read_text()
        if source.count(bug.before) != 1:
            raise SystemExit(f"the bug no longer fits: {bug.before!r} is {source.count(bug.before)} times in {path}")
        return compile(source.replace(bug.before, bug.after), path, "exec")

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign]


def hunt(bug: Bug) -> str:
    """Who found it; empty when it got away."""
    plant(bug)
    logging.disable(logging.CRITICAL)
    return _simulated() or _tested()


def _simulated() -> str:
    from golive.testing.simulator import (
        Faults,
        guarded_plan,
        random_faults,
        simulate,
        small_plan,
        with_hooks,
    )

    aborts = [Faults(people=((float(at), "abort"),)) for at in (20, 60, 150, 200)]
    kills = [Faults(kills=(write,)) for write in range(5, 60, 9)]
    worlds: list[tuple[str, int, Any, Any]] = [
        *((f"seed {seed}", seed, random_faults(seed), None) for seed in range(SEEDS)),
        *((f"guarded seed {seed}", seed, random_faults(seed), guarded_plan(seed)) for seed in range(GUARDED_SEEDS)),
        *((f"seed {n} with hooks", n, random_faults(n), with_hooks(small_plan(), n)) for n in range(HOOK_SEEDS)),
        *((f"an abort at {world.people[0][0]:g} s", 1, world, None) for world in aborts),
        *((f"a kill at write {world.kills[0]}", 1, world, None) for world in kills),
        *((f"a usurper at {at} s", at, Faults(usurper_at=float(at)), None) for at in (25, 85, 145)),
    ]
    for name, seed, faults, plan in worlds:
        try:
            simulate(seed, faults, plan, horizon_seconds=200_000 if name.startswith("guarded") else 8_000)
        except Exception as error:  # whatever goes wrong is the bug, seen
            return f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:110]}"
    return _disturbed()


def _disturbed() -> str:
    """What the stories say whose controllers are killed or replaced; see kill_points.py."""
    from kill_points import STORIES, difference, disturbances, play

    for name, story in STORIES.items():
        try:
            undisturbed = play(story)
        except Exception as error:
            return f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:110]}"
        everything = list(disturbances(name, undisturbed))
        for one in random.Random(name).sample(everything, DISTURBANCES):
            if found := difference(one, undisturbed):
                return f"{one}: {found}"[:300]
    return ""


def _tested() -> str:
    import pytest

    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        code = pytest.main(["-x", "-q", "-p", "no:xdist", "--timeout=60", *(str(HERE / name) for name in SUITE)])
    if code == 0:
        return ""
    failed = [line for line in out.getvalue().splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].rpartition("/")[2].partition(" - ")[0] if failed else f"pytest ended with {code}"


# ---- all of them


def try_one(number: int) -> tuple[bool, str]:
    """Whether bug *number* was found, and by whom, from a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), str(number)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=HERE.parents[1])
    except subprocess.TimeoutExpired:
        return True, "the simulation never ended"
    last = (done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["nothing was said"])[-1]
    return done.returncode == 0, last


def main(arguments: list[str]) -> int:
    if arguments:
        found = hunt(BUGS[int(arguments[0])])
        print(found or "nobody found it")
        return 0 if found else 1
    missed = by_simulation = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number, (found, who) in enumerate(pool.map(try_one, range(len(BUGS)))):
            missed += not found
            by_simulation += found and "test_" not in who
            mark = "found " if found else "MISSED"
            print(f"{number:2}  {mark}  {BUGS[number].sentence}\n            {who}", flush=True)
    print(
        f"{len(BUGS) - missed} of {len(BUGS)} planted bugs were found, {by_simulation} of them by the simulation alone"
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

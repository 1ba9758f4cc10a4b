"""
Scenarios a release manager can read: what happened, then what the machine makes of it.

    start v42 plan=1,100 soak=30m
    ----
    deploying: starting v42
    deploy v42

A block is a directive, a line ``----`` and the answer: the phase and its reason when they changed, then what is newly
asked of the world, or ``nothing``. Set GOLIVE_REWRITE=1 to write the answers anew; understanding the diff is the work.
"""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from golive.rollout import events as ev
from golive.rollout.commands import Command, Wake
from golive.rollout.hooks import Hook, HookOutcome
from golive.rollout.machine import State, begin, decide, wanted
from golive.rollout.plan import Stage, make_plan
from golive.rollout.ports import Split
from golive.timing import format_duration, parse_duration

T0 = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


class Play:
    """One scenario being played."""

    def __init__(self) -> None:
        self.state: State | None = None
        self.at = T0

    def directive(self, line: str) -> str:
        """The machine's answer to one line."""
        words = shlex.split(line)
        options = dict(word.split("=", 1) for word in words if "=" in word and not word.startswith("v"))
        words = [word for word in words if word.split("=")[0] not in options]
        if "at" in options:
            self.at = T0 + parse_duration(options["at"].lstrip("+"))
        before = self.state
        if words[0] == "start":
            self.state, commands = begin(self._started(words[1], options))
        elif words[0] == "restart":
            assert before is not None
            commands = wanted(before)
        else:
            assert before is not None
            self.state, commands = decide(before, self._event(words))
        return "\n".join(self._said(before, commands))

    def _started(self, version: str, options: dict[str, str]) -> ev.Started:
        groups = dict(pair.split(":", 1) for pair in options.get("approval", "").split(",") if pair)
        ceiling = parse_duration(options["ceiling"]) if "ceiling" in options else None
        stages = [
            Stage(
                round(float(weight) * 100),
                parse_duration(options.get("soak", "10m")),
                ceiling,
                *_group(groups.get(weight)),
            )
            for weight in options.get("plan", "1,10,100").split(",")
        ]
        plan = make_plan(
            stages,
            watch=parse_duration(options.get("watch", "1h")),
            on_inconclusive=options.get("inconclusive", "ask"),  # type: ignore[arg-type]
            judged=options.get("judged") != "no",
            at_once=options.get("judged") == "no",
        )
        plan = replace(
            plan,
            approval_expires=parse_duration(options["expires"]) if "expires" in options else None,
            freeze=tuple(options["freeze"].split(";")) if "freeze" in options else (),
            window=tuple(options["window"].split(";")) if "window" in options else (),
            hooks=tuple(_hook(text) for text in options.get("hooks", "").split(",") if text),
        )
        return ev.Started(
            at=self.at, id="web-42", service="web", stable="v41", candidate=version, plan=plan,
            override=options.get("override", ""),
        )  # fmt: skip

    def _event(self, words: list[str]) -> ev.AnyEvent:
        state = self.state
        assert state is not None
        at = self.at
        rest = " ".join(words[2:])
        match words:
            case ["deployed", version]:
                return ev.Deployed(at=at, version=version)
            case ["failed", version, *_]:
                return ev.DeployFailed(at=at, version=version, reason=rest)
            case ["no-go", version, *_]:
                return ev.DeployFailed(at=at, version=version, reason=rest, no_go=True)
            case ["confirm"]:
                return ev.TrafficConfirmed(at=at, split=state.split)
            case ["confirm", share]:
                return ev.TrafficConfirmed(at=at, split=_split(share))
            case ["drift", share]:
                return ev.Drifted(at=at, split=_split(share))
            case ["verdict", action, *_]:
                return ev.Verdict(at=at, stage=state.stage, action=action, confidence=50, reason=rest)  # type: ignore
            case ["stale", "verdict", action]:
                return ev.Verdict(at=at, stage=state.stage - 1, action=action, confidence=50, reason="")  # type: ignore
            case ["probe", version, health, *_]:
                return ev.Probed(
                    at=at,
                    version=version,
                    healthy=health == "good",
                    dead=health == "dead",
                    reason=" ".join(words[3:]) or "503",
                )
            case ["removed", version]:
                return ev.Removed(at=at, version=version)
            case ["hook", outcome, *_]:
                assert state.hook is not None, "no hook was called"
                outcome = HookOutcome(outcome)
                return ev.HookEnded(at=at, call=state.hook, outcome=outcome, said=rest or "exited with 0")
            case ["retry", actor]:
                return ev.Retried(at=at, actor=actor)
            case ["tick"]:
                return ev.Ticked(at=at)
            case ["approve", actor]:
                return ev.Approved(at=at, actor=actor)
            case ["reject", actor, *_]:
                return ev.Rejected(at=at, actor=actor, comment=rest)
            case ["pause", actor, *_]:
                return ev.Paused(at=at, actor=actor, comment=rest)
            case ["resume", actor]:
                return ev.Resumed(at=at, actor=actor)
            case ["abort", actor, *_]:
                return ev.Aborted(at=at, actor=actor, reason=rest)
            case ["end-watch", actor]:
                return ev.WatchEnded(at=at, actor=actor)
        raise ValueError(f"no such directive: {' '.join(words)}")

    def _said(self, before: State | None, commands: tuple[Command, ...]) -> list[str]:
        assert self.state is not None
        lines = []
        if before is None or (before.phase, before.reason) != (self.state.phase, self.state.reason):
            lines.append(f"{self.state.phase.value.replace('_', ' ')}: {self.state.reason}")
        return [*lines, "; ".join(self._command(command) for command in commands) or "nothing"]

    def _command(self, command: Command) -> str:
        if isinstance(command, Wake):
            return f"wake at=+{format_duration(command.at - T0)}"
        return str(command)


def _group(text: str | None) -> tuple[str | None, int]:
    """``eng:2`` is two people of eng."""
    name, _, needed = (text or "").partition(":")
    return name or None, int(needed or 1)


def _hook(text: str) -> Hook:
    """``before_stage:rollback:idempotent`` is a hook that fails into a rollback and may run twice."""
    point, *words = text.split(":")
    failure = next((word for word in words if word != "idempotent"), "hold")
    return Hook(point, (f"./{point}",), on_failure=failure, idempotent="idempotent" in words)  # type: ignore[arg-type]


def _split(text: str) -> Split:
    """``v42=10`` is ten percent on v42 and the rest on v41; ``v41`` all on v41."""
    version, _, share = text.partition("=")
    return Split("v41", version, round(float(share) * 100)) if share else Split(version)


def play(path: Path) -> str:
    """The text of the scenario at *path* with the answers the machine gives today."""
    blocks = []
    game = Play()
    for block in path.read_text().strip().split("\n\n"):
        lines = block.splitlines()
        comments = [line for line in lines if line.startswith("#")]
        directive = next(line for line in lines if not line.startswith("#"))
        blocks.append("\n".join([*comments, directive, "----", game.directive(directive)]))
    return "\n\n".join(blocks) + "\n"

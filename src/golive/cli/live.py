"""
The live view on a terminal: looks at the journal, draws, and sends what keys ask for to the controller.

Nothing here blocks the view: a request waits for its answer in a thread of its own. Leaving, by q or Control-C, ends
only the view. The terminal is given back as it was, whatever happens.
"""

from __future__ import annotations

import os
import queue
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from golive.cli.follow import outcome
from golive.cli.inbox import ask, controller_of
from golive.cli.live_model import LiveModel
from golive.cli.live_view import Look, draw, keys_of
from golive.cli.terminal import Glyphs, glyphs, make_console
from golive.errors import ExitCode, GoliveError, TimeoutExceededError
from golive.project import Place
from golive.rollout.journal import Journal
from golive.rollout.machine import Phase, State

LOOK_SECONDS = 0.1
REDRAW_SECONDS = 0.5
"""The picture changes by itself (ages, progress) about this often; entries and keys are drawn at once."""

Send = Callable[[str, dict[str, Any]], str]


def follow_live(
    journal: Journal,
    rollout: str,
    settings: Place,
    *,
    through_watch: bool = False,
    deadline: float | None = None,
    console: Console | None = None,
    send: Send | None = None,
) -> ExitCode:
    """
    Show *rollout* until it is live or taken back, or until somebody leaves.

    Args:
        through_watch: stay through the watch after 100 %, until the rollout is over.
        deadline: monotonic seconds after which the view ends.
        send: how a verb reaches the controller; by default through the inbox of *settings*.

    Returns: as :func:`golive.cli.follow.outcome`; OK when somebody left before there was one.
    Raises: TimeoutExceededError at *deadline*; KeyboardInterrupt on Control-C; StateError for an unknown rollout.
    """
    console = console or make_console()
    send = send or (lambda verb, body: ask(settings, verb, {"rollout": rollout, **body}))
    view = _View(journal, rollout, settings, send, glyphs())
    with _keyboard() as keys, Live(console=console, screen=True, auto_refresh=False, transient=True) as live:
        while not view.over(through_watch):
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutExceededError(
                    f"rollout {rollout}: not over yet; it goes on. Look again with `golive watch {rollout}`."
                )
            if view.due(console):
                live.update(Group(*view.lines(console.width, console.height, keys=sys.stdin.isatty())), refresh=True)
            if any(view.press(key) for key in keys(LOOK_SECONDS)):
                break
    view.settle()
    console.print(Group(*view.lines(console.width, None, keys=False)))
    return outcome(view.state) or ExitCode.OK


@dataclass
class _View:
    """The state of the view: what was read, what was asked, what is shown."""

    journal: Journal
    rollout: str
    settings: Place
    send: Send
    glyphs: Glyphs
    model: LiveModel = field(default_factory=LiveModel)
    why: bool = False
    confirming: bool = False
    notice: str = ""

    def __post_init__(self) -> None:
        self._seen, self._version = 0, -1
        self._drawn_at, self._drawn = 0.0, (0, 0)
        self._dirty, self._alone = True, False
        self._answers: queue.Queue[str] = queue.Queue()
        self._asked: threading.Thread | None = None
        self.state: State
        self._read()

    # ---- reading

    def _read(self) -> None:
        version = self.journal.version_of_data()
        if version == self._version:
            return
        self._version = version
        self.state = self.journal.rollout(self.rollout)  # before the entries, so that none is missed
        for entry in self.journal.entries(self.rollout, after=self._seen):
            self._seen = entry.seq
            self.model.add(entry)
        self._dirty = True

    def over(self, through_watch: bool) -> bool:
        """Whether there is nothing more to wait for."""
        self._read()
        if through_watch:
            return self.state.final
        return self.state.phase is Phase.ROLLED_BACK or outcome(self.state) is ExitCode.OK

    # ---- drawing

    def due(self, console: Console) -> bool:
        """Whether it is time to draw."""
        with suppress(queue.Empty):
            self.notice, self._dirty = self._answers.get_nowait(), True
        size, now = (console.width, console.height), time.monotonic()
        if not self._dirty and size == self._drawn and now - self._drawn_at < REDRAW_SECONDS:
            return False
        alone = not self.state.final and controller_of(self.journal, self.settings) is None
        self._alone = alone
        self._drawn_at, self._drawn, self._dirty = now, size, False
        return True

    def lines(self, width: int, height: int | None, *, keys: bool) -> list[Text]:
        """The picture now."""
        look = Look(width, height, self.glyphs, self.settings.environment or "", self.why, self._said(), keys)
        return draw(self.state, self.model, datetime.now(UTC), look)

    def _said(self) -> str:
        if self.confirming:
            return f"abort {self.rollout}, all traffic back to {self.state.stable}? y yes, any other key no"
        if self._alone and not self.notice:
            return "no controller runs: traffic stays where it is. Start one with `golive up`."
        return self.notice

    # ---- keys

    def press(self, key: str) -> bool:
        """Do what *key* means now; True leaves the view."""
        self._dirty = True
        if self.confirming:
            self.confirming = False
            if key in "yY":
                self._ask("abort", {"reason": ""})
            return False
        if key == "q":
            return True
        if key == "w":
            self.why = not self.why
        elif key not in dict(keys_of(self.state)):
            self.notice = ""
        elif key == "x":
            self.confirming = True
        elif key == "a":
            self._ask("approve", {"comment": ""})
        elif key == "p":
            self._ask("resume" if self.state.paused_by else "pause", {"comment": ""})
        return False

    def _ask(self, verb: str, body: dict[str, Any]) -> None:
        if self._asked is not None and self._asked.is_alive():
            self.notice = "one request at a time: the last one is not answered yet"
            return
        self.notice = f"{verb}: asking the controller"
        self._asked = threading.Thread(target=self._send, args=(verb, body), daemon=True)
        self._asked.start()

    def _send(self, verb: str, body: dict[str, Any]) -> None:
        try:
            self._answers.put(self.send(verb, body))
        except GoliveError as error:
            self._answers.put(str(error))

    def settle(self) -> None:
        """Wait a moment for the answer to the last key, so that it is not lost with the view."""
        if self._asked is not None:
            self._asked.join(2.0)
        with suppress(queue.Empty):
            self.notice = self._answers.get_nowait()


@contextmanager
def _keyboard() -> Iterator[Callable[[float], str]]:
    """
    A function that waits up to so many seconds for keys and returns what was typed, or the empty string.

    Keys arrive without Enter and are not echoed; Control-C stays a signal. Without a terminal on stdin it only waits.
    """
    if not sys.stdin.isatty():
        yield _only_wait
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor, termios.TCSANOW)
        yield lambda seconds: _typed(descriptor, seconds)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _only_wait(seconds: float) -> str:
    time.sleep(seconds)
    return ""


def _typed(descriptor: int, seconds: float) -> str:
    ready, _, _ = select.select([descriptor], [], [], seconds)
    if not ready:
        return ""
    typed = os.read(descriptor, 64).decode(errors="replace")
    if not typed:
        return "q"  # the terminal is gone
    return "" if typed.startswith("\x1b") else typed  # arrows and the like mean nothing here

"""What ``golive check`` shows while gates run: one line on a terminal that is rewritten, nothing elsewhere."""

from __future__ import annotations

import sys
import threading
import time

import click

from golive.gates import Gate, Result, Verdict
from golive.gates.reports import text

COLOURS = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.WAIVED: "yellow", Verdict.UNAVAILABLE: "magenta"}
_SECONDS = 0.5
_WIDTH_MAX = 100


class Progress:
    """
    Tells results as they come. On a terminal, the gates that run now stand below, with their seconds; a thread rewrites
    that line, so that it moves while a gate computes.
    """

    def __init__(self, silent: bool) -> None:
        self._silent = silent
        self._live = not silent and sys.stdout.isatty()
        self._running: dict[str, float] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._draw, daemon=True) if self._live else None
        if self._thread is not None:
            self._thread.start()

    def begun(self, gate: Gate) -> None:
        """*gate* runs."""
        with self._lock:
            self._running[gate.name] = time.monotonic()

    def ended(self, result: Result) -> None:
        """*result* is there."""
        with self._lock:
            self._running.pop(result.gate, None)
            if not self._silent:
                self._clear()
                line = text.line(result)
                word = line.split(" ", 1)[0]
                coloured = click.style(word, fg=COLOURS[result.outcome.verdict], bold=True)
                click.echo(coloured + line[len(word) :])
                sys.stdout.flush()

    def close(self) -> None:
        """Nothing runs any more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._clear()

    def _draw(self) -> None:
        while not self._stop.wait(_SECONDS):
            with self._lock:
                now = time.monotonic()
                told = ", ".join(f"{name} {now - begun:.0f} s" for name, begun in self._running.items())
                self._clear()
                if told:
                    sys.stdout.write(f"running: {told}"[:_WIDTH_MAX])
                    sys.stdout.flush()

    def _clear(self) -> None:
        if self._live:
            sys.stdout.write("\r\x1b[K")
            sys.stdout.flush()

"""
What the terminal can show: colour, characters, size. Asked once, at the edge, so that views stay pure functions.

``NO_COLOR`` wins over ``CLICOLOR_FORCE``; a locale that is set and is not UTF-8 gets ASCII, whatever Python can write.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Glyphs:
    """The characters a view draws with. Each icon stands beside a word, never alone."""

    passed: str
    failed: str
    now: str
    coming: str
    undecided: str
    arrow: str
    bar_done: str
    bar_head: str
    bar_left: str
    rule: str
    ellipsis: str
    mark: str
    stable: str
    canary: str
    both: str
    braille: bool


UNICODE = Glyphs("✔", "✘", "●", "○", "◔", "→", "━", "╸", "─", "─", "…", "┊", "·", "●", "◉", braille=True)
ASCII = Glyphs("+", "x", "*", "o", "?", "->", "=", ">", "-", "-", "..", ":", ".", "x", "8", braille=False)


def glyphs(stream: TextIO | None = None, environ: Mapping[str, str] | None = None) -> Glyphs:
    """UNICODE where the locale and the stream can carry it, else ASCII."""
    environ = os.environ if environ is None else environ
    stream = sys.stdout if stream is None else stream
    locale = next((environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if environ.get(name)), "")
    if locale and "utf" not in locale.lower():
        return ASCII
    try:
        "✔⣀".encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def make_console(stream: TextIO | None = None, environ: Mapping[str, str] | None = None) -> Console:
    """A console on *stream* (stdout) that obeys NO_COLOR and CLICOLOR_FORCE."""
    from rich.console import Console  # a third of what a verb without a picture costs

    environ = os.environ if environ is None else environ
    plain = bool(environ.get("NO_COLOR"))
    forced = environ.get("CLICOLOR_FORCE", "0") not in ("", "0") and not plain
    return Console(
        file=stream, no_color=plain, force_terminal=True if forced else None, highlight=False, markup=False, emoji=False
    )


def can_draw(console: Console) -> bool:
    """Whether a picture that is drawn again and again makes sense here."""
    return console.is_terminal and not console.is_dumb_terminal and sys.stdout.isatty()

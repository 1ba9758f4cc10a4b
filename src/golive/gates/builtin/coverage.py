"""``coverage``: the tests reach enough of the code. Source: seed 003 (coverage report before the deployment)."""

from __future__ import annotations

import re

from golive.gates import tree
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import Target
from golive.promises.release import CoverageProbe

_ROOT = re.compile(r"<coverage\b[^>]*?\bline-rate=\"([0-9.]+)\"")
_LINES = re.compile(r"<coverage\b[^>]*?\blines-valid=\"(\d+)\"")


async def check(target: Target) -> Outcome:
    """PASS when the report's line rate is high enough, over at least one line."""
    probe = target.required(CoverageProbe, "coverage")
    text = tree.read(target.root / probe.file) if target.root is not None else None
    rate = _ROOT.search(text or "")
    if text is None or rate is None:
        return unavailable(f"{probe.file}: no Cobertura report there")
    lines = _LINES.search(text)
    if lines is not None and int(lines[1]) == 0:
        return unavailable(f"{probe.file}: covers no line at all")
    covered = float(rate[1])
    if covered < probe.lines_min:
        return failed(f"{covered:.1%} of the lines are reached (limit {probe.lines_min:.0%})", lines_ratio=covered)
    return passed(f"{covered:.1%} of the lines are reached (limit {probe.lines_min:.0%})", lines_ratio=covered)


GATE = Gate("coverage", "The tests reach enough of the code.", Phase.PREFLIGHT, check)

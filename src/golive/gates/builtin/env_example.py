"""``env-example``: every environment variable the code reads is in ``.env.example``. Source: seed 001, phase 0."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

from golive.gates import tree
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome
from golive.gates.target import Target

_READS = re.compile(
    r"""os\.environ\s*\[\s*["'](\w+)["']\s*\](?!\s*=[^=])|os\.environ\.get\(\s*["'](\w+)["']|os\.getenv\(\s*["'](\w+)[
    "']"""
    r"""|process\.env\.([A-Z_]\w*)|import\.meta\.env\.([A-Z_]\w*)"""
)
KEY = re.compile(r"\s*(?:export\s+)?#?\s*([A-Za-z_]\w*)\s*=")
#: set by the platform or the tool chain, not by whoever fills in the file
_GIVEN = frozenset({"PORT", "HOME", "PATH", "PWD", "USER", "TMPDIR", "LANG", "TERM", "HOSTNAME", "CI", "NODE_ENV",
"MODE",
                    "DEV", "PROD", "SSR", "BASE_URL", "PYTHONPATH", "VIRTUAL_ENV", "NO_COLOR"})  # fmt: skip


async def check(target: Target) -> Outcome:
    """PASS when nothing the code reads is missing from the example file."""
    return await asyncio.to_thread(_check, target)


def _check(target: Target) -> Outcome:
    example = target.files.env_example
    findings, count = tree.scan(target, _look)
    assert target.root is not None, "the scan needs a tree"
    known = _known(tree.read(target.root / example) or "")
    missing = {finding.text: finding for finding in findings if finding.text not in known}
    listed = [
        tree.Finding(found.file, found.line, f"{name} is read and not in {example}")
        for name, found in sorted(missing.items())
    ]
    names = len({finding.text for finding in findings})
    return tree.judge(listed, f"{count} files read {names} variables, all in {example}", "variables are not documented")


def _look(name: str, text: str) -> Iterator[tree.Finding]:
    for match in _READS.finditer(text):
        variable = next(group for group in match.groups() if group)
        if variable not in _GIVEN:
            yield tree.Finding(name, text.count("\n", 0, match.start()) + 1, variable)


def _known(text: str) -> set[str]:
    """Keys of the file; one that is commented out is documented too."""
    return {match[1] for line in text.splitlines() if (match := KEY.match(line))}


GATE = Gate("env-example", "Every environment variable the code reads is documented.", Phase.PREFLIGHT, check)

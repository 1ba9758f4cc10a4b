"""
``documents``: the papers are there, say what they must, and nobody left a blank in them. Source: seed 002 (its sign-off
still says ``[Your Name]``, ``[Date]``), seed 003 (rollback plan documented), seed 002 (docs match the version).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

from golive.gates import tree
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, unavailable
from golive.gates.target import Target
from golive.promises.release import Document, DocumentsProbe


async def check(target: Target) -> Outcome:
    """PASS when each document exists, its headings have text under them, and no placeholder is left."""
    probe = target.required(DocumentsProbe, "documents")
    if target.root is None:
        return unavailable("no source tree to look at")
    try:
        blanks = [re.compile(pattern) for pattern in probe.placeholders]
    except re.error as error:
        return unavailable(f"gates.documents: {error.pattern!r} is no regular expression ({error.msg})")
    findings = await asyncio.to_thread(
        lambda: [each for one in probe.documents for each in _look(target, probe, one, blanks)]
    )
    return tree.judge(findings, f"{len(probe.documents)} documents, complete and filled in", "gaps in the documents")


def _look(
    target: Target, probe: DocumentsProbe, wanted: Document, blanks: list[re.Pattern[str]]
) -> Iterator[tree.Finding]:
    assert target.root is not None, "the caller looked"
    text = tree.read(target.root / wanted.file)
    if text is None:
        yield tree.Finding(wanted.file, 0, "does not exist, or cannot be read")
        return
    for heading in wanted.headings:
        if not _has_section(text, heading):
            yield tree.Finding(wanted.file, 0, f"has no section {heading!r} with text in it")
    for part in wanted.contains:
        filled = part.replace("{version}", probe.version or target.version)
        if filled not in text:
            yield tree.Finding(wanted.file, 0, f"does not say {filled!r}")
    for number, line in enumerate(text.splitlines(), 1):
        for blank in blanks:
            match = blank.search(line)
            if match:
                yield tree.Finding(wanted.file, number, f"a blank is left: {match[0]}")


def _has_section(text: str, heading: str) -> bool:
    """A heading that contains *heading*, with at least one line of text before the next of its level."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        match = re.match(r"(#+)\s+(.*)", line)
        if match and heading.lower() in match[2].lower():
            for below in lines[number + 1 :]:
                deeper = re.match(r"(#+)\s", below)
                if deeper and len(deeper[1]) <= len(match[1]):
                    break
                if below.strip() and not deeper:
                    return True
    return False


GATE = Gate("documents", "The papers are there, complete, and nobody left a blank.", Phase.PREFLIGHT, check)

"""
``secrets``: no credential is written into the tree. Known shapes only, so that a hit is nearly always one.

Left out on purpose: entropy guesses, history, and asking the issuer whether the key is alive. A dedicated scanner
does those; this gate catches what must never be shipped. The finding names the kind and the place, never the value.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

from golive.gates import tree
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome
from golive.gates.target import Target

KINDS: dict[str, re.Pattern[str]] = {
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})\b"),
    "a Stripe live key": re.compile(r"\b[sr]k_live_[A-Za-z0-9]{20,}\b"),
    "a Slack token": re.compile(r"\bxox[abposr]-[A-Za-z0-9-]{20,}"),
    "a Google API key": re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b"),
    "an OpenAI key": re.compile(r"\bsk-(?:proj-)?[A-Za-z0-9_-]{32,}\b"),
    "a password in a URL": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s:/@\"'{}$<>]+:([^\s:/@\"'{}$<>]{3,})@[\w.-]+"),
}
#: what documentation and examples write instead of a password
_EXAMPLES = re.compile(r"pass(?:word|wd)?|secret|changeme|example|user|x{3,}|\*+|\.{3}", re.IGNORECASE)


async def check(target: Target) -> Outcome:
    """PASS when no text file of the tree holds one of the known kinds of credentials."""
    findings, count = await asyncio.to_thread(_scan, target)
    return tree.judge(findings, f"{count} files, no credential of a known kind", "credentials are in the tree")


def _scan(target: Target) -> tuple[list[tree.Finding], int]:
    findings: list[tree.Finding] = []
    count = 0
    for name, path in tree.files(target):
        text = None if tree.matches(name, target.files.exclude) else tree.read(path)
        if text is not None:
            count += 1
            findings += look(name, text)
    return findings, count


def look(name: str, text: str) -> Iterator[tree.Finding]:
    """The credentials in one file."""
    for kind, pattern in KINDS.items():
        for match in pattern.finditer(text):
            if match.groups() and _EXAMPLES.fullmatch(match[1]):
                continue
            yield tree.Finding(name, text.count("\n", 0, match.start()) + 1, kind)


GATE = Gate("secrets", "No credential is written into the tree.", Phase.PREFLIGHT, check)

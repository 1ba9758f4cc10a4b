"""``frontend``: files for the browser reach for no database. Source: seed 001 (UI only, no DB writes directly)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

from golive.gates import tree
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, unavailable
from golive.gates.target import Target
from golive.promises.release import FrontendProbe

_ADDRESS = re.compile(r"\b(?:postgres(?:ql)?|mysql|mongodb(?:\+srv)?|redis|rediss|sqlserver)://", re.IGNORECASE)
_DRIVER = re.compile(
    r"""(?:from|require\(|import\()\s*["'](pg|mysql2?|mongodb|mongoose|ioredis|redis|knex|sequelize|typeorm|@prisma/client|"""
    r"""better-sqlite3|drizzle-orm(?:/[\w-]+)?)["']"""
)
_SECRET = re.compile(r"\b(?:DATABASE_URL|PGPASSWORD|service_role|SUPABASE_SERVICE_KEY)\b")


async def check(target: Target) -> Outcome:
    """PASS when no file for the browser holds a driver, an address or a credential of a database."""
    probe = target.required(FrontendProbe, "frontend")
    findings, count = await asyncio.to_thread(_look, target, probe)
    if not count:
        return unavailable(f"no file fits {', '.join(probe.files)}")
    return tree.judge(
        findings, f"{count} files for the browser, none reaches for a database", "reach for a database from the browser"
    )


def _look(target: Target, probe: FrontendProbe) -> tuple[list[tree.Finding], int]:
    findings: list[tree.Finding] = []
    count = 0
    for name, path in tree.files(target):
        text = tree.read(path) if tree.matches(name, probe.files) else None
        if text is not None:
            count += 1
            findings += _file(name, text)
    return findings, count


def _file(name: str, text: str) -> Iterator[tree.Finding]:
    for number, line in enumerate(text.splitlines(), 1):
        for pattern in (_ADDRESS, _DRIVER, _SECRET):
            match = pattern.search(line)
            if match:
                yield tree.Finding(name, number, match[0][:80])


GATE = Gate("frontend", "Files for the browser reach for no database.", Phase.PREFLIGHT, check)

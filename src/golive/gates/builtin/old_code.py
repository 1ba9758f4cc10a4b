"""
``old-code``: the version in production works on the schema of the next one. While a canary runs, and after a rollback,
that is what it stands on. Source: seed 001 (backward-compatible migration policy).
"""

from __future__ import annotations

import tempfile
from dataclasses import replace

from golive.gates.expect import difference
from golive.gates.gate import Gate, Phase
from golive.gates.http import Client, NoAnswerError
from golive.gates.outcome import Outcome, failed, passed
from golive.gates.process import ready, run_to_end, started
from golive.gates.target import Target
from golive.promises.operation import OldCodeProbe

_PREPARE_SECONDS = 120.0


async def check(target: Target) -> Outcome:
    """PASS when the old version starts on the new schema and answers what it should."""
    probe = target.required(OldCodeProbe, "old_code")
    with tempfile.TemporaryDirectory(prefix="golive-old-code-") as scratch:
        for command in probe.prepare:
            await run_to_end(command, probe.env, target.root, _PREPARE_SECONDS, scratch=scratch)
        async with started(probe.old, probe.env, target.root, scratch=scratch) as running:
            client = Client(replace(target, url=running.url))
            if not await ready(running, client, probe.start_max):
                last = running.last_words.strip().rpartition("\n")[2]
                return failed(f"the old version does not become ready on the new schema: {last[:200]}")
            problems = []
            for request in probe.requests:
                try:
                    found = difference(await client.send(request), request)
                except NoAnswerError as error:
                    found = error.why
                problems += [f"{request.name or f'{request.method} {request.path}'}: {found}"] if found else []
    if problems:
        return failed(f"on the new schema, the old version fails: {'; '.join(problems[:5])}", problems=problems)
    return passed(f"the old version answers {len(probe.requests)} requests on the new schema")


GATE = Gate(
    "old-code",
    "The old version works on the new schema.",
    Phase.PREFLIGHT,
    check,
    timeout=400.0,
)

"""
``detect-secrets``: no secret is in the tree beside those of the baseline, judged by detect-secrets. It guesses by
entropy and keyword as well, which the gate ``secrets`` does not.

The finding names the kind and the place, never the value. Nobody is asked whether a key is alive.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from golive.gates import tool, tree
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, unavailable
from golive.gates.target import Target
from golive.promises.tools import DetectSecretsProbe

_INSTALL = "detect-secrets (pip)"


async def check(target: Target) -> Outcome:
    """PASS when detect-secrets finds nothing the baseline does not have."""
    probe = target.required(DetectSecretsProbe, "detect_secrets")
    tool.find("detect-secrets", _INSTALL)
    names = [name for name in tool.chosen(target, ("**",)) if name != probe.baseline]
    accepted = ""
    if probe.baseline:
        text = tree.read(target.root / probe.baseline) if target.root is not None else None
        if text is None:
            return unavailable(f"{probe.baseline}: cannot be read. `detect-secrets scan` writes a baseline.")
        accepted = text
    findings: list[tree.Finding] = []
    for batch in tool.batches(names):
        findings += await _scan(target, probe, accepted, batch)
    looked_at = f"detect-secrets: {len(names)} files, nothing found"
    return tool.judge(findings, looked_at, "secrets are in the tree that are not in the baseline")


async def _scan(target: Target, probe: DetectSecretsProbe, accepted: str, batch: list[str]) -> list[tree.Finding]:
    """With a baseline the tool takes its settings from there and writes what it found there: to a copy."""
    with tempfile.TemporaryDirectory(prefix="golive-secrets-") as scratch:
        copy = Path(scratch, "baseline.json")
        options = ["-c", "1", "scan", "--all-files", "--no-verify"]
        if accepted:
            copy.write_text(accepted)  # noqa: ASYNC240 - one small file
            options.append(f"--baseline={copy}")
        ran = await tool.run_tool(
            "detect-secrets", [*options, *batch], install=_INSTALL, root=target.root, timeout=probe.timeout
        )
        if ran.code != 0:
            raise ran.unreadable()
        found = json.loads(copy.read_text()) if accepted else ran.json()  # noqa: ASYNC240 - one small file
    try:
        known = {_key(secret) for secret in _secrets(json.loads(accepted))} if accepted else set()
        return [
            tree.Finding(tool.place(target, secret["filename"]), int(secret["line_number"]), str(secret["type"]))
            for secret in _secrets(found)
            if _key(secret) not in known
        ]
    except (TypeError, KeyError, ValueError, AttributeError):
        raise ran.unreadable() from None


def _secrets(document: Any) -> list[dict[str, Any]]:
    return [secret for found in document["results"].values() for secret in found]


def _key(secret: dict[str, Any]) -> tuple[str, str, str]:
    """What makes a secret the same one: not its line, which moves."""
    return Path(secret["filename"]).as_posix(), secret["type"], secret["hashed_secret"]


GATE = Gate(
    "detect-secrets", "No secret is in the tree that nobody looked at (detect-secrets).", Phase.PREFLIGHT, check,
    timeout=900.0,
)  # fmt: skip

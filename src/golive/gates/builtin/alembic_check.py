"""
``alembic-check``: the models need no migration nobody has written, judged by ``alembic check``.

It compares with a database that has all migrations. One that has not proves nothing either way: UNAVAILABLE.
"""

from __future__ import annotations

import re
import tempfile

from golive.gates import tool, tree
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, passed, unavailable
from golive.gates.process import fill
from golive.gates.target import Target
from golive.promises.tools import AlembicCheckProbe

_INSTALL = "alembic (pip)"
_MISSING = "FAILED: New upgrade operations detected:"
_OPERATION = re.compile(r"\('[a-z_]+', .*?(?=, \('[a-z_]+', |, \[\('[a-z_]+', |\]?$)")


async def check(target: Target) -> Outcome:
    """PASS when alembic would generate an empty migration."""
    probe = target.required(AlembicCheckProbe, "alembic_check")
    tool.find("alembic", _INSTALL)
    if target.root is None or not (target.root / probe.config).is_file():
        return unavailable(f"{probe.config}: cannot be read. Write config in [gates.alembic_check].")
    with tempfile.TemporaryDirectory(prefix="golive-alembic-") as scratch:
        env = {name: fill((value,), {"scratch": scratch})[0] for name, value in probe.env.items()}

        async def alembic(*words: str) -> tool.Ran:
            arguments = ["-c", probe.config, *words]
            return await tool.run_tool(
                "alembic", arguments, install=_INSTALL, root=target.root, timeout=probe.timeout, env=env
            )

        if probe.upgrade:
            upgraded = await alembic("upgrade", "head")
            if upgraded.code != 0:
                raise upgraded.unreadable()
        ran = await alembic("check")
    if ran.code == 0:
        return passed("alembic check: the models need no further migration")
    _, found, rest = f"{ran.output}\n{ran.errors}".partition(_MISSING)
    if not found:
        raise ran.unreadable()
    operations = _OPERATION.findall(rest.strip().partition("\n")[0]) or [rest.strip()]
    findings = [tree.Finding(probe.config, 0, operation.rstrip("]")[:500]) for operation in operations]
    return tool.judge(findings, "", "changes of the models are in no migration")


GATE = Gate(
    "alembic-check", "The models need no migration nobody has written (alembic).", Phase.PREFLIGHT, check, timeout=900.0
)

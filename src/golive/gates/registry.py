"""
The catalogue: every built-in gate, in the order a report lists them. Modules are loaded when the catalogue is asked
for.

A gate is one file in ``builtin/`` with a ``GATE``; its planted defect is in ``tests/defects/``.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping

from golive.gates.gate import Gate

#: module in golive.gates.builtin, in report order
MODULES = (
    "forbidden_files",
    "secrets_in_tree",
    "no_localhost",
    "process_exits",
    "env_example",
    "startup",
    "health",
    "stability",
    "smoke",
    "routes",
    "bad_input",
    "auth",
    "cors",
    "idempotency",
    "async_accept",
    "job_lifecycle",
    "metrics_registry",
    "redaction",
    "load_test",
    "shutdown",
)


@functools.cache
def catalogue() -> Mapping[str, Gate]:
    """All built-in gates by name."""
    gates = [importlib.import_module(f"golive.gates.builtin.{module}").GATE for module in MODULES]
    named = {gate.name: gate for gate in gates}
    assert len(named) == len(gates), "every gate has its own name"
    return named

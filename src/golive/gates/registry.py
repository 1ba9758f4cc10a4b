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
    "commit",
    "syntax",
    "forbidden_files",
    "secrets_in_tree",
    "detect_secrets",
    "no_localhost",
    "process_exits",
    "provider",
    "naming",
    "env_example",
    "unused_settings",
    "frontend",
    "ci_workflow",
    "test_results",
    "coverage",
    "documents",
    "findings",
    "plan_lint",
    "cloud_run",
    "infra_diff",
    "squawk",
    "alembic_check",
    "cfn_lint",
    "hadolint",
    "shared_state",
    "config_refusal",
    "old_code",
    "rollback_rehearsal",
    "prior_evidence",
    "startup",
    "health",
    "probes",
    "environment",
    "database",
    "applied_migrations",
    "redis",
    "infrastructure",
    "dependency",
    "stability",
    "smoke",
    "request_id",
    "routes",
    "contract",
    "openapi",
    "schemathesis",
    "anonymous",
    "bad_input",
    "auth",
    "tenants",
    "cors",
    "idempotency",
    "async_accept",
    "job_lifecycle",
    "background",
    "flow",
    "pages",
    "rate_limit",
    "metrics_registry",
    "cardinality",
    "redaction",
    "error_capture",
    "slow_work",
    "load_test",
    "duplicates",
    "claims",
    "shutdown",
    "drain_health",
    "soak",
    "alarm_drill",
    "cloudwatch",
)


@functools.cache
def catalogue() -> Mapping[str, Gate]:
    """All built-in gates by name."""
    gates = [importlib.import_module(f"golive.gates.builtin.{module}").GATE for module in MODULES]
    named = {gate.name: gate for gate in gates}
    assert len(named) == len(gates), "every gate has its own name"
    return named

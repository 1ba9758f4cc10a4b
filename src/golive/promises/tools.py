"""
What well-kept tools of others are asked about the tree and the service. Durations are seconds.

Each is optional: golive does not install them. *timeout* is for one call of the tool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from golive.promises.kinds import Globs, Seconds, UrlPath


@dataclass(frozen=True, slots=True)
class SquawkProbe:
    """
    Migrations in SQL lock no table for long and can be taken back, as squawk sees it (PostgreSQL).

    Attributes:
        files: the migrations.
        exclude: rules of squawk that do not count.
        pg_version: of the database, e.g. ``16``; some rules depend on it. Empty: squawk's own default.
        in_transaction: the migration tool wraps each file in a transaction.
    """

    files: Globs = ("**/migrations/**/*.sql",)
    exclude: tuple[str, ...] = ()
    pg_version: str = ""
    in_transaction: bool = False
    timeout: Seconds = 60.0


@dataclass(frozen=True, slots=True)
class AlembicCheckProbe:
    """
    The models need no migration nobody has written, as ``alembic check`` sees it.

    Attributes:
        config: alembic's file, relative to the project.
        env: laid over the environment; ``{scratch}`` is an empty folder, deleted with the gate.
        upgrade: brings the database to the newest migration first. For a throw-away database only.
        timeout: for each of the two.
    """

    config: str = "alembic.ini"
    env: Mapping[str, str] = field(default_factory=dict)
    upgrade: bool = False
    timeout: Seconds = 60.0


@dataclass(frozen=True, slots=True)
class DetectSecretsProbe:
    """
    No secret is in the tree beside those somebody has looked at, as detect-secrets sees it; it guesses by entropy too.

    Attributes:
        baseline: what ``detect-secrets scan`` wrote: its secrets do not count, and its settings are used. It is not
            changed. Empty: every secret counts.
    """

    baseline: str = ""
    timeout: Seconds = 120.0


@dataclass(frozen=True, slots=True)
class SchemathesisProbe:
    """
    Requests made from the service's own OpenAPI document are answered as it says, as schemathesis sees it.

    Attributes:
        path: of the document.
        checks: of schemathesis; its ``all`` asks for more than most services promise.
        examples: requests per operation and phase, about.
        exclude: regular expressions of paths that get no request.
    """

    path: UrlPath = "/openapi.json"
    checks: tuple[str, ...] = ("not_a_server_error", "response_schema_conformance")
    examples: int = 20
    exclude: tuple[str, ...] = ()
    timeout: Seconds = 300.0


@dataclass(frozen=True, slots=True)
class CfnLintProbe:
    """
    CloudFormation templates are ones AWS takes, as cfn-lint sees it.

    Attributes:
        files: the templates.
        regions: where they are used; empty: cfn-lint's own default.
        exclude: rules of cfn-lint that do not count, e.g. ``E3012``.
        fail_on: the mildest level that is a failure.
    """

    files: Globs
    regions: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    fail_on: Literal["error", "warning", "informational"] = "error"
    timeout: Seconds = 120.0


@dataclass(frozen=True, slots=True)
class HadolintProbe:
    """
    Dockerfiles are built as they should be, as hadolint sees it.

    Attributes:
        files: the Dockerfiles.
        exclude: rules of hadolint that do not count, e.g. ``DL3008``.
        fail_on: the mildest level that is a failure.
    """

    files: Globs = ("**/Dockerfile", "**/*.Dockerfile", "**/Dockerfile.*")
    exclude: tuple[str, ...] = ()
    fail_on: Literal["error", "warning", "info", "style"] = "warning"
    timeout: Seconds = 60.0


TABLES: dict[str, type] = {
    "squawk": SquawkProbe,
    "alembic_check": AlembicCheckProbe,
    "detect_secrets": DetectSecretsProbe,
    "schemathesis": SchemathesisProbe,
    "cfn_lint": CfnLintProbe,
    "hadolint": HadolintProbe,
}

"""golive.toml: every fault of every environment, and what follows from the settings alone."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from golive.config.children import service_environ
from golive.config.load import environments, faults_elsewhere, load_settings
from golive.config.render import notices
from golive.config.source import shown
from golive.db.sqlite import storage_errors
from golive.doctor.finding import Finding, fail, ok, warn
from golive.doctor.tables import schema
from golive.errors import ConfigError, StateError
from golive.jobs.stores.sqlite_statements import Statements

if TYPE_CHECKING:
    from golive.config import Settings


def configuration(path: Path | None, environment: str | None) -> tuple[Settings | None, list[Finding]]:
    """The settings, None when they are faulty, and every fault at once."""
    found: list[Finding] = []
    settings, said = None, set()
    try:
        settings = load_settings(path, environment=environment)
    except ConfigError as error:
        said = set(error.faults)
        found += [fail("configuration", fault, "") for fault in error.faults]
    else:
        assert settings.file is not None, "a missing file has raised"
        laid = f", environment {settings.environment}" if settings.environment else ""
        found.append(ok("configuration", f"{shown(settings.file)}{laid}: service {settings.service}"))
        found += [warn("configuration", notice, "") for notice in notices(settings)]
    try:
        names = environments(path)
        for name in names:
            for fault in faults_elsewhere(path, name, os.environ):
                if fault not in said:
                    said.add(fault)
                    found.append(warn("configuration", f"in environment {name}: {fault}", ""))
    except ConfigError:
        pass  # the file cannot be read at all: said above
    return settings, found


def commands(settings: Settings) -> Iterator[Finding]:
    """What ``[deploy]`` names is there: the programs and the env_file."""
    deploy = settings.deploy
    if not deploy.command and not deploy.worker_command:
        yield fail("deploy", 'expected app = "module:app" or a [deploy] command, got neither',
                   "Write one, or run `golive init`.")  # fmt: skip
    for key, command in (("command", deploy.command), ("worker_command", deploy.worker_command)):
        if not command:
            continue
        program = command[0].replace("{python}", sys.executable)
        if shutil.which(program, path=deploy.env.get("PATH")) or (settings.root / program).is_file():
            yield ok("deploy", f"{key}: {program}")
        else:
            yield fail("deploy", f"{key}: there is no program {program} on PATH",
                       "Write its path, or {python} -m ... for a module of this environment.")  # fmt: skip
    if deploy.env_file is not None and not os.access(settings.root / deploy.env_file, os.R_OK):
        yield fail("deploy", f"env_file {deploy.env_file} cannot be read", "Make it, or take the line away.")


def migrations(settings: Settings) -> Iterator[Finding]:
    """What ``[gates.applied_migrations]`` promises, asked by its gate: the database has the migrations of the tree."""
    if getattr(settings.gates, "applied_migrations", None) is None:
        return
    from golive.gates import run_gates
    from golive.targets import target_of

    report = asyncio.run(run_gates(["applied-migrations"], target_of(settings, "", {})))
    for result in report.results:
        said = result.outcome.sentence
        yield ok("migrations", said) if result.good else fail("migrations", said, "Apply them before you ship.")


def job_store(settings: Settings) -> Iterator[Finding]:
    """The SQLite file of the jobs, where they are kept in one: readable, and of a schema this golive knows."""
    url = service_environ(settings)["GOLIVE_JOBS_URL"]
    if settings.moves == "requests" and settings.origin("jobs", "url").kind == "default":
        return
    if not url.startswith("sqlite:///"):
        if not url.startswith(("postgres", "memory:")):
            yield warn("database", f"jobs are kept at {url.partition('://')[0]}, which the doctor does not ask",
                       "Try `golive jobs stats`.")  # fmt: skip
        return
    path, component = Path(url.removeprefix("sqlite:///")), f"jobs:{settings.jobs.table}"
    if not path.exists():
        yield schema(str(path), component, None, 0)
        return
    try:
        with storage_errors(path), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            said, there = file.execute("pragma quick_check(1)").fetchone()[0], _version(file, component)
    except StateError as error:
        yield fail("database", str(error), "")
        return
    if said != "ok":
        yield fail("database", f"{path}: {said}", "Restore a backup; jobs in it may be lost.")
    else:
        yield schema(str(path), component, there, len(Statements(settings.jobs.table).steps))


def _version(file: sqlite3.Connection, component: str) -> int | None:
    if not file.execute("select 1 from sqlite_schema where name = 'golive_schema'").fetchone():
        return None
    row = file.execute("select version from golive_schema where component = ?", (component,)).fetchone()
    return int(row[0]) if row else None

"""
Gates that ask a tool of others prove themselves with the real tool: a planted file turns exactly its gate red, and a
tool that is missing, crashes or hangs is never a pass.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from golive.gates import Outcome, Target, Verdict, run_gates
from golive.promises import tools as promised

pytestmark = pytest.mark.process
MIGRATION = "SET lock_timeout = '1s';\nSET statement_timeout = '5s';\n"
MODELS = """
import sqlalchemy as sa

META = sa.MetaData()
sa.Table("orders", META, sa.Column("id", sa.Integer, primary_key=True))
"""
ENVIRONMENT = """
import os
import sys

import sqlalchemy as sa
from alembic import context

sys.path.insert(0, ".")
from models import META

with sa.create_engine(os.environ["DATABASE_URL"]).connect() as connection:
    context.configure(connection=connection, target_metadata=META)
    with context.begin_transaction():
        context.run_migrations()
"""
FIRST = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None


def upgrade():
    op.create_table("orders", sa.Column("id", sa.Integer, primary_key=True))
"""
HEALTHY = {
    "db/migrations/0001.sql": MIGRATION + "ALTER TABLE orders ADD COLUMN IF NOT EXISTS note text;\n",
    "alembic.ini": "[alembic]\nscript_location = versions_of_shop\n",
    "models.py": MODELS,
    "versions_of_shop/env.py": ENVIRONMENT,
    "versions_of_shop/versions/0001.py": FIRST,
}
#: gate: what is wrong -> file, its content, and the place and the word of the finding
PLANTED = {
    "squawk: a column every old writer would miss": (
        "db/migrations/0002.sql",
        MIGRATION + "\nALTER TABLE orders ADD COLUMN IF NOT EXISTS cents int NOT NULL;\n",
        ("db/migrations/0002.sql", 4, "adding-required-field"),
    ),
    "squawk: an index that blocks writers": (
        "db/migrations/0002.sql",
        MIGRATION + "CREATE INDEX IF NOT EXISTS orders_note ON orders (note);\n",
        ("db/migrations/0002.sql", 3, "require-concurrent-index-creation"),
    ),
    "alembic-check: a column in no migration": (
        "models.py",
        MODELS.replace("primary_key=True)", 'primary_key=True), sa.Column("note", sa.Text)'),
        ("alembic.ini", 0, "add_column"),
    ),
}  # fmt: skip
GATES = [*dict.fromkeys(defect.partition(":")[0] for defect in PLANTED)]
PROGRAMS = {
    "squawk": ("squawk", "squawk-cli"),
    "alembic-check": ("alembic", "alembic"),
}  # fmt: skip
PROMISES = (
    promised.SquawkProbe(exclude=("prefer-bigint-over-int",)),
    promised.AlembicCheckProbe(env={"DATABASE_URL": "sqlite:///{scratch}/check.db"}, upgrade=True),
)


def plant(root: Path, files: dict[str, str]) -> Target:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Target(root=root, promises=PROMISES)


async def outcome(gate: str, target: Target) -> Outcome:
    (result,) = (await run_gates([gate], target)).results
    return result.outcome


def tool(folder: Path, program: str, script: str) -> None:
    """An executable of that name, where a gate looks first."""
    folder.mkdir(exist_ok=True)
    (folder / program).write_text(f"#!/bin/sh\n{script}\n")
    (folder / program).chmod(0o755)


@pytest.fixture
def own_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it yet, and an interpreter with nothing beside it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere" / "python"))
    return folder


async def test_a_healthy_project_is_green_with_every_tool(tmp_path: Path, prove: Callable[..., None]) -> None:
    """Otherwise red would mean nothing. The tools are the real ones."""
    prove(await run_gates(GATES, plant(tmp_path, HEALTHY)), "")


@pytest.mark.parametrize("defect", PLANTED)
async def test_a_planted_file_is_found_where_it_is(tmp_path: Path, prove: Callable[..., None], defect: str) -> None:
    """By its tool, with file and line."""
    name, text, (file, line, word) = PLANTED[defect]
    report = await run_gates([defect.partition(":")[0]], plant(tmp_path, {**HEALTHY, name: text}))
    prove(report, defect)
    (found,) = report.results[0].outcome.evidence["findings"]
    assert (found["file"], found["line"]) == (file, line)
    assert word in found["text"]


@pytest.mark.parametrize("gate", GATES)
async def test_a_tool_that_is_missing_is_named_with_what_to_install(tmp_path: Path, own_path: Path, gate: str) -> None:
    """Never a pass, and nobody has to guess."""
    found = await outcome(gate, plant(tmp_path / "shop", HEALTHY))
    program, install = PROGRAMS[gate]
    assert found.verdict is Verdict.UNAVAILABLE
    assert f"{program} is not installed" in found.sentence
    assert f"Install {install}" in found.sentence


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'panicked at the disco' >&2; exit 101", "ended with 101: panicked at the disco"),
        ("echo '[]'; echo 'half an answer' >&2; exit 1", "ended with 1: half an answer"),
        ("echo 'no JSON at all'; exit 1", "ended with 1: no JSON at all"),
        ("kill -9 $$", "ended with -9: without a word"),
    ],
)
async def test_a_tool_that_crashes_is_unavailable_with_its_last_words(
    tmp_path: Path, own_path: Path, gate: str, script: str, said: str
) -> None:
    """Exit code 1 alone is not a finding: it must name one."""
    tool(own_path, PROGRAMS[gate][0], script)
    found = await outcome(gate, plant(tmp_path / "shop", HEALTHY))
    assert (found.verdict, said in found.sentence) == (Verdict.UNAVAILABLE, True), found.sentence


async def test_a_tool_that_hangs_is_killed(tmp_path: Path, own_path: Path) -> None:
    """In its own time, not in the scheduler's."""
    tool(own_path, "squawk", "while :; do :; done")
    target = plant(tmp_path / "shop", HEALTHY)
    found = await outcome("squawk", Target(root=target.root, promises=(promised.SquawkProbe(timeout=0.2),)))
    assert found.verdict is Verdict.UNAVAILABLE
    assert "squawk was not done within 0.2 s and was killed" in found.sentence


async def test_a_tool_that_floods_is_unavailable(tmp_path: Path, own_path: Path) -> None:
    """Half of an answer could be the green half."""
    tool(own_path, "squawk", "/usr/bin/head -c 9000000 /dev/zero; exit 1")
    found = await outcome("squawk", plant(tmp_path / "shop", HEALTHY))
    assert found.verdict is Verdict.UNAVAILABLE
    assert "9000000 bytes" in found.sentence


@pytest.mark.parametrize("gate", GATES)
async def test_nothing_to_look_at_is_no_pass(tmp_path: Path, gate: str) -> None:
    """An empty folder has no findings either."""
    assert (await outcome(gate, plant(tmp_path, {}))).verdict is Verdict.UNAVAILABLE


async def test_a_database_without_the_migrations_proves_nothing(tmp_path: Path) -> None:
    """alembic then says nothing about the models."""
    target = plant(tmp_path, HEALTHY)
    bare = promised.AlembicCheckProbe(env={"DATABASE_URL": "sqlite:///{scratch}/check.db"})
    found = await outcome("alembic-check", Target(root=target.root, promises=(bare,)))
    assert found.verdict is Verdict.UNAVAILABLE
    assert "Target database is not up to date" in found.sentence

"""
Gates that ask a tool of others prove themselves with the real tool: a planted file turns exactly its gate red, and a
tool that is missing, crashes or hangs is never a pass.
"""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from golive.gates import Outcome, Target, Verdict, run_gates
from golive.gates.tool import run_tool
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
TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Resources:
  Jobs:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 720
"""
HEALTHY = {
    "deploy/queue.yaml": TEMPLATE,
    "Dockerfile": "FROM debian:12.8\nCOPY . /shop\n",
    "db/migrations/0001.sql": MIGRATION + "ALTER TABLE orders ADD COLUMN IF NOT EXISTS note text;\n",
    "alembic.ini": "[alembic]\nscript_location = versions_of_shop\n",
    "models.py": MODELS,
    "versions_of_shop/env.py": ENVIRONMENT,
    "versions_of_shop/versions/0001.py": FIRST,
}
#: gate: what is wrong -> file, its content, and the place and the word of the finding
PLANTED = {
    "detect-secrets: a key": (
        "shop/pay.py", "X = 1\nKEY = 'AKIA" + "Q3EGRIJ7ZV6TLNXW'\n", ("shop/pay.py", 2, "AWS Access Key"),
    ),
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
    "cfn-lint: a number that is none": (
        "deploy/queue.yaml", TEMPLATE.replace("720", "many"), ("deploy/queue.yaml", 7, "E3012"),
    ),
}  # fmt: skip
#: what is wrong with the service -> status and body of an order whose page is no number
ANSWERS = {
    "": (400, {}),
    "schemathesis: a wrong page is a server error": (500, {}),
    "schemathesis: an answer the document does not know": (400, {"page": "x"}),
}
PAGE = {"name": "page", "in": "query", "schema": {"type": "integer"}}
BODY = {"application/json": {"schema": {"type": "object", "properties": {"page": {"type": "integer"}}}}}
RESPONSES = {"200": {"description": "an order", "content": BODY}, "400": {"description": "no", "content": BODY}}
DOCUMENT = {
    "openapi": "3.0.3",
    "info": {"title": "shop", "version": "1"},
    "paths": {"/orders": {"get": {"parameters": [PAGE], "responses": RESPONSES}}},
}
GATES = [*dict.fromkeys(defect.partition(":")[0] for defect in [*PLANTED, *ANSWERS] if defect)]
ALL = [*GATES, "hadolint"]  # nobody packages hadolint for the tests: its answers are written down below
PROGRAMS = {
    "cfn-lint": ("cfn-lint", "cfn-lint"),
    "hadolint": ("hadolint", "hadolint"),
    "squawk": ("squawk", "squawk-cli"),
    "alembic-check": ("alembic", "alembic"),
    "detect-secrets": ("detect-secrets", "detect-secrets"),
    "schemathesis": ("schemathesis", "schemathesis"),
}  # fmt: skip
PROMISES = (
    promised.SquawkProbe(exclude=("prefer-bigint-over-int",)),
    promised.AlembicCheckProbe(env={"DATABASE_URL": "sqlite:///{scratch}/check.db"}, upgrade=True),
    promised.DetectSecretsProbe(),
    promised.SchemathesisProbe(examples=3),
    promised.CfnLintProbe(("deploy/*.yaml",), regions=("us-east-1",)),
    promised.HadolintProbe(exclude=("DL3008",)),
)


class Shop(BaseHTTPRequestHandler):
    """A service that is described, and can be told to have one defect."""

    defect = ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        page = parse_qs(query, keep_blank_values=True).get("page", ["1"])[0]
        if path == "/openapi.json":
            self.answer(200, DOCUMENT)
        elif path == "/health/ready":
            self.answer(200, {})
        elif path == "/orders":
            self.answer(200, {"page": int(page)}) if page.isdecimal() else self.answer(*ANSWERS[self.defect])
        else:
            self.answer(404, {})

    def do_POST(self) -> None:
        self.close_connection = True
        self.answer(405, {})

    do_PUT = do_PATCH = do_DELETE = do_TRACE = do_OPTIONS = do_HEAD = do_QUERY = do_POST

    def answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[str], str]]:
    """Serves the shop with a defect, and returns its URL."""
    servers = []

    def start(defect: str) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Defective", (Shop,), {"defect": defect}))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def plant(root: Path, files: dict[str, str], url: str = "") -> Target:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Target(url=url, root=root, promises=PROMISES)


async def outcome(gate: str, target: Target) -> Outcome:
    return next(result.outcome for result in (await run_gates([gate], target)).results if result.gate == gate)


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


async def test_a_healthy_project_is_green_with_every_tool(
    tmp_path: Path, prove: Callable[..., None], serve: Callable[[str], str]
) -> None:
    """Otherwise red would mean nothing. The tools are the real ones."""
    prove(await run_gates(GATES, plant(tmp_path, HEALTHY, serve(""))), "")


@pytest.mark.parametrize("defect", PLANTED)
async def test_a_planted_file_is_found_where_it_is(tmp_path: Path, prove: Callable[..., None], defect: str) -> None:
    """By its tool, with file and line."""
    name, text, (file, line, word) = PLANTED[defect]
    report = await run_gates([defect.partition(":")[0]], plant(tmp_path, {**HEALTHY, name: text}))
    prove(report, defect)
    (found,) = report.results[0].outcome.evidence["findings"]
    assert (found["file"], found["line"]) == (file, line)
    assert word in found["text"]


@pytest.mark.parametrize("defect", [defect for defect in ANSWERS if defect])
async def test_a_service_that_breaks_its_description_is_red(
    prove: Callable[..., None], serve: Callable[[str], str], defect: str
) -> None:
    """With the operation, and a request that shows it."""
    report = await run_gates(["schemathesis"], Target(url=serve(defect), promises=PROMISES))
    prove(report, defect)
    found = report.results[-1].outcome
    assert found.evidence["failures"][0]["operation"] == "GET /orders"
    assert "/orders?page=" in found.evidence["output_tail"]
    assert "GET /orders" in found.sentence


async def test_a_service_without_a_description_cannot_be_judged(serve: Callable[[str], str]) -> None:
    """A missing document is no document without errors."""
    lost = promised.SchemathesisProbe(path="/nowhere.json")
    found = await outcome("schemathesis", Target(url=serve(""), promises=(lost,)))
    assert found.verdict is Verdict.UNAVAILABLE
    assert "schemathesis ended with" in found.sentence


async def test_headers_of_the_caller_reach_the_service_and_stay_out_of_the_evidence(
    tmp_path: Path, own_path: Path, serve: Callable[[str], str]
) -> None:
    """Neither on a command line that everybody on the machine can read, nor in a report."""
    tool(own_path, "schemathesis", 'echo "$@"; /usr/bin/cat schemathesis.toml; echo "it is $GOLIVE_HEADER_0"; exit 2')
    found = await outcome(
        "schemathesis", replace(Target(url=serve(""), promises=PROMISES), headers={"X-Key": "k-4711"})
    )
    assert '"X-Key" = "${GOLIVE_HEADER_0}"' in found.sentence
    assert "it is [header]" in found.sentence
    assert "4711" not in found.sentence


async def test_a_secret_somebody_looked_at_is_in_the_baseline(tmp_path: Path) -> None:
    """It does not count, a new one beside it does, and the file is left as it was."""
    _, text, _ = PLANTED["detect-secrets: a key"]
    target = plant(tmp_path, {**HEALTHY, "shop/pay.py": text})
    ran = await run_tool("detect-secrets", ["scan", "--all-files", "-n", "shop"], install="", root=tmp_path, timeout=60)
    plant(tmp_path, {".secrets.baseline": ran.output})
    target = replace(target, promises=(promised.DetectSecretsProbe(baseline=".secrets.baseline"),))
    assert (await outcome("detect-secrets", target)).verdict is Verdict.PASS
    plant(tmp_path, {"shop/more.py": text.replace("Q3", "QZ")})
    found = await outcome("detect-secrets", target)
    assert [finding["file"] for finding in found.evidence["findings"]] == ["shop/more.py"]
    assert (tmp_path / ".secrets.baseline").read_text() == ran.output
    plant(tmp_path, {".secrets.baseline": "{"})
    assert "Unable to read baseline" in (await outcome("detect-secrets", target)).sentence


@pytest.mark.parametrize("gate", ALL)
async def test_a_tool_that_is_missing_is_named_with_what_to_install(
    tmp_path: Path, own_path: Path, serve: Callable[[str], str], gate: str
) -> None:
    """Never a pass, and nobody has to guess."""
    found = await outcome(gate, plant(tmp_path / "shop", HEALTHY, serve("")))
    program, install = PROGRAMS[gate]
    assert found.verdict is Verdict.UNAVAILABLE
    assert f"{program} is not installed" in found.sentence
    assert f"Install {install}" in found.sentence


@pytest.mark.parametrize("gate", ALL)
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
    tmp_path: Path, own_path: Path, serve: Callable[[str], str], gate: str, script: str, said: str
) -> None:
    """Exit code 1 alone is not a finding: it must name one."""
    tool(own_path, PROGRAMS[gate][0], script)
    found = await outcome(gate, plant(tmp_path / "shop", HEALTHY, serve("")))
    assert (found.verdict, said in found.sentence) == (Verdict.UNAVAILABLE, True), found.sentence


@pytest.mark.parametrize(
    ("defect", "level"),
    [("", "info"), ("hadolint: the newest of everything", "warning"), ("hadolint: no root", "error")],
)
async def test_what_hadolint_says_is_read(
    tmp_path: Path, own_path: Path, prove: Callable[..., None], defect: str, level: str
) -> None:
    """Its JSON, as hadolint 2 writes it; what is milder than `fail_on` does not count."""
    entry = {"code": "DL3007", "column": 1, "file": "./Dockerfile", "level": level, "line": 2, "message": "Pin it"}
    tool(own_path, "hadolint", f"echo \"$@\" > arguments; echo '{json.dumps([entry])}'; exit 1")
    report = await run_gates(["hadolint"], plant(tmp_path / "shop", HEALTHY))
    prove(report, defect)
    if defect:
        (found,) = report.results[0].outcome.evidence["findings"]
        assert found == {"file": "Dockerfile", "line": 2, "text": "DL3007: Pin it"}
    assert (tmp_path / "shop/arguments").read_text() == "--format=json --ignore=DL3008 ./Dockerfile\n"


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


@pytest.mark.parametrize("gate", ALL)
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

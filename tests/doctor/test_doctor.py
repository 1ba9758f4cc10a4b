"""What the doctor finds: each thing that can be wrong is made wrong for real, and is found by name with a remedy."""

from __future__ import annotations

import fcntl
import http.server
import json
import os
import resource
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import msgspec
import pytest

from golive.cli import VERBS
from golive.cli.frame import app_for
from golive.doctor import machine, network, processes, record
from golive.doctor.examination import examine
from golive.doctor.finding import Finding, Level
from golive.project import project_at
from golive.rollout import events as ev
from golive.rollout.deployers.instance import MARK, Instance, Instances
from golive.rollout.journal import Journal
from golive.rollout.lease import Holder, Lease
from golive.rollout.machine import begin
from golive.rollout.plan import Stage, make_plan
from golive.rollout.processes import Process, identify
from golive.rollout.routers.envoy_gateway import Running

CONFIG = 'service = "web"\napp = "main:app"\n[gateway]\nport = 0\n'
PLAN = make_plan([Stage(1000, timedelta(0)), Stage(10_000, timedelta(0))])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project nothing was started in yet, as the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GOLIVE_")]:
        monkeypatch.delenv(name)
    (tmp_path / "golive.toml").write_text(CONFIG)
    return tmp_path


def bad(folder: Path | None = None, environment: str | None = None) -> list[Finding]:
    """Whatever is not OK, without what depends on the machine the tests run on."""
    ours = ("python", "golive", "open files", "disk", "envoy")
    return [one for one in examine(folder, environment) if one.level is not Level.OK and one.check not in ours]


def one_bad(level: Level, check: str) -> str:
    """The single finding that is not OK, which is of *check*; its sentence and remedy."""
    (found,) = bad()
    assert (found.level, found.check) == (level, check)
    return f"{found.found}. {found.remedy}"


def journal_in(folder: Path) -> Journal:
    """The journal of the project."""
    return Journal(folder / ".golive" / "golive.db")


def rollout_in(folder: Path, *, at: datetime | None = None, holder: Holder | None = None) -> None:
    """A rollout that has begun, by *holder* or this process."""
    now = datetime.now(UTC)
    with closing(journal_in(folder)) as journal:
        fence = Lease(journal.connection, "web", holder).acquire(now)
        event = ev.Started(
            at=at or now, id="web-1", service="web", stable="v1", candidate="v2", plan=PLAN, judging={"slo": {}}
        )
        journal.append(event, begin(event)[0], None, fence=fence)


@contextmanager
def sleeper(**environ: str) -> Iterator[Process]:
    """A process that does nothing, in a session of its own."""
    code = "import time; print(flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, **environ}, stdout=subprocess.PIPE, start_new_session=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = identify(child.pid)
        assert found is not None
        try:
            yield found
        finally:
            child.kill()


def test_nothing_is_wrong_with_a_new_project(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every line OK, and no file was made."""
    assert bad() == []
    assert app_for(VERBS, ["doctor"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(" 0 FAIL")
    assert [path.name for path in project.iterdir()] == ["golive.toml"]


def test_every_fault_of_the_settings_is_told_at_once_and_the_rest_still_looked_at(project: Path) -> None:
    """Two faults here, one in another environment; the record is examined although the settings are faulty."""
    text = CONFIG.replace("port = 0", "prot = 0") + "[rollout]\ntick = 5\n[environments.staging.load]\nrate = -1\n"
    (project / "golive.toml").write_text(text)
    told = bad()
    assert [one.level for one in told if one.check == "configuration"] == [Level.FAIL, Level.FAIL, Level.WARN]
    assert "golive.toml:4:1" in told[0].found
    assert 'did you mean "port"?' in told[0].found
    assert "in environment staging" in told[2].found
    assert told[-1].check == "not looked at"
    assert "journal" in {one.check for one in examine()}


def test_without_any_project_the_machine_is_examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is said with the command that makes it."""
    monkeypatch.chdir(tmp_path)
    (first, second) = bad()
    assert "golive init" in first.found
    assert second.check == "not looked at"


def test_shells_get_a_code_and_scripts_get_json(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 3 with something to mend; --quiet leaves out what is well."""
    (project / "golive.toml").write_text(CONFIG + "[load]\nrate = -1\n")
    assert app_for(VERBS, ["doctor", "--json", "--quiet"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert (told["schema"], told["ok"]) == ("golive/doctor/v1", False)
    assert {one["level"] for one in told["findings"]} <= {"WARN", "FAIL"}
    assert set(told["findings"][0]) == {"check", "level", "found", "remedy"}


def test_a_taken_port_is_named_with_its_owner(project: Path) -> None:
    """Who has it, and what to do."""
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        port = squatter.getsockname()[1]
        (project / "golive.toml").write_text(CONFIG.replace("port = 0", f"port = {port}"))
        said = one_bad(Level.FAIL, "ports")
    assert f"gateway.port = {port}" in said
    assert f"process {os.getpid()}" in said


def test_a_program_that_is_not_there_is_named(project: Path) -> None:
    """The command of a version, before anybody ships one."""
    (project / "golive.toml").write_text('service = "web"\n[deploy]\ncommand = ["no-such-program"]\n')
    assert "no program no-such-program" in one_bad(Level.FAIL, "deploy")
    (project / "golive.toml").write_text('service = "web"\n')
    assert "golive init" in one_bad(Level.FAIL, "deploy")
    (project / "golive.toml").write_text(CONFIG + '[deploy]\nenv_file = "secrets.env"\n')
    assert "secrets.env" in one_bad(Level.FAIL, "deploy")


@pytest.mark.parametrize(
    ("script", "level", "said"),
    [
        ("#!/bin/sh\necho 'envoy  version: abc/1.36.2/Clean/RELEASE/BoringSSL'\n", Level.OK, "1.36.2"),
        ("#!/bin/sh\necho cannot execute >&2; exit 1\n", Level.FAIL, "cannot execute"),
        ("no program at all", Level.FAIL, "--force-reinstall"),
    ],
    ids=["works", "fails", "of another processor"],
)
def test_the_gateways_program_is_started_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, level: Level, said: str
) -> None:
    """Present is not enough: it has to run here."""
    program = tmp_path / "envoy"
    program.write_text(script)
    program.chmod(0o755)
    monkeypatch.setattr("golive.rollout.routers.envoy_gateway.envoy_binary", lambda: program)
    (found,) = machine.gateway_program()
    assert found.level is level
    assert said in str(found)


def test_a_missing_gateway_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """golive was installed without it."""
    monkeypatch.setitem(sys.modules, "envoy", None)
    (found,) = machine.gateway_program()
    assert found.level is Level.FAIL
    assert "golive[gateway]" in found.found


def test_limits_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few open files, a full disk, an old interpreter: with the figure."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 524_288))
    (few,) = machine.open_files()
    assert (few.level, "about 512 clients" in few.found, "ulimit -n" in few.remedy) == (Level.WARN, True, True)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: Free(50 * 1024**2))
    assert next(iter(machine.disk(tmp_path / "not" / "there"))).level is Level.FAIL
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    assert next(iter(machine.python())).level is Level.WARN


class Free:
    """What :func:`shutil.disk_usage` returns, as far as it is looked at."""

    def __init__(self, free: int) -> None:
        self.free = free


def test_another_golive_on_the_path_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Typing golive would run that one."""
    other = tmp_path / "golive"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (found,) = machine.golive()
    assert found.level is Level.WARN
    assert str(other) in found.found


def test_an_altered_journal_is_found(project: Path) -> None:
    """The chain of hashes does not hold any more."""
    rollout_in(project)
    with closing(journal_in(project)) as journal:
        journal.connection.execute("drop trigger journal_is_append_only_update")
        journal.connection.execute("update journal set body = replace(body, 'v2', 'v9')")
    said = one_bad(Level.FAIL, "journal")
    assert "rollout web-1: entry 1: its content does not match its hash" in said


@pytest.mark.parametrize(
    ("content", "failed"),
    [(b"no database at all, only from afar", {"journal"}), (b"", set())],
    ids=["rubbish", "empty"],
)
def test_a_file_that_is_no_journal_is_left_alone(project: Path, content: bytes, failed: set[str]) -> None:
    """Nothing is made of it, nothing in it is changed."""
    path = project / ".golive" / "golive.db"
    path.parent.mkdir()
    path.write_bytes(content)
    assert {one.check for one in bad()} == failed
    assert path.read_bytes() == content


def test_a_database_of_somebody_else_gets_no_tables(project: Path) -> None:
    """A SQLite file that golive did not make is not made into a journal."""
    path = project / ".golive" / "golive.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.execute("create table recipes (name)")
    assert "not a journal of golive" in " ".join(one.found for one in bad())
    with closing(sqlite3.connect(path)) as other:
        assert [row[0] for row in other.execute("select name from sqlite_schema")] == ["recipes"]


def test_entries_from_the_future_are_about_the_clock(project: Path) -> None:
    """Soaks and leases would be measured wrongly."""
    rollout_in(project, at=datetime.now(UTC) + timedelta(hours=1))
    assert "in the future" in one_bad(Level.FAIL, "clock")


def test_a_rollout_nobody_controls_is_told_with_both_ways_on(project: Path) -> None:
    """Its controller is dead: go on or go back."""
    with sleeper() as gone:
        rollout_in(project, holder=Holder(socket.gethostname(), gone.pid, gone.started))
    said = one_bad(Level.FAIL, "controller")
    assert "web-1 is under way" in said
    assert "golive up" in said
    assert "golive abort" in said


def test_a_controller_that_lives_and_does_not_renew_is_told(project: Path) -> None:
    """Stopped, or hanging: its lease has run out and its process is there."""
    rollout_in(project)
    with closing(journal_in(project)) as journal:
        journal.connection.execute("update lease set expires_at = '2026-01-01T00:00:00Z'")
    assert f"kill {os.getpid()}" in one_bad(Level.FAIL, "controller")


def test_a_lease_far_in_the_future_is_about_the_clock(project: Path) -> None:
    """A holder whose clock is ahead would be waited for."""
    rollout_in(project)
    with closing(journal_in(project)) as journal:
        journal.connection.execute("update lease set expires_at = '2999-01-01T00:00:00Z'")
    assert "too far in the future" in one_bad(Level.FAIL, "clock")


def test_requests_nobody_answers_are_told(project: Path) -> None:
    """Somebody asked a while ago and no controller runs."""
    with closing(journal_in(project)) as journal:
        journal.ask("web", "ada", "pause", {}, datetime.now(UTC) - timedelta(minutes=5))
    assert "1 requests wait" in one_bad(Level.WARN, "controller")


def test_a_lock_that_is_held_is_told_with_its_holder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work under a lock takes milliseconds."""
    monkeypatch.setattr(record, "LOCK_SECONDS", 0.01)
    lock = project / ".golive" / "processes" / "lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        said = one_bad(Level.WARN, "locks")
    assert f"process {os.getpid()}" in said
    assert bad() == []


def test_orphans_and_versions_without_a_reason_are_told(project: Path) -> None:
    """One process no record names, and one that is recorded and that no rollout knows."""
    home = Instances(project / ".golive" / "processes")
    with closing(journal_in(project)) as journal:
        journal.adopt("web", "v1", datetime.now(UTC))
    with sleeper(**{MARK: home.mark("v7")}) as orphan, sleeper(**{MARK: home.mark("v8")}) as idle:
        home.save(Instance("v8", idle, "127.0.0.1:1", 0.0))
        told = {one.check: one for one in bad()}
    assert f"process {orphan.pid} " in told["orphans"].found
    assert f"kill {orphan.pid}" in told["orphans"].remedy
    assert told["versions"].found.startswith("v8 runs")
    assert set(told) == {"orphans", "versions"}


def test_state_that_everybody_can_change_is_told(project: Path) -> None:
    """The record would prove nothing."""
    state = project / ".golive"
    state.mkdir()
    state.chmod(0o777)
    assert f"chmod -R o-w {state}" in one_bad(Level.FAIL, "state folder")


class Admin(http.server.BaseHTTPRequestHandler):
    """A gateway's admin port with a clock of its own."""

    status = 200
    at = datetime.now(UTC)

    def do_GET(self) -> None:
        """Answer, and say what time it is."""
        self.send_response_only(self.status)
        self.send_header("Date", format_datetime(self.at, usegmt=True))
        self.end_headers()
        self.wfile.write(b"DRAINING\n")

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@contextmanager
def admin(project: Path) -> Iterator[None]:
    """A process that is recorded as the gateway, with the admin port of a thread of ours."""
    with http.server.HTTPServer(("127.0.0.1", 0), Admin) as server, sleeper() as process:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        folder = project / ".golive" / "gateway"
        folder.mkdir(parents=True)
        running = Running(process, "node", "127.0.0.1", 1, server.server_address[1])
        (folder / "gateway.json").write_bytes(msgspec.json.encode(running))
        try:
            yield
        finally:
            server.shutdown()


def test_a_gateway_is_asked_whether_it_is_ready_and_what_time_it_is(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ready and in time; an hour behind; draining; silent."""
    with admin(project):
        monkeypatch.setattr(Admin, "at", datetime.now(UTC))
        assert bad() == []
        monkeypatch.setattr(Admin, "at", datetime.now(UTC) - timedelta(hours=1))
        assert "clock of the gateway" in one_bad(Level.WARN, "clock")
        monkeypatch.setattr(Admin, "at", datetime.now(UTC))
        monkeypatch.setattr(Admin, "status", 503)
        assert "is not ready: DRAINING" in one_bad(Level.FAIL, "gateway")
        (project / "golive.toml").write_text(CONFIG.replace("port = 0", "port = 8765"))
        monkeypatch.setattr(Admin, "status", 200)
        assert "after `golive down`" in one_bad(Level.WARN, "ports")
        with closing(journal_in(project)) as journal:
            journal.adopt("web", "v1", datetime.now(UTC))
        assert "v1 is in production, and its process is gone" in " ".join(one.found for one in bad())


@pytest.mark.parametrize(
    ("answer", "level"), [(b"+PONG\r\n", Level.OK), (b"-NOAUTH\r\n", Level.OK), (b"HTTP/1.1 400\r\n", Level.FAIL)]
)
def test_redis_is_asked(project: Path, answer: bytes, level: Level) -> None:
    """It answers, with or without a password; something else answers; nobody does."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(100)
                peer.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        url = f"redis://127.0.0.1:{server.getsockname()[1]}"
        (project / "golive.toml").write_text(CONFIG + f'[chassis]\nredis_url = "{url}"\n')
        (found,) = [one for one in examine() if one.check == "redis"]
    assert found.level is level
    assert "does not answer" in one_bad(Level.FAIL, "redis")


def test_the_file_of_the_jobs_is_looked_at_where_jobs_are_moved(project: Path) -> None:
    """Not there yet; rubbish."""
    text = 'service = "web"\n[deploy]\nworker_command = ["{python}", "-m", "golive", "worker", "main"]\n'
    (project / "golive.toml").write_text(text + "[gates]\npreflight = []\n")
    assert bad() == []
    path = project / ".golive" / "jobs.db"
    path.parent.mkdir()
    path.write_bytes(b"no database at all")
    assert "jobs.db" in one_bad(Level.FAIL, "database")


def test_what_a_check_meets_does_not_keep_the_others_from_looking(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in one is a finding of its own."""

    def broken(_: object) -> Iterator[Finding]:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(network, "ports", broken)
    assert "ZeroDivisionError" in one_bad(Level.FAIL, "ports")
    assert "deploy" in {one.check for one in examine()}


def test_processes_of_other_projects_are_not_ours(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The mark carries the folder of the state."""
    other = Instances(tmp_path_factory.mktemp("other") / ".golive" / "processes")
    with sleeper(**{MARK: other.mark("v7")}):
        assert [one.level for one in processes.orphans(project_at(project))] == [Level.OK]

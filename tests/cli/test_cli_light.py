"""What a short command loads, and that its short reading of golive.toml says what the long one says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from golive.config import Settings, load_settings
from golive.errors import ConfigError
from golive.project import Project, project_at

HEAVY = ("pydantic", "rich", "numpy", "fastapi", "starlette", "uvicorn", "httptools", "boto3", "botocore", "redis",
         "sqlalchemy", "asyncpg", "psycopg", "sentry_sdk", "yaml", "litestar", "golive.wiring", "golive.movers",
         "golive.targets", "golive.gates", "golive.jobs", "golive.chassis", "golive.load", "golive.workers",
         "golive.config.settings", "golive.rollout.judge", "golive.rollout.controller", "golive.testing")  # fmt: skip
"""What a command that only talks to what runs has no use for, and what each would cost it at every start."""

LIGHT = (["--help"], ["--version"], ["status"], ["status", "-o", "json"], ["abort", "now"], ["pause"], ["resume"],
         ["approve"], ["reject"], ["retry"], ["watch"], ["rollback", "--help"], ["status", "--help"],
         ["abort", "--help"], ["init", "--help"], ["init", "--app", "main:app"], ["init"])  # fmt: skip

PROBE = """
import json, sys
from golive.cli import main
heavy, loaded = json.loads(sys.argv[1]), {}
for words in json.loads(sys.argv[2]):
    before = set(sys.modules)
    try:
        main(words)
    except SystemExit:
        pass
    loaded[" ".join(words)] = [name for name in heavy if name in sys.modules and name not in before]
json.dump(loaded, sys.stderr)
"""


def loads(folder: Path, heavy: tuple[str, ...], commands: tuple[list[str], ...]) -> dict[str, list[str]]:
    """Which of *heavy* each of *commands* loads, one after the other in one process."""
    words = [sys.executable, "-c", PROBE, json.dumps(heavy), json.dumps(commands)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stderr.splitlines()[-1])


def test_commands_that_talk_to_what_runs_load_nothing_else(tmp_path: Path) -> None:
    """Status, abort and the answers of people: no model of the settings, no room beside the journal, no library."""
    (tmp_path / "golive.toml").write_text('service = "web"\napp = "main:app"\n[gateway]\nport = 0\n')
    assert {name: found for name, found in loads(tmp_path, HEAVY, LIGHT).items() if found} == {}


def test_a_plan_and_the_jobs_load_what_they_are_about(tmp_path: Path) -> None:
    """A plan has a judge and settings, a list of jobs a store; neither has gates, a gateway or a cloud."""
    (tmp_path / "golive.toml").write_text('service = "web"\napp = "main:app"\n')
    about = {"pydantic", "rich", "golive.jobs", "golive.config.settings", "golive.rollout.judge"}
    heavy = tuple(name for name in HEAVY if name not in about)
    found = loads(tmp_path, heavy, (["plan"], ["jobs", "list"], ["jobs", "--help"], ["explain"], ["verify"]))
    assert {name: loaded for name, loaded in found.items() if loaded} == {}


FILES = {
    "plain": 'service = "web"',
    "state folder": 'service = "web"\nstate_dir = "elsewhere/state"',
    "absolute": 'service = "web"\nstate_dir = "/nowhere/state"',
    "home": 'service = "web"\nstate_dir = "~/state"',
    "no service": "app = 'main:app'",
    "from a variable": 'service = "${SERVICE}"\nstate_dir = "${STATE:-fallback}"',
    "an escaped variable": 'service = "web"\nstate_dir = "$${x}"',
    "environments": 'service = "web"\n[environments.staging]\nstate_dir = "staging"\n[environments.demo]\n',
    "jobs": 'service = "web"\n[deploy]\nworker_command = ["{python}", "-m", "golive", "worker", "main"]',
    "moves": 'service = "web"\napp = "main:app"\n[rollout]\nmoves = "requests"',
    "jobs in an environment": 'service = "web"\n[environments.staging.deploy]\nworker_command = ["x"]',
    "no text": "service = 7",
    "no name": 'service = "Not A Name"',
    "too long": f'service = "{"a" * 64}"',
    "no table": 'service = "web"\nenvironments = 3',
    "an environment that renames": 'service = "web"\n[environments.staging]\nservice = "other"',
    "no TOML": 'service = "web',
}
ENVIRONS = {
    "nothing": {},
    "staging": {"GOLIVE_ENV": "staging"},
    "development": {"GOLIVE_ENV": "development"},
    "another state": {"GOLIVE_STATE_DIR": "by-variable"},
    "another service": {"GOLIVE_SERVICE": "by-variable"},
    "a bad service": {"GOLIVE_SERVICE": "By Variable"},
    "filled": {"SERVICE": "by-name", "STATE": "by-name"},
    "jobs": {"GOLIVE_DEPLOY__WORKER_COMMAND": '["x"]'},
}


@pytest.mark.parametrize("environ", ENVIRONS.values(), ids=ENVIRONS)
@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_the_short_reading_says_what_the_long_one_says(tmp_path: Path, text: str, environ: dict[str, str]) -> None:
    """Service, state folder and environment are equal, or both refuse; "requests only" is never wrong."""
    (tmp_path / "golive.toml").write_text(text)
    for asked in (None, "staging"):
        whole, short = both(tmp_path, asked, environ)
        if isinstance(whole, ConfigError) and "worker_command" in str(whole):
            continue  # a fault elsewhere does not stand in the way of an abort
        if isinstance(whole, ConfigError) or isinstance(short, ConfigError):
            assert str(whole) == str(short)
            continue
        assert (short.service, short.state_dir) == (whole.service, whole.state_dir)
        assert short.environment == whole.environment
        assert not short.requests_only or whole.moves == "requests"


def both(
    folder: Path, asked: str | None, environ: dict[str, str]
) -> tuple[Settings | ConfigError, Project | ConfigError]:
    """The long reading and the short one; a refusal is returned."""
    whole: Settings | ConfigError
    try:
        whole = load_settings(folder, environment=asked, environ=environ)
    except ConfigError as error:
        whole = error
    try:
        return whole, project_at(folder, environment=asked, environ=environ)
    except ConfigError as error:
        return whole, error


def test_a_fault_elsewhere_does_not_stand_in_the_way(tmp_path: Path) -> None:
    """At night, with a typing error in another table, the traffic can still be taken back."""
    (tmp_path / "golive.toml").write_text('service = "web"\n[load]\nrte = 3\n')
    with pytest.raises(ConfigError):
        load_settings(tmp_path, environ={})
    assert project_at(tmp_path, environ={}).service == "web"

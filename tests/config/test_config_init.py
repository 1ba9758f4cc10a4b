"""`golive init` and `golive config`, as a user calls them."""

import json
import resource
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golive.cli import VERBS
from golive.cli.frame import app_for
from golive.config import load_settings
from golive.config.detect import search
from golive.config.render import NOT_YET
from golive.config.starter import starter

Run = Callable[..., tuple[int, str, str]]
FASTAPI = "from fastapi import FastAPI\n\napp = FastAPI()\n"


@pytest.fixture
def run(project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in the project; its exit code, its output and what it told on the side."""
    for variable in ("GOLIVE_ENV", "PG_MAX", "DB_POOL_MAX"):
        monkeypatch.delenv(variable, raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = app_for(VERBS, list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def write(project: Path, name: str, text: str) -> None:
    file = project / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_init_in_an_empty_fastapi_project_writes_a_working_configuration(run: Run, project: Path) -> None:
    """One file, found app, valid at once; the next three commands are named."""
    write(project, "main.py", FASTAPI)
    code, out, _ = run("init")
    assert code == 0
    assert out.startswith("wrote golive.toml: service checkout-api, app main:app (main.py:3)\nNext:\n  golive up")
    assert run("config", "check") == (0, "golive.toml: OK\n", "")
    loaded = load_settings(environ={})
    assert (loaded.app, loaded.rollout.preset) == ("main:app", "progressive")
    assert loaded.deploy.command[:5] == ["{python}", "-m", "golive", "serve", "main:app"]
    assert not (project / ".gitignore").exists()


@pytest.mark.parametrize(
    ("file", "text", "app", "path"),
    [
        ("app/main.py", FASTAPI, "app.main:app", None),
        ("api/index.py", "from starlette.applications import Starlette as S\nweb = S()\n", "api.index:web", None),
        ("src/shop/__init__.py", "import fastapi\napi: fastapi.FastAPI = fastapi.FastAPI()\n", "shop:api", "src"),
        ("src/shop/web.py", "import litestar as l\napp = l.Litestar([])\n", "shop.web:app", "src"),
        ("server.py", "from quart import Quart\ntry:\n    app = Quart(__name__)\nexcept Exception:\n    raise\n",
         "server:app", None),
        ("wsgi.py", "from shop import create_app\napp = create_app()\n", "wsgi:app", None),
        ("factory.py", "from fastapi import FastAPI\ndef build() -> FastAPI:\n    return FastAPI()\nx = build()\n",
         "factory:x", None),
        ("deep.py", "import fastapi.applications\nif True:\n    app = fastapi.applications.FastAPI()\n",
         "deep:app", None),
    ],
)  # fmt: skip
def test_init_finds_the_app_in_the_usual_places(
    run: Run, project: Path, file: str, text: str, app: str, path: str | None
) -> None:
    """Four frameworks, factories, aliases, packages and the src layout, whose versions must import their own files."""
    write(project, file, text)
    code, _, err = run("init")
    assert (code, err) == (0, "")
    loaded = load_settings(environ={})
    assert loaded.app == app
    assert loaded.deploy.env.get("PYTHONPATH") == path


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("main.py", "from shop import FastAPI\napp = FastAPI()\n"),
        ("main.py", "from fastapi import FastAPI\ndef f():\n    app = FastAPI()\n"),
        ("main.py", "from fastapi import FastAPI\nif __name__ == '__main__':\n    app = FastAPI()\n"),
        ("main.py", "from fastapi import FastAPI\napp = FastAPI(\n"),
        ("main.py", "# app = FastAPI()\n"),
        ("tests/main.py", FASTAPI),
        (".venv/lib/main.py", FASTAPI),
        ("my-app/main.py", FASTAPI),
        ("test_main.py", FASTAPI),
    ],
)
def test_init_does_not_take_for_an_app_what_is_none(run: Run, project: Path, file: str, text: str) -> None:
    """Other classes of that name, local variables, broken files, tests, folders that cannot be imported."""
    write(project, file, text)
    code, out, err = run("init")
    assert (code, out) == (2, "")
    assert err.startswith("found no ASGI app in ")
    assert "Name it: golive init --app module:name." in err
    assert not (project / "golive.toml").exists()


def test_init_points_at_a_factory_whose_result_nobody_keeps(run: Run, project: Path) -> None:
    """The one line that is missing is named."""
    write(project, "main.py", "from fastapi import FastAPI\n\ndef create_app():\n    return FastAPI()\n")
    assert "main.py:3 create_app() makes one: assign its result, app = ..." in run("init")[2]


def test_init_with_several_apps_asks_which_and_lists_them(run: Run, project: Path) -> None:
    """Nothing is guessed; --app decides."""
    write(project, "main.py", FASTAPI + "admin = FastAPI()\n")
    code, _, err = run("init")
    assert code == 2
    assert "found 2 apps" in err
    assert "--app main:app    FastAPI in main.py:3" in err
    assert "--app main:admin  FastAPI in main.py:4" in err
    assert run("init", "--app", "main:admin")[0] == 0
    assert load_settings(environ={}).app == "main:admin"


def test_init_takes_an_app_it_cannot_see_and_refuses_one_that_is_none(run: Run, project: Path) -> None:
    """An installed package may hold the app; a path is not an import string."""
    write(project, "src/shop/web.py", "app = make()\n")
    assert "expected an import string" in run("init", "--app", "src/shop/web.py")[2]
    assert run("init", "--app", "shop.web:app")[0] == 0
    assert load_settings(environ={}).deploy.env == {"PYTHONPATH": "src"}


def test_init_never_overwrites_unasked(run: Run, project: Path) -> None:
    """Exit code 6 and the file untouched; --force replaces it; --dry-run only prints."""
    write(project, "main.py", FASTAPI)
    write(project, "golive.toml", "service = 'mine'\n")
    code, out, err = run("init")
    assert (code, out) == (6, "")
    assert "golive.toml: is there already" in err
    code, out, _ = run("init", "--dry-run")
    assert code == 0
    assert tomllib.loads(out)["app"] == "main:app"
    assert (project / "golive.toml").read_text() == "service = 'mine'\n"
    assert run("init", "--force")[0] == 0
    assert load_settings(environ={}).service == "checkout-api"
    (project / "golive.toml").unlink()
    write(project, "pyproject.toml", "[tool.golive]\n")
    assert run("init", "--force")[0] == 6


def test_init_keeps_golives_own_files_out_of_git(run: Run, project: Path) -> None:
    """Added once, after whatever is there; not added where it stands already."""
    (project / ".git").mkdir()
    write(project, "main.py", FASTAPI)
    write(project, ".gitignore", "*.pyc")
    assert "added .golive/ to .gitignore" in run("init")[1]
    assert (project / ".gitignore").read_text() == "*.pyc\n.golive/\n"
    assert ".gitignore" not in run("init", "--force")[1]
    assert (project / ".gitignore").read_text() == "*.pyc\n.golive/\n"


def test_init_tells_when_the_folder_cannot_be_written(run: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No half file is left behind."""
    write(project, "main.py", FASTAPI)

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    code, _, err = run("init")
    assert (code, err) == (2, "golive.toml: cannot be written: No space left on device.\n")
    assert sorted(file.name for file in project.iterdir()) == ["main.py"]


def test_the_search_has_a_limit_and_says_so(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home directory full of Python does not keep `init` busy for minutes."""
    monkeypatch.setattr("golive.config.detect.FILES_MAX", 3)
    for number in range(5):
        write(project, f"m{number}.py", "")
    write(project, "z.py", FASTAPI)
    findings = search(project)
    assert (findings.apps, findings.files, findings.truncated) == ((), 3, True)


@settings(deadline=None)
@given(where=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=30), git=st.booleans())
def test_every_starter_is_a_valid_configuration(where: str, git: bool) -> None:
    """Whatever the project's files are called."""
    text = starter(service="a", app="a.b:c", where=where, folder="src", git=git)
    assert tomllib.loads(text)["deploy"]["env"] == {"PYTHONPATH": "src"}


def test_check_finds_faults_in_every_environment_and_exits_2(run: Run, project: Path) -> None:
    """Also where the variables of that environment are not set on this machine."""
    write(project, "golive.toml", (
        "[environments.staging.gateway]\nport = 'x'\n"
        "[environments.production.deploy.env]\nDB = '${NOT_SET_HERE}'\n[environments.production.rollout]\ntik = '1s'\n"
    ))  # fmt: skip
    code, out, err = run("config", "check")
    assert (code, out) == (2, "")
    assert "golive.toml:2:8 gateway.port: expected a whole number, got 'x'." in err
    assert 'golive.toml:6:1 rollout.tik: unknown key, did you mean "tick"?' in err
    assert "NOT_SET_HERE" not in err
    code, out, _ = run("config", "check", "-o", "json")
    assert code == 2
    document = json.loads(out)
    assert (document["ok"], document["environments"], len(document["faults"])) == (False, ["staging", "production"], 2)
    assert "NOT_SET_HERE is not set" in run("config", "check", "--env", "production")[2]
    assert "no table [environments.prod]" in run("config", "check", "--env", "prod")[2]


def test_check_names_settings_nothing_acts_upon(run: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the side, so that the exit code still says whether the file is right."""
    monkeypatch.setitem(NOT_YET, ("db",), "planted by this test")
    write(project, "golive.toml", "[db]\npool_max = 3\n")
    code, out, err = run("config", "check")
    assert (code, out) == (0, "golive.toml: OK\n")
    assert err.startswith("golive.toml:2:1 db.pool_max: accepted, but this release does not act upon it")


def test_check_of_a_broken_file_says_so_once(run: Run, project: Path) -> None:
    """One fault, one line."""
    write(project, "golive.toml", "service = \n")
    code, out, err = run("config", "check")
    assert (code, out) == (2, "")
    assert err.count("golive.toml:1:11") == 1
    assert json.loads(run("config", "check", "-o", "json")[1])["ok"] is False


def test_show_prints_a_configuration_or_json_with_origins(run: Run, project: Path) -> None:
    """Data on standard output, nothing else on it."""
    write(project, "golive.toml", "[gateway]\nport = 9000\n[environments.staging.gateway]\nport = 9001\n")
    code, out, err = run("config", "show")
    assert (code, err) == (0, "")
    assert tomllib.loads(out)["gateway"]["port"] == 9000
    assert "port = 9000" in next(
        line for line in run("config", "show", "--origin")[1].splitlines() if "toml:2:1" in line
    )
    document = json.loads(run("config", "show", "--origin", "-o", "json", "--env", "staging")[1])
    assert document["schema"] == "golive/config/v1"
    assert document["settings"]["gateway.port"] == 9001
    assert document["origins"]["gateway.port"] == "golive.toml:4:1"
    assert document["origins"]["rollout.watch"] == "default"
    assert document["environment"] == "staging"


def test_the_table_and_the_schema_can_be_printed(run: Run, project: Path) -> None:
    """Markdown for the runbook, JSON for programs, the schema for editors."""
    write(project, "golive.toml", "[slo]\nsuccess_rate = { target = '> 99%', alert_if = '< 98%' }\n")
    assert run("config", "slo")[1] == (
        "| Metric | Target | Alert If |\n| --- | --- | --- |\n| Success Rate | > 99% | < 98% |\n"
    )
    rows = json.loads(run("config", "slo", "-o", "json")[1])["rows"]
    assert rows["success_rate"]["alert_if"] == "< 98%"
    assert json.loads(run("config", "schema")[1])["properties"]["rollout"]
    assert run("config", "shwo")[0] == 2


@pytest.mark.process
def test_init_and_config_start_quickly_and_as_a_module() -> None:
    """Half a second of CPU each on a quiet machine; CPU and not wall time, because neighbours are not our doing."""
    for arguments in (["init", "--help"], ["config", "schema"]):
        took = []
        for _ in range(3):
            before = _cpu_of_children()
            done = subprocess.run([sys.executable, "-m", "golive", *arguments], capture_output=True, check=False)
            took.append(_cpu_of_children() - before)
            assert done.returncode == 0, done.stderr
        assert min(took) < 2


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.process
def test_the_configuration_loads_none_of_the_rooms_and_no_server() -> None:
    """Nor the rest of the command line: `golive config` stays fast however large golive grows."""
    code = (
        "import sys, golive.config; print(sorted(n for n in sys.modules if n.split('.')[0] in sys.argv[1].split(',')))"
    )
    done = subprocess.run([sys.executable, "-c", code, "golive,uvicorn,click,rich,sqlite3,msgspec,fastapi"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    loaded = done.stdout
    for module in ("golive.rollout", "golive.chassis", "golive.jobs", "golive.gates", "uvicorn", "click", "sqlite3"):
        assert f"'{module}'" not in loaded

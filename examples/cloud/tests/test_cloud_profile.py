"""The reference service of the cloud plan: GO under its profile, and NO-GO for each thing the plan forbids."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from golive.config import load_settings
from golive.config.children import service_environ
from golive.gates import Verdict
from golive.testing.serving import judged, serving

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[1]
KEY = {"COMPANIES_SMOKE_KEY": "smoke-key"}
#: what is planted: file, its text, and the gates that must turn red
PLANTED = {
    "an artefact of a Mac": ("companies/._app.py", "x", {"forbidden-files"}),
    "a localhost in the frontend": ("frontend/more.js", "fetch('http://localhost:8000/api')\n", {"no-localhost"}),
    "a driver in the frontend": ("frontend/more.js", "import pg from 'pg'\n", {"frontend"}),
    "a variable nobody documents": ("companies/more.py", 'import os\n\nX = os.environ["NEW"]\n', {"env-example"}),
    "a password in the tree": ("companies/more.py", 'DSN = "postgresql://a:' + 'hunter22@db/x"\n', {"secrets"}),
    "a file that does not compile": ("companies/more.py", "def x(:\n", {"syntax"}),
}


def environ(**more: str) -> dict[str, str]:
    return {**service_environ(load_settings(ROOT, environ=KEY)), **more}


def started(folder: Path, **more: str):  # type: ignore[no-untyped-def]
    stores = {"COMPANIES_DB": str(folder / "companies.db"), "GOLIVE_JOBS_URL": f"sqlite:///{folder}/jobs.db"}
    return serving("companies.app:app", ROOT, folder / "serve.log", {**environ(), **stores, **more})


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started(tmp_path_factory.mktemp("cloud")) as url:
        yield url


async def red(folder: Path, url: str) -> set[str]:
    report = await judged("cloud", folder, url, KEY)
    assert all(result.outcome.verdict is not Verdict.UNAVAILABLE for result in report.results), report.sentence
    return {result.gate for result in report.results if not result.good}


async def test_the_service_is_go_under_its_profile(url: str) -> None:
    """Every gate of the plan's go/no-go ran and passed."""
    report = await judged("cloud", ROOT, url, KEY)
    assert report.go, report.sentence


@pytest.mark.parametrize("defect", PLANTED)
async def test_what_the_plan_forbids_in_the_tree_is_no_go(url: str, tmp_path: Path, defect: str) -> None:
    """Exactly the gate for it."""
    tree = tmp_path / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns("__pycache__", ".golive"))
    file, text, gates = PLANTED[defect]
    (tree / file).write_text(text)
    assert await red(tree, url) == gates


@pytest.mark.parametrize(
    ("change", "gates"),
    [
        ({"REQUIRE_AUTH": "false", "GOLIVE_CHASSIS_REQUIRE_AUTH": "false"}, {"auth", "smoke"}),
        ({"GOLIVE_CHASSIS_CORS_ORIGINS": "https://elsewhere.example"}, {"cors"}),
        ({"ENABLE_BACKGROUND_WORKER": "false"}, {"job-lifecycle"}),
    ],
)
async def test_a_service_set_up_otherwise_is_no_go(tmp_path: Path, change: dict[str, str], gates: set[str]) -> None:
    """Open doors, other origins, nobody who works the queue off."""
    tree = tmp_path / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns("__pycache__", ".golive"))
    text = (tree / "golive.toml").read_text()
    (tree / "golive.toml").write_text(text.replace("[gates.jobs]\n", '[gates.jobs]\nfinish_max = "3s"\n'))
    with started(tmp_path, **change) as url:
        assert await red(tree, url) == gates

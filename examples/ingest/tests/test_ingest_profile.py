"""The reference service of the ingestion report: GO under its profile, NO-GO for each defect the report was about."""

import shutil
from pathlib import Path

import pytest

from golive.gates import Verdict
from golive.testing.serving import judged, serving

pytestmark = [pytest.mark.process, pytest.mark.slow]
ROOT = Path(__file__).parents[1]


def tree_with(folder: Path, *changes: tuple[str, str, str]) -> Path:
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns("__pycache__", ".golive", "tests"))
    for file, old, new in changes:
        text = (tree / file).read_text()
        assert old in text, f"{file} has no {old!r} to plant a defect in"
        (tree / file).write_text(text.replace(old, new))
    return tree


def started(tree: Path, folder: Path):  # type: ignore[no-untyped-def]
    environ = {"TILLS_DB": str(folder / "tills.db"), "GOLIVE_CHASSIS_IDEMPOTENCY_STORE": f"sqlite:{folder}/keys.db"}
    return serving("tills.app:app", tree, folder / "serve.log", environ)


async def red(tree: Path, folder: Path) -> dict[str, str]:
    with started(tree, folder) as url:
        report = await judged("ingest", tree, url, {"TILLS_LOG": str(folder / "serve.log")})
    return {result.gate: result.outcome.sentence for result in report.results if not result.good}


async def test_the_service_is_go_under_its_profile(tmp_path: Path) -> None:
    """With the report's own numbers: 2,000 requests, 400 keys, 75 at a time."""
    assert await red(tree_with(tmp_path), tmp_path) == {}


QUERY_LOGGED = """service = FastAPI(title="Tills")

@service.middleware("http")
async def shown(request, call_next):
    print(request.url.query, flush=True)
    return await call_next(request)
"""
QUICKER = ("golive.toml", "[gates.duplicates]\n", "[gates.duplicates]\nrequests = 200\nkeys = 40\nconcurrency = 20\n")


@pytest.mark.parametrize(
    ("change", "gates"),
    [
        # "keys stored but never checked": the report's first finding
        (("tills/app.py", "@chassis.idempotent(", "@(lambda **_: lambda endpoint: endpoint)("),
         {"idempotency", "smoke", "duplicates"}),
        (("tills/app.py", "scope=tenant_of, ", ""), {"tenants"}),
        (("tills/app.py", 'service = FastAPI(title="Tills")', QUERY_LOGGED), {"redaction"}),
    ],
    ids=["keys are not checked", "keys are everybody's", "queries are logged"],
)  # fmt: skip
async def test_a_planted_defect_is_no_go(tmp_path: Path, change: tuple[str, str, str], gates: set[str]) -> None:
    """Exactly the gates that are about it."""
    found = await red(tree_with(tmp_path, change, QUICKER), tmp_path)
    assert set(found) == gates, found
    assert all(Verdict.UNAVAILABLE not in sentence for sentence in found.values())

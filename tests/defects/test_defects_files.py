"""The gates on files prove themselves: a planted file turns exactly its gate red."""

import re
from pathlib import Path

import pytest

from golive.gates import Target, Verdict, catalogue, run_gates

STATIC = ["forbidden-files", "secrets", "no-localhost", "process-exits", "env-example"]
HEALTHY = {
    "shop/app.py": (
        '"""In development: http://localhost:8000."""\n\nimport os\nimport sys\n\n'
        'API = os.environ["API_URL"]\n\n\ndef main():\n    sys.exit(0)\n'
    ),
    "shop/view.ts": "// in development: http://localhost:3000\nconst api = import.meta.env.VITE_API_BASE_URL;\n",
    "tests/test_app.py": 'URL = "http://localhost:8000"\n',
    "shop/README.md": "postgresql://user:password@db.example/app or https://{user}:{token}@host\n",
    ".env.example": "API_URL=https://api.example\n# VITE_API_BASE_URL=\n",
}
#: gate: what is wrong -> file, content
#: (shapes are put together here, so that no scanner takes this file for a leak)
PLANTED = {
    "secrets: a private key": ("deploy/id", "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE\n"),
    "secrets: an AWS key": ("deploy/prod.yaml", "key: AKIA" + "Q3EGRIJ7ZV6TLNXW\n"),
    "secrets: a GitHub token": ("shop/ci.py", "T = 'ghp_" + "a1B2" * 9 + "'\n"),
    "secrets: a live payment key": ("shop/pay.js", "const k = 'sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc'\n"),
    "secrets: a password in a URL": ("shop/db.py", "DSN = 'postgresql://app:" + "hunter22@db.internal/app'\n"),
    "no-localhost: in Python": ("shop/client.py", 'URL = "http://localhost:8000/api"\n'),
    "no-localhost: in TypeScript": ("shop/api.ts", "fetch('http://127.0.0.1:8000/api')\n"),
    "no-localhost: a DSN": ("shop/db.py", 'DSN = "postgresql://app:password@localhost/app"\n'),
    "no-localhost: IPv6": ("shop/socket.js", "new WebSocket(`ws://[::1]:9000/`)\n"),
    "forbidden-files: a dropping": ("shop/._app.py", ""),
    "forbidden-files: a key": ("deploy/server.key", "not really one"),
    "forbidden-files: a filled-in .env": (".env", "API_URL=x"),
    "process-exits: sys.exit in a handler": ("shop/pay.py", "import sys\n\n\ndef pay():\n    sys.exit(1)\n"),
    "process-exits: os._exit": ("shop/pay.py", "import os\n\n\nasync def pay():\n    os._exit(1)\n"),
    "process-exits: SystemExit": ("shop/pay.py", "def pay():\n    raise SystemExit(2)\n"),
    "process-exits: JavaScript": ("shop/gateway.js", "if (!ok) process.exit(1);\n"),
    "process-exits: a syntax error": ("shop/broken.py", "def pay(:\n"),
    "env-example: Python": ("shop/more.py", 'import os\n\nKEY = os.getenv("STRIPE_KEY")\n'),
    "env-example: JavaScript": ("shop/more.js", "const key = process.env.STRIPE_KEY;\n"),
}


def plant(root: Path, files: dict[str, str]) -> Target:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Target(root=root)


def test_every_gate_has_a_planted_defect() -> None:
    """A gate without one could be green for ever. The defects of all files in this folder count."""
    texts = [path.read_text() for path in Path(__file__).parent.glob("test_defects_*.py")]
    planted = {name for text in texts for name in re.findall(r"\"([a-z-]+): [^\"]+\"", text)}
    assert set(catalogue()) <= planted | {"shared-state"}  # its defects are a parameter of their test


async def test_a_clean_tree_is_green(tmp_path: Path, prove) -> None:  # type: ignore[no-untyped-def]
    """Comments, tests, main() and documented variables are no findings."""
    prove(await run_gates(STATIC, plant(tmp_path, HEALTHY)), "")


@pytest.mark.parametrize("defect", PLANTED)
async def test_a_planted_file_turns_exactly_its_gate_red(tmp_path: Path, prove, defect: str) -> None:  # type: ignore[no-untyped-def]
    """And the finding names the file."""
    name, text = PLANTED[defect]
    report = await run_gates(STATIC, plant(tmp_path, {**HEALTHY, name: text}))
    prove(report, defect)
    (found,) = [result.outcome.evidence for result in report.results if result.outcome.verdict is Verdict.FAIL]
    assert [finding["file"] for finding in found["findings"]] == [name]


async def test_without_a_tree_the_gates_on_files_are_unavailable(tmp_path: Path) -> None:
    """Nothing looked at is not a pass."""
    report = await run_gates(STATIC, Target(root=tmp_path / "nowhere"))
    assert {result.outcome.verdict for result in report.results} == {Verdict.UNAVAILABLE}

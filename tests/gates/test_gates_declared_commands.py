"""A declared command is a gate: its exit code is the verdict, the end of its output the evidence."""

import asyncio
import json
import sys
import time
from pathlib import Path

import pytest

from golive.config import load_settings
from golive.errors import ConfigError
from golive.gates import Outcome, Target, Verdict, run_gates
from golive.gates.command import TAIL_MAX, CommandProbe, command_gate

pytestmark = pytest.mark.process


async def judged(root: Path, *argv: str, timeout: float = 30.0, **env: str) -> Outcome:
    gate = command_gate("mine", CommandProbe(argv, env, timeout))
    report = await run_gates(["mine"], Target("http://127.0.0.1:1", root=root), gates={"mine": gate})
    return report.results[0].outcome


async def test_exit_code_0_is_a_pass(tmp_path: Path) -> None:
    """In the root of the project, with its variables, and no shell reads the arguments."""
    code = "import os, sys; print(os.getcwd(), os.environ['COLOUR'], *sys.argv[1:])"
    outcome = await judged(tmp_path, sys.executable, "-c", code, "$HOME; {url}", COLOUR="blue")
    assert outcome.verdict is Verdict.PASS
    assert outcome.evidence["output_tail"] == f"{tmp_path} blue $HOME; http://127.0.0.1:1\n"


async def test_another_exit_code_is_a_fail_that_quotes_the_last_line(tmp_path: Path) -> None:
    """And keeps the tail of a long output only."""
    code = "import sys; print('x' * 100_000); print('2 migrations missing', file=sys.stderr, flush=True); sys.exit(7)"
    outcome = await judged(tmp_path, sys.executable, "-u", "-c", code)
    assert outcome.verdict is Verdict.FAIL
    assert outcome.sentence.endswith("ended with 7: 2 migrations missing")
    assert len(outcome.evidence["output_tail"]) == TAIL_MAX
    assert outcome.evidence["exit_code"] == 7


async def test_a_command_that_is_too_slow_is_killed_with_its_children(tmp_path: Path) -> None:
    """UNAVAILABLE: it proved nothing."""
    beat = "import time\nwhile True:\n    open('beats', 'a').write('x')\n    time.sleep(0.02)"
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    begin = time.monotonic()
    outcome = await judged(tmp_path, sys.executable, "-c", code, beat, timeout=2.0)
    assert outcome.verdict is Verdict.UNAVAILABLE
    assert "not done within 2 s" in outcome.sentence
    assert time.monotonic() - begin < 20
    beats = (tmp_path / "beats").stat().st_size
    await asyncio.sleep(0.3)
    assert (tmp_path / "beats").stat().st_size == beats > 0


async def test_a_missing_program_is_unavailable(tmp_path: Path) -> None:
    """Never a pass."""
    outcome = await judged(tmp_path, "no-such-program")
    assert outcome.verdict is Verdict.UNAVAILABLE
    assert "no-such-program: cannot be started (No such file or directory)" in outcome.sentence


@pytest.mark.parametrize(("code", "verdict", "exit_code"), [(0, "PASS", 0), (1, "FAIL", 3)])
def test_a_command_of_the_project_is_a_gate_by_its_name(
    golive, tmp_path: Path, code: int, verdict: str, exit_code: int
) -> None:  # type: ignore[no-untyped-def]
    """Listed, run, and red exactly when the command is."""
    python = json.dumps(sys.executable)
    toml = f'[gates.commands.migrations]\nrun = [{python}, "-c", "raise SystemExit({code})"]\nproves = "Up to date."\n'
    (tmp_path / "golive.toml").write_text('service = "shop"\n[deploy]\ncommand = ["shop"]\n' + toml)
    done = golive("check", "migrations", "-o", "json", cwd=tmp_path)
    assert [gate["verdict"] for gate in json.loads(done.stdout)["gates"]] == [verdict]
    assert done.returncode == exit_code


def test_a_command_without_a_program_is_refused(tmp_path: Path) -> None:
    """With its place."""
    (tmp_path / "golive.toml").write_text('service = "shop"\n[gates.commands.migrations]\nrun = []\n')
    with pytest.raises(ConfigError, match=r"gates\.commands\.migrations\.run"):
        load_settings(tmp_path / "golive.toml", environ={})

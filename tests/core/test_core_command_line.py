"""The frame around every verb: laziness, exit codes, one line per error."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import click
import pytest

from golive.cli import VERBS
from golive.cli.frame import app_for
from golive.errors import ExitCode, NoGoError


def verb(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> None:
    """A verb that ends with *error*."""

    @click.command()
    def command() -> int:
        if error is not None:
            raise error
        return 7

    module = ModuleType("golive.cli.status")
    module.command = command  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "golive.cli.status", module)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (None, ExitCode.WAITING, ""),
        (NoGoError("smoke: GET / answered 500"), ExitCode.NO_GO, "smoke: GET / answered 500"),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED, "interrupted"),
        (ZeroDivisionError("division by zero"), ExitCode.BUG, "golive has a bug: ZeroDivisionError"),
        (click.BadParameter("no"), ExitCode.USAGE, "no"),
    ],
    ids=["value", "golive error", "control-C", "bug", "usage"],
)
def test_whatever_a_verb_raises_becomes_one_line_and_a_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException | None,
    code: int,
    said: str,
) -> None:
    """No trace reaches a user who did not ask for one."""
    monkeypatch.delenv("GOLIVE_DEBUG", raising=False)
    verb(monkeypatch, error)
    assert app_for(VERBS, ["status"]) == code
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err


def test_an_unknown_verb_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 and what was probably meant."""
    assert app_for(VERBS, ["shp", "v2"]) == ExitCode.USAGE
    assert 'did you mean "ship"?' in capsys.readouterr().err


def test_help_loads_no_verb() -> None:
    """The list comes from a table; the rooms behind it stay closed."""
    code = "import sys; from golive.cli.frame import app_for; from golive.cli import VERBS; app_for(VERBS, ['--help'])"
    code += "; print([m for m in sys.modules if m.startswith('golive.') and 'cli' not in m])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "ship" in out
    assert out.splitlines()[-1] == "['golive.version', 'golive.errors']"

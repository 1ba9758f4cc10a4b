"""What golive promises by name, and what it costs to look."""

from __future__ import annotations

import subprocess
import sys

import pytest

import golive
from golive.errors import ConfigError, ExitCode, GoliveError, did_you_mean

HEAVY = ("pydantic", "rich", "click", "fastapi", "starlette", "golive.rollout", "golive.slo", "golive.gates", "asyncpg")


def modules_after(statement: str) -> set[str]:
    """What is loaded in a fresh interpreter after *statement*."""
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_every_promised_name_is_there() -> None:
    """The list and the door agree; anything else is refused as usual."""
    for name in golive.__all__:
        assert getattr(golive, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Sheep'"):
        _ = golive.Sheep  # type: ignore[attr-defined]


@pytest.mark.parametrize("statement", ["import golive", "from golive import Chassis", "from golive import Jobs"])
def test_a_service_does_not_load_what_it_does_not_use(statement: str) -> None:
    """Neither the command line, nor the rollout, nor a web framework comes with the chassis or the jobs."""
    loaded = modules_after(statement)
    assert [heavy for heavy in HEAVY if heavy in loaded] == []


def test_exit_codes_are_what_scripts_rely_on() -> None:
    """Renumbering one breaks somebody's pipeline."""
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0, "BUG": 1, "USAGE": 2, "NO_GO": 3, "ROLLED_BACK": 4, "TIMEOUT": 5, "REFUSED": 6, "WAITING": 7,
        "INTERRUPTED": 130,
    }  # fmt: skip


def test_a_configuration_error_keeps_all_its_faults() -> None:
    """One run of the editor mends them."""
    error = ConfigError("a: wrong", "b: wrong")
    assert error.faults == ("a: wrong", "b: wrong")
    assert str(error) == "a: wrong\nb: wrong"
    assert isinstance(error, GoliveError)


def test_a_near_miss_is_suggested_and_a_wild_guess_is_not() -> None:
    """Only what was probably meant."""
    assert did_you_mean("idempotancy", ["health", "idempotency"]) == ', did you mean "idempotency"?'
    assert did_you_mean("zebra", ["health", "idempotency"]) == ""

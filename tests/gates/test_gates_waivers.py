"""The waiver file: read strictly, all faults at once."""

import re
from datetime import date
from pathlib import Path

import pytest

from golive.errors import ConfigError
from golive.gates.waiver import Waiver, read_waivers

GOOD = '[[waiver]]\ngate = "cors"\nowner = "ana"\nreason = "the shop moves in May"\nexpires = 2026-05-31\n'


def test_a_waiver_names_gate_owner_reason_and_day(tmp_path: Path) -> None:
    """Four keys, a real date."""
    path = tmp_path / "waivers.toml"
    path.write_text(GOOD)
    assert read_waivers(path) == [Waiver("cors", "ana", "the shop moves in May", date(2026, 5, 31))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("2026-05-31", '"2026-05-31"'), "waiver 1: expires: expected a day such as 2026-03-31"),
        (GOOD.replace("2026-05-31", "2026-05-31T10:00:00"), "waiver 1: expires: expected a day"),
        (GOOD.replace("expires = 2026-05-31", ""), "waiver 1: expires: expected a day"),
        (GOOD.replace("owner", "ovner"), 'waiver 1: unknown key ovner, did you mean "owner"?'),
        (GOOD.replace('"ana"', "7"), "waiver 1: owner: expected text in quotes, got 7"),
        (GOOD + 'until = "x"\n', "unknown key until"),
        ("[waiver]\n", "expected [[waiver]] tables only"),
        ("[[waivers]]\n", "expected [[waiver]] tables only, got waivers"),
        ("waiver = [3]", "waiver 1: gate: expected text in quotes, got None"),
        ("[[waiver", "expected TOML"),
    ],
)
def test_a_wrong_file_says_what_is_wrong_and_where(tmp_path: Path, text: str, message: str) -> None:
    """Never a trace."""
    path = tmp_path / "waivers.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_waivers(path)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    """And which one."""
    with pytest.raises(ConfigError, match="cannot be read"):
        read_waivers(tmp_path / "nowhere.toml")


def test_the_command_accepts_and_names_what_is_waived(golive, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """GO, with the owner on the screen; after the day, NO-GO."""
    (tmp_path / "app.py").write_text("API = 'http://localhost:8000'\n")
    waivers = tmp_path / "waivers.toml"
    waivers.write_text(GOOD.replace("cors", "no-localhost").replace("2026-05-31", "2999-01-01"))
    done = golive("check", "no-localhost", "--waivers", str(waivers), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "accepted by ana until 2999-01-01: the shop moves in May" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("GO  0 passed, 1 waived (no-localhost)")
    waivers.write_text(waivers.read_text().replace("2999", "2001"))
    done = golive("check", "no-localhost", "--waivers", str(waivers), cwd=tmp_path)
    assert done.returncode == 3
    assert "the waiver of ana expired on 2001-01-01" in done.stdout

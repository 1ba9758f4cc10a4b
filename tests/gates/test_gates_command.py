"""``golive check`` as a process: formats, exit codes, words."""

import asyncio
import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.process
SERVED = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_the_gates_are_listed_with_what_they_prove(golive) -> None:  # type: ignore[no-untyped-def]
    """Without touching anything."""
    done = golive("check", "--list")
    assert done.returncode == 0
    assert "idempotency" in done.stdout
    assert len(done.stdout.splitlines()) >= 19


def test_an_unknown_gate_or_profile_is_exit_2_with_a_suggestion(golive, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Nothing is run."""
    done = golive("check", "helth", "--url", "http://127.0.0.1:1", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert 'unknown gate "helth", did you mean "health"?' in done.stderr
    done = golive("check", "--profile", "block", cwd=tmp_path)
    assert done.returncode == 2
    assert 'did you mean "blocks"?' in done.stderr


def test_files_can_be_judged_without_a_url_and_go_is_exit_0(golive, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The verdict is the first word of the last line."""
    (tmp_path / "app.py").write_text("API = 'https://api.example'\n")
    done = golive("check", "no-localhost", "process-exits", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("GO  2 passed")
    assert "\x1b" not in done.stdout


def test_no_go_is_exit_3_in_every_format(golive, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """And JSON says why."""
    (tmp_path / "app.py").write_text("API = 'http://localhost:8000'\n")
    done = golive("check", "no-localhost", "-o", "json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert done.returncode == 3
    assert document["verdict"] == "NO-GO"
    assert document["gates"][0]["evidence"]["findings"][0]["file"] == "app.py"
    done = golive("check", "no-localhost", cwd=tmp_path)
    assert done.returncode == 3
    assert done.stdout.splitlines()[-1].startswith("NO-GO  0 passed, 1 failed (no-localhost)")


def test_without_a_url_gates_on_a_service_are_unavailable(golive, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Never a pass, and it says what to give."""
    done = golive("check", "smoke", cwd=tmp_path)
    assert done.returncode == 3
    assert "UNAVAILABLE  startup" in done.stdout
    assert "--url" in done.stdout


def test_a_wrong_configuration_is_exit_2_with_its_place(golive, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Before anything is probed."""
    (tmp_path / "golive.toml").write_text("[gates]\npreflght = []\n")
    done = golive("check", cwd=tmp_path)
    assert done.returncode == 2
    assert "golive.toml:2" in done.stderr


async def test_declared_requests_come_from_the_configuration(golive, serve, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """[gates] preflight and [[gates.smoke.requests]] are what runs."""
    (tmp_path / "golive.toml").write_text(
        'service = "shop"\n[deploy]\ncommand = ["shop"]\nstartup_path = "/"\nready_path = "/"\nlive_path = "/"\n'
        '[gates]\npreflight = ["smoke"]\n[[gates.smoke.requests]]\nname = "the price"\nget = "/price"\nexpect = 418\n'
    )
    url = await serve(SERVED)
    done = await asyncio.to_thread(golive, "check", "--url", url, "-o", "json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert [gate["gate"] for gate in document["gates"]] == ["startup", "smoke"]
    assert "the price: expected status 418, got 200" in document["sentence"]
    assert done.returncode == 3

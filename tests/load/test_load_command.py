"""``golive load`` as a process: formats, exit codes, signals."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.process
#: A threshold so wide that a busy machine's lag does not refuse the verdict, which is not what these tests are about.
CALM = ("-t", "p99 < 100s", "--timeout", "100s")
GOLIVE = [sys.executable, "-c", "import golive.cli; golive.cli.main()", "load"]


def load(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*GOLIVE, *arguments], capture_output=True, text=True, timeout=60)


def documents(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_ndjson_is_one_line_per_second_and_the_report(known_server: str) -> None:
    """A program can follow the run and read its end."""
    done = load(
        f"{known_server}/delay/1", "--rate", "50", "--duration", "1m", "--requests", "100", "-o", "ndjson", *CALM
    )
    lines = documents(done.stdout)
    assert done.returncode == 0, done.stderr
    assert [line["event"] for line in lines] == ["second"] * (len(lines) - 1) + ["report"]
    assert len(lines) >= 2
    assert lines[-1]["requests"] == 100
    assert lines[-1]["statuses"] == {"200": 100}


def test_text_ends_in_figures_a_person_can_read(known_server: str) -> None:
    """Latency from the intended time beside service time, thresholds with their verdict."""
    arguments = ("--rate", "50", "--duration", "1m", "--requests", "50", "-t", "dropped == 0")
    done = load(f"{known_server}/delay/1", *arguments, *CALM)
    assert done.returncode == 0, done.stderr
    assert "from the intended time" in done.stdout
    assert sum(float(share) for share in re.findall(r"<= [\d,]+ ms +([\d.]+)%", done.stdout)) == pytest.approx(
        100, abs=0.1
    )
    assert "PASS      dropped is 0 (limit == 0)" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_threshold_that_fails_is_exit_3_with_the_reason(known_server: str) -> None:
    """NO-GO, and why."""
    arguments = (
        f"{known_server}/status/500",
        "--rate",
        "50",
        "--duration",
        "1m",
        "--requests",
        "20",
        *CALM,
        "-t",
        "error_rate < 1%",
        "-o",
        "json",
    )
    done = load(*arguments)
    assert done.returncode == 3
    assert "NO-GO: error_rate is 100% (limit < 1%)" in done.stderr
    wide, failed = json.loads(done.stdout)["thresholds"]
    assert wide["holds"] is True
    assert failed == {"holds": False, "sentence": "error_rate is 100% (limit < 1%)"}


@pytest.mark.parametrize(
    ("number", "processes"), [(signal.SIGTERM, "1"), (signal.SIGINT, "1"), (signal.SIGTERM, "2"), (signal.SIGINT, "2")]
)
def test_a_signal_ends_the_run_with_its_report(known_server: str, number: signal.Signals, processes: str) -> None:
    """The demo and an operator stop it the same way, whatever the number of generators."""
    arguments = [*GOLIVE, f"{known_server}/delay/1", "--rate", "100", "--duration", "forever", "-o", "ndjson", *CALM]
    arguments += ["--processes", processes]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        process.send_signal(number)
        rest = documents(process.stdout.read())
    assert first["event"] == "second"
    assert rest[-1]["event"] == "report"
    assert rest[-1]["dropped"] == 0
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["http://10.255.0.1/"], 6, "--i-own-this-host"),
        (["ftp://127.0.0.1/"], 2, "url: expected http://"),
        (["http://127.0.0.1/", "--duration", "10"], 2, 'Write "10s"'),
        (["http://127.0.0.1/", "-t", "p95 < 300"], 2, "seconds"),
        (["http://127.0.0.1/", "-t", "drpped == 0"], 2, 'did you mean "dropped"'),
        (["http://127.0.0.1/", "--processes", "0"], 2, "processes: expected 1..64, got 0"),
        (["http://127.0.0.1/", "--processes", "3", "--concurrency", "2"], 2, "as many as users (2), got 3"),
        (["http://127.0.0.1/", "--processes", "3", "--connections", "2"], 2, "connections_max (2), got 3"),
        (["http://10.255.0.1/", "--processes", "2"], 6, "--i-own-this-host"),
        (["http://127.0.0.1/", "--stage", "200"], 2, "--stage: expected RATE:TIME"),
        (["http://127.0.0.1/", "-H", "no colon"], 2, "--header"),
        (["http://127.0.0.1/", "--body", "@/no/such/file"], 2, "--body"),
    ],
)
def test_bad_input_is_one_line_and_the_right_exit_code(arguments: list[str], code: int, message: str) -> None:
    """Never a trace."""
    began = time.monotonic()
    done = load(*arguments)
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 30


def test_what_golive_toml_says_holds_unless_an_option_says_otherwise(known_server: str, tmp_path: Path) -> None:
    """Rate and users from the file, the rate from its environment, the duration from the command line."""
    (tmp_path / "golive.toml").write_text(
        'service = "web"\n[load]\nrate = 5\nduration = "1m"\nusers = 2\n[environments.busy.load]\nrate = 50\n'
    )
    words = ["--duration", "1s", "-H", "x-user: {user}", *CALM, "--config", str(tmp_path)]
    done = load(f"{known_server}/delay/1", *words, "--env", "busy")
    assert done.returncode == 0, done.stderr
    assert "[load] of golive.toml: rate 50" in done.stderr
    assert "users 2" in done.stderr
    assert "1m" not in done.stderr
    assert "requests  50 in" in done.stdout
    typed = load(f"{known_server}/delay/1", *words, "--rate", "80", "--users", "3")
    assert "requests  80 in" in typed.stdout
    assert "[load]" not in typed.stderr


def test_a_fault_in_that_table_is_told_with_its_place(known_server: str, tmp_path: Path) -> None:
    """Nothing is sent."""
    (tmp_path / "golive.toml").write_text('service = "web"\n[load]\nrate = -1\n')
    done = load(f"{known_server}/delay/1", "--config", str(tmp_path))
    assert done.returncode == 2
    assert "golive.toml:3:8 load.rate: expected more than 0" in done.stderr

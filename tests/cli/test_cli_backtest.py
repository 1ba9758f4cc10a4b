"""`golive backtest`: the table over what was recorded, in whatever it was recorded, with the place of every fault."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from golive.cli import app_for
from golive.cli.recording import growth, rates
from golive.slo.table import parse_table
from golive.testing.simulator import Faults

TABLE = """
service = "web"
app = "main:app"
[slo]
error_rate = { target = "<= 1%", alert_if = "> 2%", window = "1m" }
latency_p95 = { target = "< 500ms", alert_if = "> 1s" }
"""
T0 = 1_767_603_600
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``golive backtest ...`` in a project."""
    (tmp_path / "golive.toml").write_text(TABLE)
    monkeypatch.chdir(tmp_path)

    def go(*arguments: str) -> tuple[int, str, str]:
        code = app_for({"backtest": ""}, ["backtest", *arguments])
        out = capsys.readouterr()
        return code, out.out, out.err

    return go


def history(worse_from: int | None) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """An hour of counters: the canary has 10 % from the tenth minute on, and fails 6 % from *worse_from* on."""
    chance, found = random.Random(3), {name: {"v1": [], "v2": []} for name in ("requests", "errors")}
    totals = {"v1": [0, 0], "v2": [0, 0]}
    for tick in range(360):
        for version in totals:
            share = 0.0 if tick < 60 else 0.1
            count = round(500 * (share if version == "v2" else 1 - share))
            bad = 0.06 if version == "v2" and worse_from is not None and tick >= worse_from else 0.003
            totals[version][0] += count
            totals[version][1] += sum(chance.random() < bad for _ in range(count))
            found["requests"][version].append((T0 + tick * 10, totals[version][0]))
            found["errors"][version].append((T0 + tick * 10, totals[version][1]))
    return found


def write_csv(path: Path, counters: dict[str, dict[str, list[tuple[float, float]]]]) -> None:
    lines = ["time,version,requests,errors,latency_p95,weight"]
    for number, (at, _) in enumerate(counters["requests"]["v1"]):
        for version in ("v1", "v2"):
            requests, errors = (counters[name][version][number][1] for name in ("requests", "errors"))
            latency = "" if number % 7 == 0 else "120ms"
            lines.append(f"{at},{version},{requests:g},{errors:g},{latency},{'10' if number >= 60 else '0'}")
    path.write_text("\n".join(lines) + "\n")


def matrix(series: dict[str, list[tuple[float, float]]], **extra: Any) -> str:
    result = [{"metric": {"version": version}, "values": [[at, f"{value:g}"] for at, value in points]}
              for version, points in series.items()]  # fmt: skip
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}, **extra})


def test_a_csv_with_two_versions_is_held_against_the_table_and_judged(run: Run, tmp_path: Path):
    """The alarm of the worse one, the good one's silence, what was not measured, and the judge's minute; exit 3."""
    write_csv(tmp_path / "x.csv", history(worse_from=150))
    code, out, _ = run("x.csv", "-o", "json")
    told = json.loads(out)
    assert code == 3
    assert (told["schema"], told["stable"], told["canary"], told["fired"]) == ("golive/backtest/v1", "v1", "v2", True)
    rate = told["rows"]["error_rate"]["versions"]
    assert rate["v1"]["episodes"] == []
    assert len(rate["v2"]["episodes"]) == 1
    began = datetime.fromisoformat(rate["v2"]["episodes"][0]["from"]).timestamp()
    assert T0 + 1500 <= began <= T0 + 1560
    assert told["rows"]["latency_p95"]["versions"]["v1"]["unusable"] == 52
    rollback = datetime.fromisoformat(told["judge"]["rollback_at"]).timestamp()
    assert T0 + 1500 <= rollback <= T0 + 1800
    assert datetime.fromisoformat(told["judge"]["began_at"]).timestamp() == T0 + 600
    code, out, _ = run("x.csv")
    assert code == 3
    assert "would have taken the canary back" in out
    assert "once, first at" in out


def test_a_good_canary_fires_nothing_and_the_judge_agrees(run: Run, tmp_path: Path):
    """Exit 0; the stage it would have found good is named."""
    write_csv(tmp_path / "x.csv", history(worse_from=None))
    code, out, _ = run("x.csv")
    assert code == 0
    assert "never: worst" in out
    assert "would not have taken the canary back" in out
    assert "10 % found good at" in out


def test_the_answers_of_prometheus_say_the_same_as_the_csv(run: Run, tmp_path: Path):
    """Counters by version, from files; a ready-made rate of one version as well."""
    counters = history(worse_from=150)
    write_csv(tmp_path / "x.csv", counters)
    for name, series in counters.items():
        (tmp_path / f"{name}.json").write_text(matrix(series))
    theirs = json.loads(run("requests=requests.json", "errors=errors.json", "-o", "json")[1])
    ours = json.loads(run("x.csv", "-o", "json")[1])
    assert theirs["rows"]["error_rate"] == ours["rows"]["error_rate"]
    assert theirs["judge"]["rollback_at"] == ours["judge"]["rollback_at"]
    (tmp_path / "rate.json").write_text(matrix({"": [(T0, 0.001), (T0 + 60, 0.2), (T0 + 120, float("nan"))]}))
    code, out, _ = run("error_rate=rate.json")
    assert code == 3
    assert "once, first at" in out
    assert "1 without a value" in out
    assert "judge was not asked: it compares two versions" in out


@pytest.fixture
def prometheus() -> Iterator[tuple[str, dict[str, Any]]]:
    """A server that answers a range query as told."""
    answer: dict[str, Any] = {"status": 200, "body": b""}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer["status"])
            self.end_headers()
            self.wfile.write(answer["body"])

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://me:secret@127.0.0.1:{server.server_port}/api/v1/query_range?query=x", answer
    server.shutdown()
    server.server_close()


def test_a_server_is_asked_and_what_it_says_is_told(run: Run, prometheus: tuple[str, dict[str, Any]]):
    """Its values; its own error; its silence. The password of the URL is nobody's business."""
    url, answer = prometheus
    plain = url.replace("me:secret@", "")
    answer["body"] = matrix({"v1": [(T0, 0.5)]}).encode()
    assert run(f"error_rate={plain}")[0] == 3
    answer |= {"status": 400, "body": b'{"status":"error","errorType":"bad_data","error":"parse error at char 3"}'}
    code, _, err = run(f"error_rate={plain}")
    assert code == 2
    assert "got an error: parse error at char 3" in err
    code, out, err = run("error_rate=http://me:secret@127.0.0.1:1/x")
    assert code != 0
    assert "127.0.0.1:1" in err
    assert "secret" not in out + err


CSV_FAULTS = [
    ("", 'x.csv:1: expected a header with a column "time", got "".'),
    ("a,b\n1,2", 'x.csv:1: expected a header with a column "time"'),
    (
        "time,error_rte\n1,2",
        'x.csv:1: expected a row of the table, or requests, errors or weight, got "error_rte", did',
    ),
    ("time,error_rate,error_rate\n1,2,3", 'x.csv:1: expected each column once, got "error_rate" twice.'),
    ("time,error_rate\n", "x.csv: expected at least one line of values, got none."),
    ("time,error_rate\n1,2,3", "x.csv:2: expected 2 columns as in the header, got 3."),
    ("time,error_rate\n1,0.1\nyesterday,0.1", "x.csv:3: time: expected an instant such as"),
    ("time,error_rate\n2026-01-05T09:00:00,1", "x.csv:2: time: expected an instant such as"),
    ("time,error_rate\n1e300,1", "x.csv:2: time: expected seconds since the epoch"),
    ("time,error_rate\n1,many", 'x.csv:2: error_rate: expected a number such as "1%"'),
    ("time,latency_p95\n1,3%", "x.csv:2: latency_p95: expected seconds, got '3%', which is in ratio."),
    ("time,error_rate\n1,inf", "x.csv:2: error_rate: expected a number that is not negative, got 'inf'."),
    ("time,requests\n1,-5", "x.csv:2: requests: expected a number that is not negative, got '-5'."),
    ('time,error_rate\n1,"0.1', "x.csv:2: expected CSV, got"),
    (b"\xff\xfe\x00", "x.csv: expected a CSV file that can be read, got: it is not UTF-8."),
]


@pytest.mark.parametrize(("text", "fault"), CSV_FAULTS)
def test_every_fault_of_a_csv_names_its_line(run: Run, tmp_path: Path, text: str | bytes, fault: str):
    """Exit 2, what was expected, what was there."""
    (tmp_path / "x.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    code, _, err = run("x.csv")
    assert code == 2
    assert fault in err


JSON_FAULTS = [
    ("{", "x.json:1:2: expected JSON"),
    ("[]", 'x.json: expected an answer of /api/v1/query_range with "status":"success", got something else.'),
    ('{"status":"success","data":{"resultType":"vector"}}', "Ask /api/v1/query_range, not /api/v1/query."),
    ('{"status":"success","data":{"resultType":"matrix","result":{}}}', "data.result: expected a list of series"),
    ('{"status":"success","data":{"resultType":"matrix","result":[7]}}', "data.result[0]: expected a series with its"),
    ('{"status":"success","data":{"resultType":"matrix","result":[{"metric":{}}]}}', "data.result[0].values: expected"),
    ('{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1]]}]}}',
     'data.result[0].values[0]: expected [time, "value"], got [1].'),
    ('{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"pod":"a"},"values":[]},'
     '{"metric":{"pod":"b"},"values":[]}]}}', "Sum them up in the query: sum by (version) (...)."),
]  # fmt: skip


@pytest.mark.parametrize(("text", "fault"), JSON_FAULTS)
def test_every_fault_of_an_answer_names_its_place(run: Run, tmp_path: Path, text: str, fault: str):
    """Exit 2, the path into the document."""
    (tmp_path / "x.json").write_text(text)
    code, _, err = run("error_rate=x.json")
    assert code == 2
    assert fault in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["x.json"], "expected to be told which row it is, such as error_rate=x.json"),
        (["nope=x.json"], 'got "nope"'),
        (["missing.csv"], "missing.csv: expected a CSV file that can be read, got: No such file or directory."),
        (["error_rate=missing.json"], "missing.json: expected a file that can be read"),
        (["web-9"], "web-9"),
        (["two.csv", "--canary", "v9"], "--canary v9: expected a version of the recording, which has v1, v2."),
        (["two.csv", "--stable", "v1", "--canary", "v1"], "expected another version than --stable"),
        (["three.csv"], "expected two versions, got a, b, c. Say --stable and --canary."),
        (["two.csv", "two.csv"], "error_rate of v1: expected one series, got a second one."),
    ],
)
def test_what_was_asked_wrongly_is_refused_by_name(run: Run, tmp_path: Path, arguments: list[str], says: str):
    """Exit 2 and one line."""
    (tmp_path / "two.csv").write_text("time,version,error_rate\n1,v1,0\n1,v2,0\n")
    (tmp_path / "three.csv").write_text("time,version,error_rate\n1,a,0\n1,b,0\n1,c,0\n")
    code, _, err = run(*arguments)
    assert code == 2
    assert says in err


def test_a_rollout_of_the_journal_is_a_recording(run: Run, tmp_path: Path, journey: Any, keep: Any):
    """Every row by version, over its window; its judge is asked by another verb."""
    keep(tmp_path, journey(Faults(error_ratio=0.04)))
    code, out, _ = run("web-1")
    assert code == 3
    assert "stable v1, canary v2" in out
    assert "see `golive replay" in out
    assert json.loads(run("web-1", "-o", "json")[1])["rows"]["error_rate"]["versions"].keys() == {"v1", "v2"}


def test_a_counter_that_began_again_gains_what_it_says_then():
    """Never a negative gain; what is missing, NaN or negative is passed over."""
    series = [(0.0, 5.0), (1.0, 9.0), (2.0, None), (3.0, 2.0), (4.0, float("nan")), (5.0, 4.0), (6.0, -1.0)]
    assert growth(series) == {1.0: 4.0, 3.0: 2.0, 5.0: 2.0}


def test_a_rate_is_taken_over_the_window_of_its_row():
    """Only what lies within the look-back counts; without a request there is no rate."""
    row = parse_table({"error_rate": {"target": "<= 1%", "window": "20s"}})["error_rate"]
    requests = [(0.0, 0.0), (10.0, 100.0), (20.0, 100.0), (30.0, 100.0), (40.0, 100.0), (50.0, 200.0)]
    errors = [(at, 10.0 if at >= 10 else 0.0) for at, _ in requests]
    assert rates(requests, errors, row) == [(10.0, 0.1), (20.0, 0.1), (30.0, 0.1), (40.0, None), (50.0, 0.0)]

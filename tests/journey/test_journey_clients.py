"""Evidence by client and by route, through the command line and a real gateway."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

APP = """
import os
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

app = FastAPI()

@app.get("/hello")
def hello():
    return {"version": os.environ["GOLIVE_VERSION"]}

@app.post("/work")
def work(request: Request):
    if BROKEN or request.headers.get("x-user-id", "").startswith("loop"):
        return JSONResponse({"detail": "no"}, status_code=500)
    return {"ok": True}
"""


@pytest.fixture(scope="module")
def routed(project: Any) -> Iterator[Any]:
    """The project with a row for one route, up."""
    project.run("down")
    config = project.folder / "golive.toml"
    rows = '\n[slo]\nerror_rate = { target = "<= 5%" }\nwork_error_rate = { target = "<= 5%", route = "POST /work" }\n'
    config.write_text(config.read_text() + rows)
    (project.folder / "main.py").write_text("BROKEN = False\n" + APP)
    project.ok("up", "--detach")
    return project


def _rows(text: str) -> dict[str, list[dict[str, str]]]:
    """The verdicts of every row, from ``ship -o ndjson``."""
    seen: dict[str, list[dict[str, str]]] = {}
    for line in text.splitlines():
        for row in json.loads(line)["event"].get("rows", ()):
            seen.setdefault(row["name"], []).append(row)
    return seen


def _load(project: Any) -> subprocess.Popen[str]:
    words = ["load", project.url() + "/work", "--method", "POST", "--rate", "80", "--duration", "1m", "-o", "ndjson"]
    return project.start(*words)


def _hammer(project: Any, client: str, stop: threading.Event) -> None:
    """A client that retries without pause."""
    while not stop.wait(0.02):
        project.send("POST", "/work", x_user_id=client)


def _client_on(project: Any, version: str) -> str:
    """A client that the gateway keeps on *version*."""
    for number in range(200):
        name = f"loop-{number}"
        if project.served_by("/hello", x_user_id=name) == version:
            return name
    raise AssertionError(f"none of 200 clients is on {version}")


def test_one_client_that_retries_does_not_take_a_healthy_release_back(routed: Any, load_report: Any) -> None:
    """Hundreds of failures of one client on the candidate are one failed client; the row of its route is judged."""
    load, stop = _load(routed), threading.Event()
    try:
        ship = routed.start("ship", "v2", "-o", "ndjson")
        routed.until("soaking")
        hammer = threading.Thread(target=_hammer, args=(routed, _client_on(routed, "v2"), stop))
        hammer.start()
        out, _ = ship.communicate(timeout=60)
    finally:
        stop.set()
        load_report(load)
    hammer.join(timeout=10)
    assert ship.returncode == 0, out[-2000:]
    judged = _rows(out)["work_error_rate"]
    assert {row["verdict"] for row in judged} >= {"PASS"}, judged[-1]


def test_a_route_that_breaks_for_everybody_is_taken_back(routed: Any, load_report: Any) -> None:
    """Many clients fail once each: that is a bad release."""
    (routed.folder / "main.py").write_text("BROKEN = True\n" + APP)
    routed.settle()  # the version the test before released may still be taking the old one's place
    load = _load(routed)
    done = routed.run("ship", "v3", "-o", "ndjson")
    load_report(load)
    assert done.returncode == 4, done.stdout[-2000:]
    assert _rows(done.stdout)["work_error_rate"]

"""The main job through the command line: a service, a real gateway, releases that go live and releases that do not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]


@pytest.fixture(autouse=True)
def _nothing_in_progress(project: Any) -> None:
    """Each test stands alone: which of them share a project, and in which order, is the test runner's affair."""
    project.settle()


def test_a_good_version_goes_live_and_the_old_one_leaves(project: Any, load_report: Callable[..., dict]) -> None:
    """Shipped under load: stage by stage to 100 %, nothing dropped, the old process gone."""
    project.write(broken=False, note="second")
    load = project.load("/hello")
    done = project.run("ship", "v2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "LIVE after" in done.stdout
    project.until("live")
    seen = load_report(load)
    assert (seen["dropped"], seen["failed"]) == (0, 0)
    assert project.status()["version"] == "v2"
    assert project.get("/hello") == (200, b'{"version":"v2"}')
    assert project.run("verify").returncode == 0


def test_a_bad_version_is_taken_back_with_the_reason(project: Any, load_report: Callable[..., dict]) -> None:
    """Everything fails on it: exit 4, the figures in words, traffic on the old version, few clients hurt."""
    project.write(broken=True)
    load = project.load("/work")
    done = project.run("ship", "v3")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "ROLLED BACK after" in done.stdout
    assert "canary" in done.stdout
    seen = load_report(load)
    assert seen["dropped"] == 0
    assert 0 < seen["failed"] <= 60
    assert project.get("/work")[0] == 200
    again = project.run("ship", "v3")
    assert again.returncode == 6
    assert "quarantine" in again.stderr


def entries(project: Any, rollout: str) -> list[dict]:
    """The journal of *rollout* as ``golive watch -o ndjson`` tells it."""
    return [json.loads(line) for line in project.run("watch", rollout, "-o", "ndjson").stdout.splitlines()]


def moment(entry: dict) -> datetime:
    """When *entry* happened, by the controller's clock."""
    return datetime.fromisoformat(entry["at"])


@pytest.mark.timed
def test_abort_is_on_the_wire_within_two_seconds(project: Any) -> None:
    """
    From the request being written to the gateway's confirmation, as both are recorded. What starting the command costs
    beside that is asked for as CPU time: how long a busy machine makes it wait is not golive's doing.
    """
    project.write(broken=False, note="to abort")
    rollout = project.ok("ship", "v4", "--detach").strip()
    project.until("soaking")
    done, cpu_seconds = project.cost("abort", "changed", "my", "mind")
    assert done.returncode == 0
    assert "traffic is v" in done.stdout
    written = entries(project, rollout)
    taken = next(entry for entry in written if entry["event"]["event"] == "aborted")
    confirmed = next(entry for entry in written if entry["seq"] > taken["seq"] and entry["phase"] == "draining")
    assert moment(confirmed) - project.asked("abort") <= timedelta(seconds=2)
    assert cpu_seconds <= 1.0
    assert project.until("rolled_back")["reason"] == "aborted by ada: changed my mind"
    assert project.run("abort").returncode == 6


def test_a_second_ship_is_refused_while_one_runs(project: Any) -> None:
    """One rollout at a time; the first goes on as if nothing had been asked."""
    project.write(broken=False, note="first of two")
    first = project.ok("ship", "v5", "--detach").strip()
    second = project.run("ship", "v6")
    assert second.returncode == 6
    assert f"rollout {first}" in second.stderr
    project.ok("pause", "thinking")
    assert project.status()["rollouts"][0]["paused_by"] == "ada"
    assert project.run("resume").returncode == 0
    project.ok("abort")
    project.until("rolled_back")


def test_a_version_that_cannot_start_gets_no_traffic(project: Any) -> None:
    """Its own last words are the reason; the old version serves on."""
    (project.folder / "main.py").write_text("import a_module_that_is_not_there\n")
    done = project.run("ship", "v7")
    assert done.returncode == 4
    assert "a_module_that_is_not_there" in done.stdout
    assert project.get("/hello")[0] == 200


def test_a_version_the_gates_refuse_is_no_go(project: Any) -> None:
    """It starts, and its smoke request fails: exit 3, before any user saw it."""
    project.write(broken=False, note="no hello")
    source = (project.folder / "main.py").read_text().replace("/hello", "/bonjour")
    (project.folder / "main.py").write_text(source)
    done = project.run("ship", "v8")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "smoke" in done.stdout
    assert project.get("/hello")[0] == 200


@pytest.mark.timed
def test_a_killed_controller_changes_nothing_and_its_successor_goes_on(
    project: Any, load_report: Callable[..., dict]
) -> None:
    """
    kill -9 mid-rollout: traffic stays, the next `golive up` resumes within five seconds and finishes. The seconds run
    from the start of its process to its first entry, without those in which other processes had the processor.
    """
    project.write(broken=False, note="survivor")
    load = project.load("/hello")
    rollout = project.ok("ship", "v9", "--detach").strip()
    project.until("soaking")
    holder = int(project.status()["controller"].split()[1])
    os.kill(holder, signal.SIGSTOP)  # or it moves on between the look and the kill
    before = project.status()["traffic"]
    os.kill(holder, signal.SIGKILL)
    time.sleep(0.3)
    assert project.status()["traffic"] == before
    assert project.status()["controller"] is None
    up, cpu_seconds = project.cost("up", "--detach")
    assert up.returncode == 0, up.stderr
    assert cpu_seconds <= 2.5
    successor = int(project.status()["controller"].split()[1])
    born, kept_waiting = project.born(successor), project.kept_waiting(successor)
    project.until("live")
    resumed = [entry for entry in entries(project, rollout) if entry["event"]["event"] == "controller_started"]
    assert str(successor) in resumed[-1]["event"]["holder"]
    assert moment(resumed[-1]) - born - kept_waiting <= timedelta(seconds=5)
    seen = load_report(load)
    assert (seen["dropped"], seen["failed"]) == (0, 0)
    assert "whole" in project.ok("verify")


def test_abort_works_without_any_controller(project: Any) -> None:
    """Nobody controls: the command itself takes the lease and brings the traffic back."""
    project.write(broken=False, note="orphan")
    project.ok("ship", "v10", "--detach")
    project.until("soaking")
    holder = int(project.status()["controller"].split()[1])
    os.kill(holder, signal.SIGKILL)
    done = project.run("abort", "nobody", "home")
    assert done.returncode == 0, done.stderr
    assert project.status()["rollouts"][0]["phase"] == "rolled_back"
    assert project.status()["traffic"].endswith("=100")
    project.ok("up", "--detach")


def test_rollback_puts_the_version_before_back(project: Any, load_report: Callable[..., dict]) -> None:
    """One command, one step, also after the old version was stopped."""
    project.write(broken=False, note="to return from")
    load = project.load("/hello")
    project.ok("ship", "v14")
    load_report(load)
    project.until("live")
    previous, current = project.status()["previous"], project.status()["version"]
    done = project.run("rollback")
    assert done.returncode == 0, done.stdout + done.stderr
    project.until("live")
    assert project.status()["version"] == previous != current
    again = project.run("ship", "v14")
    assert again.returncode == 6
    assert "v14 is in quarantine: rollout" in again.stderr
    assert "returned from it" in again.stderr


def test_a_user_can_ask_for_a_version_by_header(project: Any) -> None:
    """The forced header reaches the candidate before the weight does."""
    project.write(broken=False, note="forced")
    project.ok("ship", "v11", "--detach")
    project.until("soaking")
    assert project.get("/hello", x_golive_version="v11") == (200, b'{"version":"v11"}')
    project.ok("abort")
    project.until("rolled_back")


def test_status_tells_people_and_scripts_the_same(project: Any) -> None:
    """Text and JSON name the same version, traffic and controller."""
    facts = project.status()
    text = project.run("status").stdout
    for key in ("version", "gateway", "traffic", "controller"):
        assert facts[key] in text


def test_the_doctor_finds_nothing_wrong_with_what_runs(project: Any) -> None:
    """Gateway, controller, version in production, journal with all that happened: OK, but for the machine itself."""
    done = project.run("doctor", "--json")
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)["findings"]
    assert {one["check"] for one in told if one["level"] != "OK"} <= {"open files", "disk", "golive"}, told
    assert {"gateway", "controller", "versions", "journal", "orphans", "ports"} <= {one["check"] for one in told}


def test_a_second_controller_is_refused(project: Any) -> None:
    """`golive up` twice: exit 6, naming the one that runs."""
    done = project.run("up")
    assert done.returncode == 6
    assert "already runs" in done.stderr


def test_an_interrupted_ship_leaves_the_rollout_running(project: Any) -> None:
    """Control-C ends the view with 130; the rollout goes on to its end."""
    project.write(broken=False, note="interrupted")
    ship = subprocess.Popen(
        [sys.executable, "-m", "golive", "ship", "v12"],
        cwd=project.folder,
        env=project.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    project.until("soaking")
    ship.send_signal(signal.SIGINT)
    _, err = ship.communicate(timeout=20)
    assert ship.returncode == 130
    assert "the rollout goes on" in err
    assert project.status()["rollouts"][0]["phase"] not in ("rolled_back", "rolling_back")
    project.ok("abort")


def test_machine_output_is_one_json_object_per_event(project: Any) -> None:
    """`ship -o ndjson` streams the journal; every line names its schema and its event."""
    project.write(broken=False, note="ndjson")
    load = project.load("/hello")
    done = project.run("ship", "v13", "-o", "ndjson")
    load.terminate()
    load.communicate(timeout=30)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["schema"] for line in lines} == {"golive/rollout/v1"}
    assert lines[0]["event"]["event"] == "started"
    assert lines[-1]["phase"] in ("watching", "promoting", "retiring", "live")

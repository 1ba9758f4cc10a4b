"""What a verb asks of the controller, and what it says of the answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from golive.cli import abort, inbox
from golive.project import Project, open_journal, project_at
from golive.rollout import events as ev
from golive.rollout.journal import Journal
from golive.rollout.lease import Lease
from golive.rollout.machine import begin
from golive.rollout.plan import preset
from golive.rollout.ports import Split

AT = datetime.now(UTC)
WITH_A_FAULT = 'service = "web"\n[deploy]\nworker_command = "run"\n[load]\nrte = 3\n'


@pytest.fixture
def place(tmp_path: Path) -> Project:
    """A project that moves jobs too and whose golive.toml has a typing error in another table."""
    (tmp_path / "golive.toml").write_text(WITH_A_FAULT)
    project = project_at(tmp_path, environ={})
    project.state_dir.mkdir(exist_ok=True)
    return project


@pytest.fixture
def controlled(place: Project) -> Iterator[Journal]:
    """The journal of *place*, which this process controls, with the rollout web-1 of v2 in it."""
    journal = open_journal(place)
    fence = Lease(journal.connection, "web").acquire(datetime.now(UTC))
    event = ev.Started(at=AT, id="web-1", service="web", stable="v1", candidate="v2", plan=preset("demo"), actor="ada")
    journal.append(event, begin(event)[0], None, fence=fence)
    yield journal
    journal.close()


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked is answered at once."""
    monkeypatch.setattr(inbox, "_wait", lambda *_: "it is done")


@pytest.mark.usefixtures("answered")
def test_a_verb_is_about_the_rollout_that_was_in_progress_when_it_was_typed(
    place: Project, controlled: Journal
) -> None:
    """Whatever comes after it, while the answer is waited for, is not meant; a ship is about none."""
    inbox.ask(place, "abort", {"reason": "slow"})
    inbox.ask(place, "pause", {"rollout": "web-0"})
    inbox.ask(place, "ship", {"version": "v3"})
    bodies: list[dict[str, Any]] = [request.body for request in controlled.requests("web")]
    assert bodies == [{"reason": "slow", "rollout": "web-1"}, {"rollout": "web-0"}, {"version": "v3"}]


@pytest.mark.usefixtures("answered", "controlled")
def test_an_abort_that_was_answered_is_no_error_when_the_gateway_cannot_be_asked(place: Project) -> None:
    """The controller has done it; that another table has a fault only means that somebody else has to look."""
    done = CliRunner().invoke(abort.command, ["--config", str(place.config_path)], standalone_mode=False)
    assert done.exception is None, done.exception
    assert done.return_value == 0
    assert done.stdout == "it is done\n"
    assert "load.rte" in done.stderr
    assert "see `golive status`" in done.stderr


@pytest.mark.parametrize(
    ("split", "back"),
    [
        (Split("v1"), True),
        (Split("v1", "v2"), True),
        (Split("v1", "v2", 100), False),
        (Split("v2"), False),  # it was being promoted
    ],
)
def test_the_traffic_is_back_when_the_old_version_has_all_of_it(split: Split, back: bool) -> None:
    """Not when a version has all of it."""
    assert abort._is_back(split, "v1") is back

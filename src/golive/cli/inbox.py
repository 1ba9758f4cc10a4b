"""
How verbs talk to the controller: a request in the journal's inbox, and the wait for its answer.

The controller may be another process, or dead. A request to a dead one is refused at once with what to do, except an
abort, which is carried out by whoever asks.
"""

from __future__ import annotations

import getpass
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from golive.errors import ExitCode, GoliveError, TimeoutExceededError, UnavailableError
from golive.project import Place, Project, open_journal, project_at
from golive.rollout.journal import Journal
from golive.rollout.lease import Holder, current_holder

if TYPE_CHECKING:
    from golive.config import Settings

ANSWER_SECONDS = 30.0
"""A request is answered within a tenth of a second; taking the snapshot of a large project is what may take longer."""

TURN_SECONDS = 120.0
"""How long a ship waits for its release to be made and for the version before it to leave, with all its graces."""

_POLL_SECONDS = 0.02
TOLD_AFTER_SECONDS = 1.0
"""Whoever waits longer than this is told what for, where the verb has something to say."""

config_option = click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="golive.toml, or its folder."
)
environment_option = click.option("--env", "environment", help="The environment of golive.toml to use.")


class AnsweredError(GoliveError):
    """The controller said no; its own sentence and exit code."""

    def __init__(self, text: str, exit_code: int) -> None:
        self.exit_code = ExitCode(exit_code)
        super().__init__(text)


def settings_for(config_path: Path | None, environment: str | None) -> Settings:
    """All settings, for a verb that needs more than to find what runs."""
    from golive.config import load_settings  # building the model costs more than the rest of a short command

    return load_settings(config_path, environment=environment)


def project_for(config_path: Path | None, environment: str | None) -> Project:
    """The service and its state, for a verb that only talks to what runs."""
    return project_at(config_path, environment=environment)


def actor() -> str:
    """Who is asking: the account's name, or GOLIVE_ACTOR where a pipeline acts for somebody."""
    name = os.environ.get("GOLIVE_ACTOR", "").strip()
    if name:
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


def controller_of(journal: Journal, place: Place) -> Holder | None:
    """Who controls the service now; None when nobody that lives does."""
    return current_holder(journal.connection, place.service, datetime.now(UTC))


def ask(place: Place, verb: str, body: dict[str, Any], *, seconds: float = ANSWER_SECONDS, waiting: str = "") -> str:
    """
    Ask the controller, and wait for its answer. When it takes more than a moment, *waiting* is said on stderr.

    Whatever is asked about a rollout is asked about the one in progress now, unless *body* names another: what comes
    after it, while the answer is waited for, is never meant.

    Raises: AnsweredError with the controller's refusal; UnavailableError when no controller runs;
    TimeoutExceededError when it does not answer, in which case the request was withdrawn.
    """
    journal = open_journal(place)
    try:
        if controller_of(journal, place) is None:
            raise UnavailableError(
                f"{place.service}: expected a running controller to {verb}, found none. Start it with `golive up`."
            )
        if verb != "ship" and (active := journal.active(place.service)) is not None:
            body = {"rollout": active[0].id, **body}
        number = journal.ask(place.service, actor(), verb, body, datetime.now(UTC))
        try:
            return _wait(journal, place, number, seconds, waiting)
        except KeyboardInterrupt:
            journal.withdraw(number)
            raise
    finally:
        journal.close()


def _wait(journal: Journal, place: Place, number: int, seconds: float, waiting: str) -> str:
    began, told = time.monotonic(), False
    deadline = began + seconds
    while time.monotonic() < deadline:
        answer = journal.answer_to(number)
        if answer is not None:
            code, text = answer
            if code != ExitCode.OK:
                raise AnsweredError(text, code)
            return text
        if controller_of(journal, place) is None and journal.withdraw(number):
            raise UnavailableError(
                f"{place.service}: the controller died before it answered; nothing was done. Run `golive up` again."
            )
        if waiting and not told and time.monotonic() - began > TOLD_AFTER_SECONDS:
            click.echo(waiting, err=True)
            told = True
        time.sleep(_POLL_SECONDS)
    if journal.withdraw(number):
        why = "its turn did not come" if waiting else "the controller did not answer"
        raise TimeoutExceededError(f"{place.service}: {why} within {seconds:.3g} s; the request was withdrawn.")
    return _wait_for_late(journal, number)


def _wait_for_late(journal: Journal, number: int) -> str:
    """The controller answered between our last look and the withdrawal."""
    code, text = journal.answer_to(number) or (ExitCode.BUG, "the request vanished")
    if code != ExitCode.OK:
        raise AnsweredError(text, code)
    return text

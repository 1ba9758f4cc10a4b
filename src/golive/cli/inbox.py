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
from typing import Any

import click

from golive.config import Settings, load_settings
from golive.errors import ExitCode, GoliveError, TimeoutExceededError, UnavailableError
from golive.rollout.journal import Journal
from golive.rollout.lease import Holder, current_holder
from golive.wiring import open_journal

ANSWER_SECONDS = 30.0
"""A request is answered within a tenth of a second; taking the snapshot of a large project is what may take longer."""

_POLL_SECONDS = 0.02

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
    """The settings a verb works with."""
    return load_settings(config_path, environment=environment)


def actor() -> str:
    """Who is asking: the account's name, or GOLIVE_ACTOR where a pipeline acts for somebody."""
    name = os.environ.get("GOLIVE_ACTOR", "").strip()
    if name:
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


def controller_of(journal: Journal, settings: Settings) -> Holder | None:
    """Who controls the service now; None when nobody that lives does."""
    return current_holder(journal.connection, settings.service, datetime.now(UTC))


def ask(settings: Settings, verb: str, body: dict[str, Any], *, seconds: float = ANSWER_SECONDS) -> str:
    """
    Ask the controller, and wait for its answer.

    Raises: AnsweredError with the controller's refusal; UnavailableError when no controller runs;
    TimeoutExceededError when it does not answer, in which case the request was withdrawn.
    """
    journal = open_journal(settings)
    try:
        if controller_of(journal, settings) is None:
            raise UnavailableError(
                f"{settings.service}: expected a running controller to {verb}, found none. Start it with `golive up`."
            )
        number = journal.ask(settings.service, actor(), verb, body, datetime.now(UTC))
        try:
            return _wait(journal, settings, number, seconds)
        except KeyboardInterrupt:
            journal.withdraw(number)
            raise
    finally:
        journal.close()


def _wait(journal: Journal, settings: Settings, number: int, seconds: float) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = journal.answer_to(number)
        if answer is not None:
            code, text = answer
            if code != ExitCode.OK:
                raise AnsweredError(text, code)
            return text
        if controller_of(journal, settings) is None and journal.withdraw(number):
            raise UnavailableError(
                f"{settings.service}: the controller died before it answered; nothing was done. Run `golive up` again."
            )
        time.sleep(_POLL_SECONDS)
    if journal.withdraw(number):
        raise TimeoutExceededError(
            f"{settings.service}: the controller did not answer within {seconds:g} s; the request was withdrawn."
        )
    return _wait_for_late(journal, number)


def _wait_for_late(journal: Journal, number: int) -> str:
    """The controller answered between our last look and the withdrawal."""
    code, text = journal.answer_to(number) or (ExitCode.BUG, "the request vanished")
    if code != ExitCode.OK:
        raise AnsweredError(text, code)
    return text

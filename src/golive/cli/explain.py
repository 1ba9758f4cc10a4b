"""``golive explain``: say why a rollout decided what it did, from the journal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from golive.cli.explain_view import as_json, as_text
from golive.cli.inbox import config_option, environment_option, project_for
from golive.cli.moment import up_to
from golive.cli.story import tell
from golive.cli.terminal import glyphs, make_console
from golive.cli.watch import latest
from golive.errors import ExitCode
from golive.planning import make_judge
from golive.project import open_journal
from golive.rollout.recompute import Recomputed, recompute


@click.command(short_help="Say why a rollout decided what it did, from the journal.")
@click.argument("rollout", required=False, metavar="[ID]")
@config_option
@environment_option
@click.option("--at", "moment", help='The verdict at that moment: "+12s" after the start, "10:12:03", or an entry.')
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(
    rollout: str | None, config_path: Path | None, environment: str | None, moment: str | None, output: str
) -> int:
    """
    Tell the story of a rollout (by default the latest): its stages, what they saw, and what decided.

    Every verdict is recomputed from the journal, by the judge it began with and the evidence it saw; exit 3 when one
    comes out differently, which means that the journal or golive was changed since.
    """
    project = project_for(config_path, environment)
    journal = open_journal(project)
    try:
        identifier = rollout or latest(journal, project)
        state = journal.rollout(identifier)
        entries = list(journal.entries(identifier))
    finally:
        journal.close()
    chosen = up_to(entries, moment) if moment else entries
    story = tell(chosen)
    again = list(recompute(chosen, make_judge))
    if output == "json":
        click.echo(json.dumps(as_json(story, chosen, again, at_moment=moment is not None)))
    else:
        console = make_console()
        for line in as_text(story, chosen, again, console.width, glyphs(), at_moment=moment is not None):
            console.print(line, soft_wrap=True)
        if moment and not state.final:
            click.echo(f"the rollout goes on: golive watch {identifier}", err=True)
    return _code(again)


def _code(again: Sequence[Recomputed]) -> ExitCode:
    return ExitCode.NO_GO if any(each.differences for each in again) else ExitCode.OK

"""``golive config``: the settings in force, where each came from, and what is wrong with them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from golive.errors import ConfigError

_Function = Callable[..., Any]


_HERE = "The file, or the folder it is in. [default: here or above]"
_LAID_OVER = "The environment table to lay over it. [default: $GOLIVE_ENV]"


def _file(function: _Function) -> _Function:
    return click.option("-c", "--config", "file", type=click.Path(path_type=Path), help=_HERE)(function)


def _environment(function: _Function) -> _Function:
    return click.option("-e", "--env", "environment", metavar="NAME", help=_LAID_OVER)(function)


def _output(*choices: str) -> Callable[[_Function], _Function]:
    return click.option("-o", "--output", type=click.Choice(choices), default=choices[0], show_default=True)


@click.group(name="config")
def command() -> None:
    """Show the settings in force and where each came from."""


@command.command()
@_file
@_environment
@click.option("--origin", is_flag=True, help="Say behind every value where it comes from.")
@_output("text", "json")
def show(file: Path | None, environment: str | None, origin: bool, output: str) -> None:
    """Print the settings in force as a golive.toml. Secrets are masked."""
    from golive.config import load_settings
    from golive.config.render import dotted, shown_values, to_toml

    settings = load_settings(file, environment=environment)
    if output == "text":
        click.echo(to_toml(settings, origins=origin), nl=False)
        return
    values = shown_values(settings)
    document: dict[str, Any] = {
        "schema": "golive/config/v1",
        "file": str(settings.file),
        "environment": settings.environment,
        "settings": {dotted(path): value for path, value in values.items()},
    }
    if origin:
        document["origins"] = {dotted(path): str(settings.origin(*path)) for path in values}
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


@command.command()
@_file
@_environment
@_output("text", "json")
def check(file: Path | None, environment: str | None, output: str) -> None:
    """Find every fault, in all environments unless --env names one. Exit code 2 when there is one."""
    from golive.config import environments, load_settings
    from golive.config.load import faults_elsewhere
    from golive.config.render import notices
    from golive.config.source import shown

    found: list[str] = []
    heard: list[str] = []
    checked = None
    try:
        settings = load_settings(file, environment=environment)
        checked, heard = settings.file, list(notices(settings))
    except ConfigError as error:
        found += error.faults
    try:
        names = [environment] if environment else environments(file)
        found += [fault for name in names for fault in faults_elsewhere(file, name, os.environ)]
    except ConfigError:
        names = []  # the file cannot be read at all: said above
    found = list(dict.fromkeys(found))
    if output == "json":
        document = {"schema": "golive/config-check/v1", "ok": not found, "environments": names,
                    "faults": found, "notices": heard}  # fmt: skip
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    for notice in heard:
        click.echo(notice, err=True)
    if found:
        raise ConfigError(*found)
    assert checked is not None, "without a fault there are settings"
    if output == "text":
        click.echo(f"{shown(checked)}: OK" + (f" (environments: {', '.join(names)})" if names else ""))


@command.command()
def schema() -> None:
    """Print the JSON Schema of golive.toml; editors complete and check with it."""
    from golive.config.render import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


@command.command()
@_file
@_environment
@_output("markdown", "json")
def slo(file: Path | None, environment: str | None, output: str) -> None:
    """Print the table: metric, target, alert if."""
    from golive.config import load_settings
    from golive.config.slo import write_table
    from golive.slo.table import to_markdown

    table = load_settings(file, environment=environment).slo
    if output == "markdown":
        click.echo(to_markdown(table), nl=False)
    else:
        click.echo(json.dumps({"schema": "golive/slo/v1", "rows": write_table(table)}, indent=2, ensure_ascii=False))

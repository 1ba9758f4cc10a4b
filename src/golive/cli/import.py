"""``golive import``: the parts of a golive.toml that manifests of Argo Rollouts or Flagger already say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from golive.errors import ConfigError, RefusedError

if TYPE_CHECKING:
    from golive.rollout.imports.draft import Draft
    from golive.rollout.imports.manifest import Manifests

_Function = Callable[..., Any]


def _arguments(function: _Function) -> _Function:
    file = click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
    output = click.option("-o", "output", metavar="FILE", type=click.Path(path_type=Path), help="Write there instead.")
    force = click.option("--force", is_flag=True, help="Replace the file of -o.")
    return file(output(force(function)))


@click.group(name="import")
def command() -> None:
    """
    Translate manifests of another rollout tool into parts of a golive.toml.

    What has no equivalent is said on stderr, and in the result as a comment, with file and line.
    """


@command.command()
@_arguments
def argo(files: tuple[Path, ...], output: Path | None, force: bool) -> None:
    """A Rollout of Argo Rollouts, with its AnalysisTemplates."""
    from golive.rollout.imports.argo import translate

    _translate(files, output, force, translate)


@command.command()
@_arguments
def flagger(files: tuple[Path, ...], output: Path | None, force: bool) -> None:
    """A Canary of Flagger, with its MetricTemplates."""
    from golive.rollout.imports.flagger import translate

    _translate(files, output, force, translate)


def _translate(
    files: tuple[Path, ...], output: Path | None, force: bool, translate: Callable[[Manifests], Draft]
) -> None:
    from golive.rollout.imports.manifest import Manifests, read

    if output is not None and output.exists() and not force:
        raise RefusedError(f"{output}: is there already. --force replaces it.")
    found = Manifests()
    for file in files:
        read(_text(file), str(file), found)
    draft = translate(found)
    text = draft.text([str(file) for file in files])
    for note in draft.notes:
        click.echo(note, err=True)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        with output.open("w" if force else "x", encoding="utf-8") as handle:
            handle.write(text)
    except FileExistsError:
        raise RefusedError(f"{output}: is there already. --force replaces it.") from None
    except OSError as error:
        raise ConfigError(f"{output}: expected a file that can be written, got: {error.strerror}.") from None


def _text(file: Path) -> str:
    from golive.rollout.imports.manifest import BYTES_MAX

    try:
        with file.open("rb") as handle:
            raw = handle.read(BYTES_MAX + 1)
        if len(raw) > BYTES_MAX:
            raise ConfigError(f"{file}: expected at most {BYTES_MAX // 1024} KiB, got more. Cut the manifest up.")
        return raw.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(f"{file}: expected a YAML file that can be read, got: {why}.") from None

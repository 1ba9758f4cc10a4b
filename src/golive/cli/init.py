"""``golive init``: write a golive.toml that works for the project in this folder."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import click

from golive.config.detect import Findings, FoundApp, search
from golive.config.starter import starter
from golive.errors import RefusedError, UnavailableError, UsageError

_APP = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
IGNORED = ".golive/"


@click.command()
@click.option("--app", metavar="MODULE:NAME", help="The ASGI app, when the search finds none or several.")
@click.option("--force", is_flag=True, help="Replace a golive.toml that is already there.")
@click.option("--dry-run", is_flag=True, help="Print what would be written, and write nothing.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
def command(app: str | None, force: bool, dry_run: bool, yes: bool) -> None:
    """Write a golive.toml that works for the project in this folder."""
    root = Path.cwd()
    target = root / "golive.toml"
    if not dry_run:
        _refuse_to_overwrite(target, force)
    found = _choose(app, root)
    git = _in_git(root)
    text = starter(service=_service(root), app=found.app, where=found.where, folder=found.folder, git=git)
    _check(text, target)
    if dry_run:
        click.echo(text, nl=False)
        return
    if target.exists() and not yes and sys.stdin.isatty():
        click.confirm("Replace golive.toml?", abort=True, err=True)
    _write(target, text)
    click.echo(f"wrote golive.toml: service {_service(root)}, app {found.app} ({found.where})")
    if git and _ignore(root / ".gitignore"):
        click.echo(f"added {IGNORED} to .gitignore")
    click.echo(
        "Next:\n"
        "  golive up         start the gateway and this version behind it\n"
        "  golive check      is it ready? GO or NO-GO\n"
        "  golive ship v2    change something, then roll it out step by step"
    )


def _refuse_to_overwrite(target: Path, force: bool) -> None:
    from golive.config.source import in_pyproject

    if in_pyproject(target.parent):
        raise RefusedError("pyproject.toml: has [tool.golive] already. Remove it first, or go on with it.")
    if target.exists() and not force:
        raise RefusedError("golive.toml: is there already. `golive init --force` replaces it, --dry-run only prints.")


def _choose(app: str | None, root: Path) -> FoundApp:
    findings = search(root)
    if app is not None:
        return _named(app, findings)
    if len(findings.apps) == 1:
        return findings.apps[0]
    if findings.apps:
        width = max(len(each.app) for each in findings.apps)
        listed = "\n".join(f"  --app {each.app:<{width}}  {each.framework} in {each.where}" for each in findings.apps)
        raise UsageError(f"found {len(findings.apps)} apps. Say which one goes live:\n{listed}")
    hint = "".join(f"\n  {each} makes one: assign its result, app = ..." for each in findings.factories[:5])
    searched = f"the first {findings.files}" if findings.truncated else f"{findings.files}"
    raise UsageError(
        f"found no ASGI app in {searched} Python file{'s' * (findings.files != 1)} here: looked for "
        "FastAPI(), Starlette(), Litestar() or Quart() at the top of a module. "
        f"Name it: golive init --app module:name.{hint}"
    )


def _named(app: str, findings: Findings) -> FoundApp:
    if not _APP.fullmatch(app):
        raise UsageError(f'--app: expected an import string such as "main:app" or "checkout.main:app", got "{app}".')
    for found in findings.apps:
        if found.app == app:
            return found
    module = app.partition(":")[0].replace(".", "/")
    inside_src = any(Path("src", f"{module}{end}").exists() for end in (".py", "/__init__.py"))
    return FoundApp(app, "src" if inside_src else ".", "named by --app", "--app")


def _service(root: Path) -> str:
    from golive.config.load import service_name

    return service_name(root)


def _in_git(root: Path) -> bool:
    return any((folder / ".git").exists() for folder in (root, *root.parents))


def _check(text: str, target: Path) -> None:
    """A file that would not load is not written: its faults would meet the user one command later."""
    from golive.config.load import check_text

    check_text(text, target)


def _write(target: Path, text: str) -> None:
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UnavailableError(f"{target.name}: cannot be written: {error.strerror}.") from None


def _ignore(file: Path) -> bool:
    """Add the state folder to .gitignore; False when it is in there."""
    try:
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        if any(line.strip().strip("/") == IGNORED.strip("/") for line in text.splitlines()):
            return False
        gap = "" if not text or text.endswith("\n") else "\n"
        with file.open("a", encoding="utf-8") as stream:
            stream.write(f"{gap}{IGNORED}\n")
    except (OSError, UnicodeDecodeError) as error:
        click.echo(f".gitignore: cannot be changed ({error}). Add {IGNORED} yourself.", err=True)
        return False
    return True

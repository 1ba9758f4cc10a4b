"""
``golive serve``: run an ASGI app inside the production chassis. Imports almost nothing, so that probes are answered
early.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import click

from golive.errors import UsageError
from golive.timing import parse_duration


class Duration(click.ParamType[timedelta]):
    """An option such as ``3s``."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """See :func:`golive.timing.parse_duration`."""
        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _default_port() -> int:
    """``$PORT``, which Cloud Run and most platforms set, or 8000."""
    given = os.environ.get("PORT", "8000")
    if not given.isdecimal() or int(given) > 65535:
        raise UsageError(f"PORT: expected 0 to 65535, got {given!r}.")
    return int(given)


@click.command()
@click.argument("app", metavar="MODULE:APP")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 in a container.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=None, help="Port, 0 for a free one.  [default: $PORT or 8000]"
)
@click.option("--env-file", "env_files", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
              help="Read KEY=value lines; the environment wins. May be repeated.")  # fmt: skip
@click.option(
    "--lame-duck", type=Duration(), default=None, help="Serve on after SIGTERM while not ready.  [default: 3s]"
)
@click.option("--grace", type=Duration(), default=None, help="Let requests in flight finish.  [default: 25s]")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    envvar="WEB_CONCURRENCY",
    show_default=True,
    show_envvar=True,
    help="Processes that serve the port; one that dies is replaced, and metrics are those of all.",
)
@click.option("--factory", is_flag=True, help="APP is a function that makes the app.")
@click.option("--no-chassis", is_flag=True, help="Run the app bare: only this boot and this shutdown.")
def command(
    app: str,
    host: str,
    port: int | None,
    env_files: tuple[Path, ...],
    lame_duck: timedelta | None,
    grace: timedelta | None,
    workers: int,
    factory: bool,
    no_chassis: bool,
) -> None:
    """
    Run an ASGI app inside the production chassis.

    The port answers /livez before the app is imported; /startupz and /health/ready say when it is up. SIGTERM makes it
    not ready, keeps serving for the lame duck, then lets requests in flight finish. A second signal ends it at once.
    """
    from golive.chassis.serving import serve

    if env_files:
        from golive.chassis.envfile import load_env_file

        for env_file in env_files:
            load_env_file(env_file, os.environ)
    code = serve(
        app,
        host=host,
        port=_default_port() if port is None else port,
        factory=factory,
        with_chassis=not no_chassis,
        overrides={"lame_duck": lame_duck, "grace": grace},
        workers=workers,
    )
    if code:
        raise click.exceptions.Exit(code)

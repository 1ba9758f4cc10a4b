"""
What surrounds every verb: lazy loading, the version flag, and the border where exceptions become exit codes.

Left out on purpose: formatting of results (each verb prints its own) and settings (each verb loads what it needs).
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback

import click

from golive.errors import ExitCode, GoliveError, did_you_mean
from golive.version import __version__


class LazyVerbs(click.Group):
    """A command group that imports ``golive.cli.<verb>`` only when that verb is called."""

    def __init__(self, verbs: dict[str, str]) -> None:
        super().__init__(
            name="golive",
            help='Takes a Python service from "it works" to "it is live".',
            epilog="Exit codes: 0 GO or live, 2 usage or configuration, 3 NO-GO, 4 rolled back, 5 time-out, "
            "6 refused, 7 waiting for approval, 130 interrupted.",
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
            no_args_is_help=True,
            params=[
                click.Option(["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
                             help="Print the version and exit."),
                click.Option(["--debug"], is_flag=True, is_eager=True, expose_value=False, callback=_debug,
                             help="Show the whole trace of an error."),
            ],
        )  # fmt: skip
        self.verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order a newcomer meets them, not alphabetically."""
        return list(self.verbs)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The verb's own command, imported now; None when there is no such verb."""
        if name not in self.verbs:
            return None
        command = importlib.import_module(f"golive.cli.{name}").command
        assert isinstance(command, click.Command), f"golive.cli.{name}.command is a click command"
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with a suggestion for a verb that does not exist."""
        if args and args[0] not in self.verbs and not args[0].startswith("-"):
            ctx.fail(f'unknown command "{args[0]}"{did_you_mean(args[0], list(self.verbs))} See golive --help.')
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of verbs, from the table alone: ``--help`` imports none of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.verbs.items()))


def _print_version(ctx: click.Context, _param: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(f"golive {__version__}")
        ctx.exit()


def _debug(_ctx: click.Context, _param: click.Parameter, asked: bool) -> None:
    if asked:
        os.environ["GOLIVE_DEBUG"] = "1"


def app_for(verbs: dict[str, str], arguments: list[str]) -> int:
    """Run *arguments* against *verbs* and return the exit code; prints one line per error on stderr."""
    try:
        outcome = LazyVerbs(verbs).main(args=arguments, prog_name="golive", standalone_mode=False)
        return int(outcome) if isinstance(outcome, int) else ExitCode.OK
    except GoliveError as error:
        return _tell(error, error.exit_code)
    except click.exceptions.Exit as request:
        return request.exit_code
    except click.ClickException as error:
        error.show(file=sys.stderr)
        return ExitCode.USAGE
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away (`| head`): not an error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as error:
        click.echo(f"golive has a bug: {type(error).__name__}: {error}", err=True)
        click.echo("Run the same command as `golive --debug ...` and report the trace.", err=True)
        if os.environ.get("GOLIVE_DEBUG"):
            traceback.print_exc()
        return ExitCode.BUG


def _tell(error: GoliveError, code: int) -> int:
    click.echo(str(error), err=True)
    if os.environ.get("GOLIVE_DEBUG"):
        traceback.print_exception(error)
    return code

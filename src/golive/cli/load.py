"""
``golive load``: send requests at a fixed rate and say what a visitor waited for.

Its own process on purpose: a generator that shares an interpreter with a controller measures the controller.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, Literal
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from golive.cli.inbox import config_option, environment_option
from golive.errors import NoGoError, UsageError
from golive.gates.thresholds import latency_limit, parse_threshold
from golive.load import Histogram, LoadPlan, LoadReport, RequestSpec, Stage, Window, run_several
from golive.load.mix import read_mix
from golive.timing import parse_duration

Output = Literal["text", "json", "ndjson"]
_BAR_WIDTH = 50
_BODY_BYTES_MAX = 16 * 1024 * 1024


@click.command(short_help="Send an open-loop load and report honest percentiles.")
@click.argument("url")
@click.option("--rate", type=float, default=200.0, show_default=True, help="Requests per second (open loop).")
@click.option(
    "--duration", default="10s", show_default=True, help='How long, such as 30s or 5m; "forever" until stopped.'
)
@click.option(
    "--stage",
    "stages",
    multiple=True,
    metavar="RATE:TIME[:ramp]",
    help="A stage, repeatable; replaces --rate and --duration. With ramp, the rate changes evenly.",
)
@click.option("--poisson", is_flag=True, help="Random arrivals, as from many independent visitors.")
@click.option("--concurrency", type=int, help="Closed loop instead: N users, each waits for its answer.")
@click.option(
    "--processes", type=int, default=1, show_default=True, help="Generators, for a rate one core cannot send."
)
@click.option("--requests", "requests_max", type=int, help="Stop after so many requests.")
@click.option("--method", default="GET", show_default=True)
@click.option("--path", "paths", multiple=True, help="Appended to the URL; repeat for an even mix.")
@click.option("--header", "-H", "headers", multiple=True, metavar="NAME: VALUE", help="Repeatable.")
@click.option(
    "--body", help="Text, or @FILE. {n}, {n%400}, {user} and {uuid} are filled in, here and in headers and paths."
)
@click.option(
    "--mix", type=click.Path(path_type=Path), help="JSON list of requests {method, path, headers, body, weight}."
)
@click.option("--users", type=int, default=100, show_default=True, help="How many different {user}s.")
@click.option("--expect", multiple=True, metavar="STATUS", help="What is no failure: 2xx, 409. Default 2xx and 3xx.")
@click.option("--timeout", default="10s", show_default=True, help="Per request, from its intended time.")
@click.option("--connections", "connections_max", type=int, default=512, show_default=True, help="At most so many.")
@click.option("--no-keep-alive", is_flag=True, help="A connection per request.")
@click.option("--tally-header", help="Count answers by the value of this response header.")
@click.option("--tally-json", help="Count answers by this field of the JSON answer.")
@click.option(
    "--threshold",
    "-t",
    "thresholds",
    multiple=True,
    metavar="CONDITION",
    help='Exit 3 unless it holds: "p95 < 300ms", "error_rate < 1%", "dropped == 0". Repeatable.',
)
@click.option("--slo", is_flag=True, help="The thresholds of [slo] in golive.toml, as they are in the gate.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of arrivals, mix and {uuid}.")
@click.option("--insecure", is_flag=True, help="Accept any TLS certificate.")
@click.option("--i-own-this-host", "remote_allowed", is_flag=True, help="Needed when the target is not this machine.")
@config_option
@environment_option
@click.option("-o", "--output", type=click.Choice(["text", "json", "ndjson"]), default="text", show_default=True)
@click.pass_context
def command(
    context: click.Context,
    url: str, rate: float, duration: str, stages: tuple[str, ...], poisson: bool, concurrency: int | None,
    processes: int,
    requests_max: int | None, method: str, paths: tuple[str, ...], headers: tuple[str, ...], body: str | None,
    mix: Path | None,
    users: int, expect: tuple[str, ...], timeout: str, connections_max: int, no_keep_alive: bool,
    tally_header: str | None, tally_json: str | None, thresholds: tuple[str, ...], slo: bool, seed: int, insecure: bool,
    remote_allowed: bool, config_path: Path | None, environment: str | None, output: Output,
) -> None:  # fmt: skip
    """
    Send requests to URL and report what a visitor would have waited.

    Open loop by default: requests leave on schedule whether or not earlier ones were answered, and latency counts
    from the intended time, so that a stall is seen by everybody who would have met it. Failed requests are samples
    too. Exit 3 when a threshold does not hold, or when this machine, not the service, set the figures.

    What [load] of golive.toml says holds where no option says something else.
    """
    said = written_load(config_path, environment)
    for key in [key for key in said if _typed(context, key)]:
        del said[key]
    rate, users = said.get("rate", rate), said.get("users", users)
    connections_max = said.get("connections_max", connections_max)
    duration, timeout = said.get("duration", duration), said.get("timeout", timeout)
    poisson = said["arrivals"] == "poisson" if "arrivals" in said else poisson
    if said and output == "text":
        click.echo(f"[load] of golive.toml: {', '.join(map(_spoken, said.items()))}", err=True)
    asked = f"{method.upper()} {paths[0] if paths else urlsplit(url).path or '/'}"
    promised = _promised(asked, config_path, environment) if slo else []
    judged = [parse_threshold(text) for text in (*promised, *thresholds)]
    spec = RequestSpec(method=method.upper(), headers=_headers(headers), body=_body(body))
    plan = LoadPlan(
        url,
        rate=rate,
        duration=None if duration == "forever" else _seconds("--duration", duration),
        requests=read_mix(mix) if mix else [replace(spec, path=path) for path in paths] or [spec],
        stages=[_stage(text) for text in stages],
        arrivals="poisson" if poisson else "constant",
        concurrency=concurrency,
        requests_max=requests_max,
        connections_max=connections_max,
        timeout=_seconds("--timeout", timeout),
        users=users,
        expect=expect or ("2xx", "3xx"),
        latency_limit=latency_limit(judged),
        tally_header=tally_header,
        tally_json=tally_json,
        keep_alive=not no_keep_alive,
        remote_allowed=remote_allowed,
        tls_verify=not insecure,
        seed=seed,
    )
    report = run_several(plan, processes, on_second=_Progress(output), stop=_stop_on_signal())
    verdicts = [threshold.judge(report) for threshold in judged]
    _show(report, verdicts, output, tally_header or tally_json)
    if not report.valid:
        raise NoGoError(report.why)
    failed = [sentence for holds, sentence in verdicts if not holds]
    if failed:
        raise NoGoError(f"NO-GO: {'; '.join(failed)}")


def written_load(config_path: Path | None, environment: str | None) -> dict[str, Any]:
    """
    What somebody wrote under ``[load]``, in an environment or a variable of it; durations as texts.

    Without a golive.toml, or without any of these, nothing: the settings are built only where they are asked for.
    """
    from golive.config.source import NotFoundError, find, read

    try:
        file = find(config_path or Path.cwd()) if config_path is None or config_path.is_dir() else config_path
        data = read(file).data
    except NotFoundError:
        if config_path is not None or environment is not None:
            raise
        data = {}
    tables = data.get("environments", {})
    overlays = tables.values() if isinstance(tables, dict) else ()
    in_file = any(isinstance(table, dict) and "load" in table for table in (data, *overlays))
    if not in_file and not any(name.startswith("GOLIVE_LOAD__") for name in os.environ):
        return {}
    from golive.config import load_settings

    settings = load_settings(config_path, environment=environment, missing_ok=True)
    values = settings.load.model_dump(mode="json")
    return {key: value for key, value in values.items() if settings.origin("load", key).kind != "default"}


def _spoken(setting: tuple[str, Any]) -> str:
    key, value = setting
    return f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"


def _typed(context: click.Context, key: str) -> bool:
    """Whether the command line itself says *key*. Stages say rate and duration, users at once the arrivals."""
    parameters = {
        "arrivals": ("poisson", "concurrency"),
        "rate": ("rate", "stages", "concurrency"),
        "duration": ("duration", "stages"),
    }
    names = parameters.get(key, (key,))
    return any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in names)


def _promised(request: str, config_path: Path | None, environment: str | None) -> list[str]:
    """What the SLO table asks of *request*; the configuration is read only when it is wanted."""
    from golive.config import load_settings
    from golive.gates.thresholds import of_table

    found = of_table(load_settings(config_path, environment=environment).slo.values(), request)
    if not found:
        raise UsageError(f"--slo: no row of [slo] is about the latency or errors of {request}. Give --threshold.")
    return found


class _Progress:
    """One line per second: JSON, plain, or rewritten in place on a terminal."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.in_place = output == "text" and sys.stdout.isatty()

    def __call__(self, window: Window) -> None:
        if self.output == "ndjson":
            _print_json(window.to_json())
        elif self.output == "text":
            line = (
                f"{window.second:5d}s  {window.requests / window.seconds:8.1f} req/s"
                f"  p50 {_ms(window.latency, 0.5):>9}  p99 {_ms(window.latency, 0.99):>9}"
                f"  failed {window.failed}  in flight {window.in_flight}"
            )
            click.echo(f"\r\x1b[2K{line}" if self.in_place else line, nl=not self.in_place)
            sys.stdout.flush()


def _stop_on_signal() -> threading.Event:
    """Set at the first SIGINT or SIGTERM; the second one ends the process as usual."""
    stop = threading.Event()

    def ask(number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    return stop


def _show(report: LoadReport, verdicts: list[tuple[bool, str]], output: Output, tallied: str | None) -> None:
    if output != "text":
        thresholds = [{"holds": holds, "sentence": sentence} for holds, sentence in verdicts]
        _print_json(report.to_json() | {"thresholds": thresholds})
        return
    if sys.stdout.isatty():
        click.echo("\r\x1b[2K", nl=False)
    for line in _lines(report, tallied):
        click.echo(line)
    for holds, sentence in verdicts:
        click.echo(f"{'PASS' if holds else 'FAIL':9} {sentence}")
    word, _, sentence = ("VALID: " + report.why if report.valid else report.why).partition(": ")
    click.echo(f"{word:9} {sentence}")


def _lines(report: LoadReport, tallied: str | None) -> Iterable[str]:
    yield f"requests  {report.requests:,} in {report.elapsed_seconds:.1f} s, {report.achieved_rate:,.1f} req/s" + (
        f" (asked {report.asked_rate:,.1f})" if report.open_loop else " (closed loop)"
    )
    share = f" ({report.failed / report.requests:.2%})" if report.requests else ""
    yield f"failed    {report.failed:,}{share}{_counts(report.failures.items())}"
    yield f"dropped   {report.dropped:,}"
    yield f"status   {_counts(sorted(report.statuses.items())).removeprefix(':')}"
    if tallied:
        yield f"by        {tallied}{_counts(sorted(report.tally.items()))}"
    yield f"latency   {_figures(report.latency)}   from the intended time"
    yield f"service   {_figures(report.service)}   from the time sent"
    yield from _picture(report.latency)
    if report.waited:
        yield f"waited    {report.waited:,} requests waited for one of {report.connections_opened} connections"


def _counts(pairs: Iterable[tuple[object, int]]) -> str:
    listed = ", ".join(f"{name} {count:,}" for name, count in pairs)
    return f": {listed}" if listed else ""


def _figures(histogram: Histogram) -> str:
    names = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    return "  ".join(f"{name} {_ms(histogram, q)}" for name, q in names.items())


def _picture(histogram: Histogram) -> Iterable[str]:
    """The distribution: a row per power of two of milliseconds, as wide as its share of the requests."""
    rows: Counter[int] = Counter()
    for lower, width, count in histogram.bins():
        rows[max(math.ceil(math.log2((lower + width) * 1000)), 0)] += count
    for power in range(min(rows, default=0), max(rows, default=-1) + 1):
        share = rows[power] / histogram.count
        bar = "#" * math.ceil(share * _BAR_WIDTH)
        yield f"{f'<= {2**power:,} ms':>16}  {share:7.2%}  {bar}".rstrip()


def _ms(histogram: Histogram, quantile: float) -> str:
    value = histogram.quantile(quantile)
    return "-" if value is None else f"{value * 1000:,.1f} ms"


def _print_json(document: dict[str, object]) -> None:
    click.echo(json.dumps(document, separators=(",", ":")))
    sys.stdout.flush()


def _seconds(option: str, text: str) -> float:
    try:
        return parse_duration(text).total_seconds()
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def _stage(text: str) -> Stage:
    rate, _, rest = text.partition(":")
    duration, _, ramp = rest.partition(":")
    try:
        if ramp not in ("", "ramp"):
            raise ValueError(f"expected nothing or ramp after the time, got {ramp!r}")
        return Stage(float(rate), parse_duration(duration).total_seconds(), ramp == "ramp")
    except ValueError as error:
        raise UsageError(
            f'--stage: expected RATE:TIME[:ramp] such as "200:30s:ramp", got {text!r} ({error}).'
        ) from None


def _headers(lines: tuple[str, ...]) -> dict[str, str]:
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise UsageError(f'--header: expected "Name: value", got {line!r}.')
        headers[name.strip()] = value.strip()
    return headers


def _body(text: str | None) -> bytes | None:
    if text is None or not text.startswith("@"):
        return None if text is None else text.encode()
    path = Path(text[1:])
    try:
        body = path.read_bytes() if path.stat().st_size <= _BODY_BYTES_MAX else None
    except OSError as error:
        raise UsageError(f"--body: {path} cannot be read ({error.strerror}).") from None
    if body is None:
        raise UsageError(f"--body: expected at most {_BODY_BYTES_MAX} bytes, got more in {path}.")
    return body

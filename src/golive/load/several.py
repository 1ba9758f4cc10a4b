"""
A plan carried out by several generator processes, for rates that one core cannot send.

Each has an even share of one schedule (:mod:`golive.load.share`) and its own self-check; here their figures are added
up. The verdict needs all of them: one generator that was its own bottleneck refuses it, one that died takes it away.
They are in process groups of their own, so that Ctrl-C reaches only us and we end them with their reports.
"""

from __future__ import annotations

import pickle
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from golive.errors import UsageError
from golive.load.engine import run
from golive.load.plan import LoadPlan
from golive.load.report import LoadReport, Window
from golive.load.share import Share
from golive.load.target import resolve

PROCESSES_MAX = 64
_HEAD_START_SECONDS = 0.05  # from "all are ready" to the first intended time
_SILENCE_SECONDS_MAX = 60.0  # a generator speaks every second; one that was stopped or is stuck never does
_NAP_SECONDS = 0.1


def run_several(
    plan: LoadPlan,
    processes: int,
    on_second: Callable[[Window], None] | None = None,
    stop: threading.Event | None = None,
) -> LoadReport:
    """
    Like :func:`golive.load.run`, by *processes* generators at once; windows and report are of their sum.

    A generator that dies or falls silent ends the run: the report is then of the others, not valid, and ``why`` begins
    with ``UNAVAILABLE``, because what they saw is not the load that was asked for.

    Raises:
        UnavailableError: the host does not resolve.
        RefusedError: as for ``run``.
        UsageError: more processes than connections, or than users of a closed loop.
    """
    _check(plan, processes)
    if processes == 1:
        return run(plan, on_second, stop)
    resolve(plan)  # a refusal is said once, before anything starts
    fleet = _Fleet(plan, processes, on_second, stop or threading.Event())
    try:
        return fleet.run()
    finally:
        fleet.end()


def _check(plan: LoadPlan, processes: int) -> None:
    if not 1 <= processes <= PROCESSES_MAX:
        raise UsageError(f"processes: expected 1..{PROCESSES_MAX}, got {processes}. Give one per core to spare.")
    if plan.connections_max < processes:
        raise UsageError(
            f"processes: expected at most connections_max ({plan.connections_max}), got {processes}. "
            "Each needs a connection."
        )
    if plan.concurrency is not None and plan.concurrency < processes:
        raise UsageError(
            f"processes: expected at most as many as users ({plan.concurrency}), got {processes}. "
            "Each needs a user of the closed loop."
        )


class _Generator:
    """A child process, and a thread that puts what it says into *inbox*; None is its last word."""

    def __init__(self, share: Share, plan: LoadPlan, inbox: queue.SimpleQueue[tuple[int, object]]) -> None:
        self.name = f"generator {share.index + 1} of {share.count}"
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from golive.load.share import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
        )
        self.windows: list[Window] = []  # told and not yet added up
        self.last = Window()
        self.report: LoadReport | None = None
        self.lost = ""  # how it died
        self.heard_at = time.monotonic()
        self.tell((plan, share))
        self._listener = threading.Thread(target=self._listen, args=(share.index, inbox), daemon=True)
        self._listener.start()

    @property
    def working(self) -> bool:
        return self.report is None and not self.lost

    def tell(self, message: object) -> None:
        assert self.process.stdin is not None
        try:
            pickle.dump(message, self.process.stdin)
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it died; its output ends too, and that is where it is noticed

    def stop(self) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass

    def end(self) -> None:
        self.stop()
        if self.report is None:
            self.process.kill()
        self.process.wait()
        self._listener.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _listen(self, index: int, inbox: queue.SimpleQueue[tuple[int, object]]) -> None:
        assert self.process.stdout is not None
        try:
            while True:
                inbox.put((index, pickle.load(self.process.stdout)))  # noqa: S301 - from a process of ours
        except (EOFError, pickle.UnpicklingError):
            inbox.put((index, None))


class _Fleet:
    def __init__(
        self, plan: LoadPlan, processes: int, on_second: Callable[[Window], None] | None, stop: threading.Event
    ) -> None:
        self.plan = plan
        self.stop = stop
        self.on_second = on_second
        self.inbox: queue.SimpleQueue[tuple[int, object]] = queue.SimpleQueue()
        self.told = Window()
        self.generators: list[_Generator] = []
        try:
            for index in range(processes):
                self.generators.append(_Generator(Share(index, processes), plan, self.inbox))
        except BaseException:
            self.end()
            raise

    def run(self) -> LoadReport:
        ready = 0
        while ready < sum(generator.working for generator in self.generators):
            ready += self._hear() == "ready"
        origin = time.monotonic() + _HEAD_START_SECONDS
        for generator in self.generators:
            generator.tell(origin)
        stopping = False
        while any(generator.working for generator in self.generators):
            lost = any(generator.lost for generator in self.generators)
            if not stopping and (lost or self.stop.is_set()):
                stopping = True
                for generator in self.generators:
                    generator.stop()
            self._hear()
            self._roll_window()
        return self._report()

    def _report(self) -> LoadReport:
        reports = [generator.report for generator in self.generators if generator.report is not None]
        report = LoadReport.of_generators(reports, self.plan.latency_limit)
        lost = [f"{generator.name} {generator.lost}" for generator in self.generators if generator.lost]
        if lost:
            report.valid = False
            report.why = (
                f"UNAVAILABLE: {' and '.join(lost)}. These figures are of the others only, which is not the load that "
                "was asked for. Run it again."
            )
        return report

    def end(self) -> None:
        for generator in self.generators:
            generator.end()

    def _hear(self) -> object:
        """The next message, already noted; None when none came for a moment."""
        try:
            index, message = self.inbox.get(timeout=_NAP_SECONDS)
        except queue.Empty:
            self._check_silence()
            return None
        generator = self.generators[index]
        generator.heard_at = time.monotonic()
        if isinstance(message, Window):
            generator.windows.append(message)
            generator.last = message
        elif isinstance(message, LoadReport):
            generator.report = message
        elif isinstance(message, Exception):
            generator.lost = f"failed ({message})"
        elif message is None and generator.working:
            code = generator.process.wait()
            generator.lost = f"died (signal {-code})" if code < 0 else f"died (exit code {code})"
        return message

    def _check_silence(self) -> None:
        now = time.monotonic()
        for generator in self.generators:
            if generator.working and now - generator.heard_at > _SILENCE_SECONDS_MAX:
                generator.lost = f"said nothing for {_SILENCE_SECONDS_MAX:.0f} s"

    def _roll_window(self) -> None:
        """Tell the seconds that every generator still at work has told."""
        working = [generator.last.second for generator in self.generators if generator.working]
        until = min(working, default=max(generator.last.second for generator in self.generators))
        if until <= self.told.second:
            return
        total = Window(second=until)
        for generator in self.generators:
            for window in [window for window in generator.windows if window.second <= until]:
                generator.windows.remove(window)
                total.merge(window)
                total.elapsed_seconds = max(total.elapsed_seconds, window.elapsed_seconds)
            if generator.working:
                total.in_flight += generator.last.in_flight
                total.connections += generator.last.connections
        total.seconds = total.elapsed_seconds - self.told.elapsed_seconds
        self.told = total
        if self.on_second is not None:
            self.on_second(total)

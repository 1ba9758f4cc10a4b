"""
The load engine: one thread, one selector, no asyncio.

An event loop of coroutines costs 120 to 180 microseconds per request and wakes on millisecond timers; this loop costs
about 30 and wakes on microsecond ones, because it waits in ``select`` on the *selector's own* file descriptor. It never
spins.

One turn: start what is due, give up what is too old, tell the second that ended, sleep until the next of those or
until a socket has news, and handle the news. Requests in flight are kept in the order of their intended times, which is
the order in which they time out, so looking for old ones costs nothing.
"""

from __future__ import annotations

import errno
import json
import random
import select
import selectors
import threading
import time
from bisect import bisect
from collections import deque
from collections.abc import Callable
from itertools import accumulate

from golive.load.connection import Connection, Exchange, Step
from golive.load.feed import ClosedLoop, Feed, OpenLoop
from golive.load.plan import LoadPlan, split_url
from golive.load.report import Failure, LoadReport, Window
from golive.load.share import Share
from golive.load.target import resolve
from golive.load.template import Template

_START_BATCH = 64  # requests started before sockets are looked at again
_NAP_SECONDS = 0.1  # the longest sleep: how soon a request to stop is noticed
_STOP_GRACE_SECONDS = 2.0  # after being told to stop, what is in flight may still finish
_SELECT_FD_MAX = 1023
_TALLY_BODY_BYTES = 64 * 1024  # a larger answer is tallied as __none__

_FAILURES = {
    Step.NO_CONNECTION: Failure.CONNECT,
    Step.CUT: Failure.EOF,
    Step.GARBLED: Failure.PROTOCOL,
}


def run(
    plan: LoadPlan, on_second: Callable[[Window], None] | None = None, stop: threading.Event | None = None
) -> LoadReport:
    """
    Carry *plan* out and report what was seen. Blocks the calling thread until the last request is settled.

    Args:
        on_second: called in this thread at the end of every second; what it takes is the generator's lag.
        stop: set it (from a signal handler, from another thread) to end early: nothing new is sent, what is in
            flight has two seconds to finish, and the report covers what was done.

    Raises:
        UnavailableError: the host does not resolve.
        RefusedError: the target is not this machine and ``plan.remote_allowed`` is not set.
    """
    engine = Engine(plan, on_second, stop or threading.Event())
    try:
        return engine.run()
    finally:
        engine.close()


class Engine:
    """One run: resolved and compiled when made, carried out by :meth:`run`, closed by :meth:`close`."""

    def __init__(
        self,
        plan: LoadPlan,
        on_second: Callable[[Window], None] | None,
        stop: threading.Event,
        share: Share = Share(),  # noqa: B008 - frozen
    ) -> None:
        self.plan = plan
        self.share = share
        self.requests_max = None if plan.requests_max is None else share.of_total(plan.requests_max)
        self.stop = stop
        self.on_second = on_second
        self.endpoint = resolve(plan)
        seed = plan.seed + share.index * len(plan.mix)  # no two generators draw the same {uuid}s
        self.templates = [
            Template(spec, split_url(plan.url), plan.expect, plan.users, plan.keep_alive, seed + number)
            for number, spec in enumerate(plan.mix)
        ]
        self.choose = _chooser([spec.weight for spec in plan.mix], plan.seed + share.index)
        self.tally_header = plan.tally_header.lower().encode() if plan.tally_header else None
        self.selector = selectors.DefaultSelector()
        self.idle: list[Connection] = []
        self.open: set[Connection] = set()
        self.connections_max = share.of_total(plan.connections_max)
        self.connections_opened = 0
        self.waiting: deque[Exchange] = deque()
        self.in_flight: deque[Exchange] = deque()
        self.live = 0  # exchanges started and not settled
        self.started = 0
        self.window = Window(second=1)
        self.total = LoadReport(open_loop=plan.concurrency is None)
        self.sending_ended: float | None = None
        self.origin = 0.0
        self.feed: Feed

    def run(self, origin: float | None = None) -> LoadReport:
        """Blocks until the last request is settled. *origin*: when to begin, on the monotonic clock; None is now."""
        self.origin = time.monotonic() if origin is None else origin
        feed = OpenLoop if self.plan.concurrency is None else ClosedLoop
        self.feed = feed(self.plan, self.origin, self.share)
        time.sleep(max(self.origin - time.monotonic(), 0.0))
        while True:
            now = time.monotonic()
            self._start_due(now)
            self._expire(now)
            self._roll_window(now)
            if self.sending_ended is not None and self._settled(now):
                return self._report(now)
            self._wait(time.monotonic())

    def close(self) -> None:
        """Let go of every socket."""
        for connection in list(self.open):
            self._drop(connection)
        self.selector.close()

    # -- starting requests

    def _start_due(self, now: float) -> None:
        if self.sending_ended is not None:
            return
        if self.stop.is_set() or self.feed.over(now):
            self.sending_ended = now
            return
        for _ in range(_START_BATCH):
            due = self.feed.take(now)
            if due is None:
                return
            if self.requests_max is not None and self.started >= self.requests_max:
                self.sending_ended = now
                return
            intended, user = due
            exchange = Exchange(self.share.number(self.started), self.choose(), intended, user)
            self.started += 1
            self.live += 1
            self.window.sent += 1
            now = time.monotonic()
            self.window.lag.record(now - intended)
            self.in_flight.append(exchange)
            self._send_or_queue(exchange, now)

    def _send_or_queue(self, exchange: Exchange, now: float) -> None:
        connection = self._connection(exchange)
        if connection is None:
            if not exchange.done:
                self.window.waited += 1
                self.waiting.append(exchange)
            return
        self._send(connection, exchange, now)

    def _send(self, connection: Connection, exchange: Exchange, now: float) -> None:
        exchange.sent = now
        template = self.templates[exchange.template]
        step = connection.start(exchange, template.render(exchange.number), template.head_only)
        if step is Step.GOING_ON:
            self._register(connection)
        else:
            self._after(connection, step)

    def _connection(self, exchange: Exchange) -> Connection | None:
        """An idle connection, a new one, or None: at the cap (the exchange waits) or impossible (it is settled)."""
        if self.idle:
            return self.idle.pop()
        if len(self.open) >= self.connections_max:
            return None
        try:
            connection = Connection(self.endpoint, _TALLY_BODY_BYTES if self.plan.tally_json is not None else 0)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE) and self.open:
                self.connections_max = len(self.open)  # the machine's cap, not the service's fault
            else:
                self._settle(exchange, Failure.CONNECT, time.monotonic())
            return None
        self.open.add(connection)
        self.connections_opened += 1
        return connection

    # -- news from sockets

    def _wait(self, now: float) -> None:
        wake = min(now + _NAP_SECONDS, self.origin + self.window.second)
        if self.sending_ended is None:
            wake = min(wake, self.feed.next_at(now))
        if self.in_flight:
            wake = min(wake, self.in_flight[0].intended + self.plan.timeout)
        for key, mask in self._select(max(wake - now, 0.0)):
            connection = key.fileobj
            assert isinstance(connection, Connection)
            if connection in self.open:  # an earlier event of this very turn may have closed it
                self._after(connection, connection.on_event(mask))
                if self.waiting:
                    self._serve_waiting()

    def _select(self, seconds: float) -> list[tuple[selectors.SelectorKey, int]]:
        """The selector's own time-out has milliseconds; ``select`` on its descriptor has microseconds."""
        number = self.selector.fileno() if hasattr(self.selector, "fileno") else _SELECT_FD_MAX + 1
        if number > _SELECT_FD_MAX:
            return self.selector.select(seconds)
        if seconds > 0:
            select.select([number], [], [], seconds)
        return self.selector.select(0)

    def _after(self, connection: Connection, step: Step) -> None:
        if step is Step.GOING_ON:
            self._register(connection)
            return
        now = time.monotonic()
        exchange = connection.exchange
        if step is Step.ANSWERED and exchange is not None:
            self._answered(connection, exchange, now)
            return
        failure = _FAILURES.get(step)
        if failure is None:
            failure = Failure.RESET_REUSED if connection.served else Failure.RESET_FRESH
        self._drop(connection)
        if exchange is not None:
            self._settle(exchange, failure, now)

    def _answered(self, connection: Connection, exchange: Exchange, now: float) -> None:
        status = connection.reader.status
        self.window.statuses[status] += 1
        failure = None if status in self.templates[exchange.template].expect else _unexpected(status)
        if self.tally_header is not None or self.plan.tally_json is not None:
            self.window.add_tally(self._tally_value(connection), failure is not None)
        connection.exchange = None
        if connection.reusable and self.plan.keep_alive:
            self._register(connection)
            self.idle.append(connection)
        else:
            self._drop(connection)
        self._settle(exchange, failure, now)

    def _tally_value(self, connection: Connection) -> str:
        if self.tally_header is not None:
            value = connection.reader.header(self.tally_header)
            return value.decode("latin-1")[:100] if value is not None else "__none__"
        try:
            document = json.loads(connection.reader.body)
            return str(document[self.plan.tally_json])[:100] if isinstance(document, dict) else "__none__"
        except (ValueError, KeyError, RecursionError):
            return "__none__"

    def _serve_waiting(self) -> None:
        """Hand free connections to the requests that wait for one, oldest first."""
        while self.waiting and (self.idle or len(self.open) < self.connections_max):
            exchange = self.waiting.popleft()
            if exchange.done:
                continue
            connection = self._connection(exchange)
            if connection is not None:
                self._send(connection, exchange, time.monotonic())
            elif not exchange.done:
                self.waiting.appendleft(exchange)
                return

    def _register(self, connection: Connection) -> None:
        if connection.registered == connection.events:
            return
        if connection.registered:
            self.selector.modify(connection, connection.events)
        else:
            self.selector.register(connection, connection.events)
        connection.registered = connection.events

    def _drop(self, connection: Connection) -> None:
        self.open.discard(connection)
        if connection.registered:
            self.selector.unregister(connection)
        if connection.exchange is None and connection in self.idle:
            self.idle.remove(connection)
        connection.exchange = None
        connection.close()

    # -- settling

    def _settle(self, exchange: Exchange, failure: Failure | None, now: float) -> None:
        exchange.done = True
        exchange.connection = None
        self.live -= 1
        window = self.window
        window.requests += 1
        window.latency.record(now - exchange.intended)
        window.service.record(now - exchange.sent if exchange.sent else 0.0)
        if failure is not None:
            window.failures[failure] += 1
        broken = failure is not None and not failure.startswith("status")
        self.feed.settled(exchange.user, now, broken)

    def _expire(self, now: float) -> None:
        while self.in_flight:
            exchange = self.in_flight[0]
            if not exchange.done:
                if exchange.intended + self.plan.timeout > now:
                    return
                self._give_up(exchange, Failure.TIMEOUT, now)
            self.in_flight.popleft()
        if self.waiting:
            self._serve_waiting()

    def _give_up(self, exchange: Exchange, failure: Failure, now: float) -> None:
        connection = exchange.connection
        if connection is not None:
            self._drop(connection)
        self._settle(exchange, failure, now)

    def _settled(self, now: float) -> bool:
        assert self.sending_ended is not None
        if self.live and self.stop.is_set() and now - self.sending_ended >= _STOP_GRACE_SECONDS:
            self.waiting.clear()
            for exchange in list(self.in_flight):
                if not exchange.done:
                    self._give_up(exchange, Failure.UNFINISHED, now)
        return self.live == 0

    # -- telling

    def _roll_window(self, now: float) -> None:
        window = self.window
        if now - self.origin < window.second:
            return
        window.elapsed_seconds = now - self.origin
        window.seconds = window.elapsed_seconds - self.total.elapsed_seconds
        window.in_flight, window.connections = self.live, len(self.open)
        self.total.merge(window)
        self.total.elapsed_seconds = window.elapsed_seconds
        self.window = Window(second=int(window.elapsed_seconds) + 1)
        if self.on_second is not None:
            self.on_second(window)

    def _report(self, now: float) -> LoadReport:
        report = self.total
        report.merge(self.window)
        report.elapsed_seconds = now - self.origin
        report.connections_opened = self.connections_opened
        assert self.sending_ended is not None
        sending = max(min(self.sending_ended - self.origin, self.feed.duration), 1e-6)
        report.asked = self.feed.asked(self.sending_ended, self.started, self.requests_max)
        report.asked_rate = report.asked / sending
        report.achieved_rate = report.sent / sending
        report.judge(self.plan.latency_limit)
        return report


def _chooser(weights: list[float], seed: int) -> Callable[[], int]:
    """Draws the index of a request kind by weight; free when there is one kind only."""
    if len(weights) == 1:
        return lambda: 0
    bounds = list(accumulate(weights))
    draw = random.Random(seed).random  # noqa: S311 - a traffic mix, not a secret
    last = len(bounds) - 1
    return lambda: min(bisect(bounds, draw() * bounds[-1]), last)


def _unexpected(status: int) -> Failure:
    if status >= 500:
        return Failure.STATUS_5XX
    return Failure.STATUS_4XX if status >= 400 else Failure.STATUS_OTHER

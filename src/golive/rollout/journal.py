"""
The record of every rollout: append-only, chained by hash, replayable. One SQLite file, shared with the command line.

Each entry holds an event and what the machine made of it (phase, stage, wanted weight). It is written, with the new
state, in one durable transaction *before* anything is done in the world, and only by the holder of the lease: an entry
under an older fencing token is refused. Hence "the weight never rose without an entry" is a property of the order of
writes, not of discipline.

The same file carries the inbox, through which the command line asks the controller for something, and the record of the
version each service has in production. Left out: retention; a rollout's entries stay until the file is moved away.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from golive.db.sqlite import Connection, connect, migrate, storage_errors, transaction
from golive.errors import RefusedError, StateError
from golive.rollout import events as ev
from golive.rollout.lease import LEASE_SCHEMA, holds
from golive.rollout.machine import State
from golive.rollout.ports import FencedError
from golive.timing import format_instant, parse_instant

_SCHEMA = [
    LEASE_SCHEMA
    + """
    create table services (
        service text primary key, version text not null, previous text, since text not null
    ) without rowid;
    create table rollouts (
        id text primary key, service text not null, number integer not null, candidate text not null,
        started_at text not null, final integer not null default 0, state text not null, judge text,
        unique (service, number)
    ) without rowid;
    create unique index one_rollout_at_a_time on rollouts (service) where final = 0;
    create table journal (
        seq integer primary key autoincrement, rollout text not null references rollouts (id), at text not null,
        body text not null, previous text not null, hash text not null
    );
    create index journal_by_rollout on journal (rollout, seq);
    create trigger journal_is_append_only_update before update on journal
        begin select raise(abort, 'the journal is append-only'); end;
    create trigger journal_is_append_only_delete before delete on journal
        begin select raise(abort, 'the journal is append-only'); end;
    create table inbox (
        id integer primary key autoincrement, service text not null, at text not null, actor text not null,
        verb text not null, body text not null, answered_at text, exit_code integer, answer text
    );
    create index inbox_open on inbox (service, id) where answered_at is null;
    """,
]

CACHE_KIB = 512
"""SQLite keeps up to this much of the file in memory (its own choice is 2 MiB, filled within hours of a rollout)."""

GENESIS = "0" * 64
"""What the first entry of a rollout is chained to."""


class Entry(msgspec.Struct, frozen=True):
    """
    One line of the journal.

    Attributes:
        seq: grows by time over all rollouts of the file.
        event: what happened.
        phase, stage, weight: what the machine made of it; *weight* is the candidate's wanted share in basis points.
        reason: the state's own sentence after the event.
    """

    seq: int
    rollout: str
    at: datetime
    event: ev.AnyEvent
    phase: str
    stage: int
    weight: int
    reason: str
    hash: str


class Row(msgspec.Struct, frozen=True):
    """One line of the journal as it is stored; *body* is the JSON that its hash was made of."""

    seq: int
    at: str
    body: str
    previous: str
    hash: str


class Request(msgspec.Struct, frozen=True):
    """Something the command line asks of the controller."""

    id: int
    actor: str
    verb: str
    body: dict[str, Any]


class Answer(msgspec.Struct, frozen=True):
    """What settles the request of that number: an exit code and a sentence."""

    request: int
    exit_code: int
    text: str


class Service(msgspec.Struct, frozen=True):
    """Which version a service has in production, and which one it had before."""

    service: str
    version: str
    previous: str | None
    since: datetime


class Journal:
    """
    The journal of the file at *path* (``":memory:"`` for one that ends with the object).

    Raises, from every method: StateError when the file is damaged, locked or on a full disk.
    """

    def __init__(self, path: str | Path) -> None:
        self.connection: Connection = connect(path)
        self.connection.execute(f"pragma cache_size = -{CACHE_KIB}")
        migrate(self.connection, _SCHEMA, "rollout")

    def close(self) -> None:
        """Give the file back. The object is of no use afterwards."""
        self.connection.close()

    # ---- rollouts

    def next_id(self, service: str) -> str:
        """The identifier the next rollout of *service* gets: ``blocks-7``."""
        (number,) = self._one("select coalesce(max(number), 0) from rollouts where service = ?", service)
        return f"{service}-{number + 1}"

    def append(
        self, event: ev.AnyEvent, state: State, judge: dict[str, Any] | None, *, fence: int,
        answer: Answer | None = None,
    ) -> Entry:  # fmt: skip
        """
        Record *event* and the *state* after it, durably, as one step; with *answer* also that somebody who asked for it
        was told so.

        Raises: FencedError when *fence* is not the lease's any more, WithdrawnError when the request is not open any
        more; nothing is written then.
        """
        with transaction(self.connection) as db:
            if not holds(db, state.service, fence):
                raise FencedError(
                    f"rollout {state.id}: expected to hold the lease with token {fence}, and another controller has "
                    f"it. This one stepped down; traffic is {state.split}."
                )
            self._save(state, judge)
            if answer is not None:
                _settle(db, answer, event.at)
            row = self._last(state.id)
            body = _body(event, state)
            at = format_instant(event.at)
            previous = row[0] if row else GENESIS
            digest = _digest(previous, state.id, at, body)
            cursor = db.execute(
                "insert into journal (rollout, at, body, previous, hash) values (?, ?, ?, ?, ?)",
                (state.id, at, body, previous, digest),
            )
            seq = cursor.lastrowid
        assert seq is not None
        return _entry((seq, state.id, at, body, digest))

    def _save(self, state: State, judge: dict[str, Any] | None) -> None:
        number = int(state.id.rpartition("-")[2])
        self.connection.execute(
            "insert into rollouts (id, service, number, candidate, started_at, final, state, judge) "
            "values (?, ?, ?, ?, ?, ?, ?, ?) on conflict (id) do update "
            "set final = excluded.final, state = excluded.state, judge = excluded.judge",
            (
                state.id, state.service, number, state.candidate, format_instant(state.started_at), int(state.final),
                msgspec.json.encode(state).decode(), json.dumps(judge) if judge is not None else None,
            ),
        )  # fmt: skip
        if state.final and state.phase == "live":
            self._set_service(state.service, state.candidate, state.stable, state.ended_at or state.started_at)

    def active(self, service: str) -> tuple[State, dict[str, Any] | None] | None:
        """The rollout of *service* that is not over, with its judge's state; None when there is none."""
        row = self._one("select state, judge from rollouts where service = ? and final = 0", service)
        return (_state(row[0]), json.loads(row[1]) if row[1] else None) if row else None

    def rollout(self, identifier: str) -> State:
        """
        The state of one rollout.

        Raises: StateError when there is none of that name.
        """
        row = self._one("select state from rollouts where id = ?", identifier)
        if row is None:
            raise StateError(f"rollout {identifier}: there is none of that name. `golive status` lists them.")
        return _state(row[0])

    def rollouts(self, service: str, limit: int = 20) -> list[State]:
        """The latest rollouts of *service*, newest first."""
        rows = self._all("select state from rollouts where service = ? order by number desc limit ?", service, limit)
        return [_state(row[0]) for row in rows]

    def entries(self, rollout: str, *, after: int = 0) -> Iterator[Entry]:
        """The entries of *rollout* with a number above *after*, oldest first."""
        query = "select seq, rollout, at, body, hash from journal where rollout = ? and seq > ? order by seq"
        with storage_errors(self.connection.path):
            for row in self.connection.execute(query, (rollout, after)):
                yield _entry(row)

    def verify(self, rollout: str) -> list[str]:
        """
        What is wrong with the record of *rollout*: a broken chain, an altered entry, a state that does not follow from
        the events. Empty when it is whole.
        """
        return list(self.faults(rollout))

    def faults(self, rollout: str) -> Iterator[str]:
        """As :meth:`verify`, one by one as they are found; the record is never in memory as a whole."""
        return chain_faults(rollout, self.rows(rollout))

    def rows(self, rollout: str) -> Iterator[Row]:
        """The entries of *rollout* as they are stored, oldest first."""
        query = "select seq, at, body, previous, hash from journal where rollout = ? order by seq"
        with storage_errors(self.connection.path):
            for row in self.connection.execute(query, (rollout,)):
                yield Row(*row)

    def version_of_data(self) -> int:
        """Changes whenever another process has written to the file. Cheap."""
        return int(self._one("pragma data_version")[0])

    # ---- the version in production

    def service(self, service: str) -> Service | None:
        """What *service* has in production; None before its first ``golive up``."""
        row = self._one("select service, version, previous, since from services where service = ?", service)
        return Service(row[0], row[1], row[2], parse_instant(row[3])) if row else None

    def adopt(self, service: str, version: str, at: datetime) -> None:
        """Record the version a service starts its life with golive on."""
        with transaction(self.connection):
            self._set_service(service, version, None, at)

    def _set_service(self, service: str, version: str, previous: str | None, at: datetime) -> None:
        self.connection.execute(
            "insert into services (service, version, previous, since) values (?, ?, ?, ?) on conflict (service) "
            "do update set version = excluded.version, previous = excluded.previous, since = excluded.since",
            (service, version, previous, format_instant(at)),
        )

    # ---- the inbox

    def ask(self, service: str, actor: str, verb: str, body: dict[str, Any], at: datetime) -> int:
        """Leave a request for the controller; returns its number, with which to look for the answer."""
        with transaction(self.connection) as db:
            cursor = db.execute(
                "insert into inbox (service, at, actor, verb, body) values (?, ?, ?, ?, ?)",
                (service, format_instant(at), actor, verb, json.dumps(body)),
            )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def withdraw(self, request: int) -> bool:
        """Take an unanswered request back; False when the controller was quicker."""
        with transaction(self.connection) as db:
            return db.execute("delete from inbox where id = ? and answered_at is null", (request,)).rowcount == 1

    def requests(self, service: str) -> list[Request]:
        """What was asked of the controller of *service* and not answered yet, oldest first."""
        rows = self._all(
            "select id, actor, verb, body from inbox where service = ? and answered_at is null order by id", service
        )
        return [Request(row[0], row[1], row[2], json.loads(row[3])) for row in rows]

    def answer(self, answer: Answer, at: datetime, *, service: str, fence: int) -> None:
        """
        Settle a request that changes nothing.

        Raises: FencedError when *fence* is not the lease's any more, WithdrawnError when the request is not open any
        more.
        """
        with transaction(self.connection) as db:
            if not holds(db, service, fence):
                raise FencedError(f"{service}: another controller took the lease. This one stepped down.")
            _settle(db, answer, at)

    def answer_to(self, request: int) -> tuple[int, str] | None:
        """The exit code and sentence that settled *request*; None while it is open."""
        row = self._one("select exit_code, answer from inbox where id = ? and answered_at is not null", request)
        return (int(row[0]), str(row[1])) if row else None

    # ---- reading

    def _last(self, rollout: str) -> Any:
        return self._one("select hash from journal where rollout = ? order by seq desc limit 1", rollout)

    def _one(self, query: str, *values: object) -> Any:
        with storage_errors(self.connection.path):
            return self.connection.execute(query, values).fetchone()

    def _all(self, query: str, *values: object) -> list[Any]:
        with storage_errors(self.connection.path):
            return self.connection.execute(query, values).fetchall()


class WithdrawnError(RefusedError):
    """Whoever asked took the request back before it was settled."""


def _settle(db: Connection, answer: Answer, at: datetime) -> None:
    settled = db.execute(
        "update inbox set answered_at = ?, exit_code = ?, answer = ? where id = ? and answered_at is null",
        (format_instant(at), answer.exit_code, answer.text, answer.request),
    )
    if settled.rowcount != 1:
        raise WithdrawnError(f"request {answer.request}: it was taken back. Nothing was done.")


class _Body(msgspec.Struct, frozen=True):
    event: ev.AnyEvent
    phase: str
    stage: int
    weight: int
    reason: str


def _body(event: ev.AnyEvent, state: State) -> str:
    body = _Body(event, state.phase.value, state.stage, state.weight, state.reason)
    return msgspec.json.encode(body, order="deterministic").decode()


def event_of(row: Row) -> ev.AnyEvent:
    """
    What happened, as *row* has it.

    Raises: msgspec.DecodeError when it cannot be read.
    """
    return msgspec.json.decode(row.body, type=_Body).event


def chain_faults(rollout: str, rows: Iterable[Row]) -> Iterator[str]:
    """Where the chain of hashes of *rollout* is broken, one sentence each."""
    previous = GENESIS
    for row in rows:
        if row.previous != previous:
            yield f"entry {row.seq}: expected to follow {previous[:12]}, follows {row.previous[:12]}"
        if _digest(row.previous, rollout, row.at, row.body) != row.hash:
            yield f"entry {row.seq}: its content does not match its hash"
        previous = row.hash


def _entry(row: tuple[int, str, str, str, str]) -> Entry:
    seq, rollout, at, text, digest = row
    body = msgspec.json.decode(text, type=_Body)
    return Entry(seq, rollout, parse_instant(at), body.event, body.phase, body.stage, body.weight, body.reason, digest)


def _digest(previous: str, rollout: str, at: str, body: str) -> str:
    return hashlib.sha256("\n".join((previous, rollout, at, body)).encode()).hexdigest()


def _state(text: str) -> State:
    try:
        return msgspec.json.decode(text, type=State)
    except msgspec.DecodeError as error:
        raise StateError(
            f"the record of a rollout cannot be read ({error}). It was written by another golive version; "
            "run that one, or move the state folder aside. Traffic is untouched."
        ) from error

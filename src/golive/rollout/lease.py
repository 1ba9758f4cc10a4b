"""
One controller per service: a lease with a fencing token.

    free --acquire--> held (token n) --renew--> held (token n) --release, expiry, death--> free --acquire--> token n+1

The token grows with every holder. Whoever writes the journal or the gateway shows its token, and a lower one than the
latest is refused; so a controller that slept through its own expiry does no harm when it wakes. A holder on this host
whose process is gone is replaced at once, one on another host when its lease has run out. How it fails: with the clock
set back by more than the lease, a dead holder on *another* host is waited for that much longer; nothing moves until
then.
"""

from __future__ import annotations

import os
import socket
import sqlite3
from datetime import datetime, timedelta

import msgspec

from golive.db.sqlite import Connection, transaction
from golive.errors import RefusedError
from golive.rollout.ports import FencedError
from golive.rollout.processes import identify
from golive.timing import format_instant, parse_instant

LEASE_FOR = timedelta(seconds=5)
"""Long enough for a busy machine to renew in time, short enough that a resume takes no longer."""

LEASE_SCHEMA = """
    create table lease (
        name text primary key, holder text not null, host text not null, pid integer not null, born text not null,
        fence integer not null, expires_at text not null
    ) without rowid;
"""


class Holder(msgspec.Struct, frozen=True):
    """Who has the lease. *born* tells a process from a later one that got the same number."""

    host: str
    pid: int
    born: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def this_process() -> Holder:
    """The running process as a holder."""
    return Holder(socket.gethostname(), os.getpid(), birth(os.getpid()))


def birth(pid: int) -> str:
    """What tells process *pid* from a later one with the same number; empty when there is no such process."""
    process = identify(pid)
    return process.started if process else ""


class Lease:
    """
    The right to control *name*.

    Attributes:
        fence: the token of the current holding; 0 while not held.
    """

    def __init__(self, connection: Connection, name: str, holder: Holder | None = None) -> None:
        self.connection = connection
        self.name = name
        self.holder = holder or this_process()
        self.fence = 0

    def acquire(self, now: datetime) -> int:
        """
        Take the lease.

        The token is higher than the one before, and not below the seconds of the epoch: a journal that was lost, or
        restored from a backup, knows nothing of the tokens that gateway and versions have seen since.

        Returns: the new fencing token.
        Raises: RefusedError naming the holder and until when.
        """
        with transaction(self.connection) as db:
            row = db.execute(
                "select host, pid, born, fence, expires_at from lease where name = ?", (self.name,)
            ).fetchone()
            if row is not None:
                _refuse_if_alive(self.name, Holder(*row[:3]), parse_instant(row[4]), now, self.holder.host)
            self.fence = max((row[3] if row else 0) + 1, int(now.timestamp()))
            db.execute(
                "insert or replace into lease (name, holder, host, pid, born, fence, expires_at) "
                "values (?, ?, ?, ?, ?, ?, ?)",
                (
                    self.name, str(self.holder), self.holder.host, self.holder.pid, self.holder.born, self.fence,
                    format_instant(now + LEASE_FOR),
                ),
            )  # fmt: skip
        return self.fence

    def renew(self, now: datetime) -> None:
        """
        Keep the lease for another term.

        Raises: FencedError when somebody else has it.
        """
        with transaction(self.connection) as db:
            renewed = db.execute(
                "update lease set expires_at = ? where name = ? and fence = ?",
                (format_instant(now + LEASE_FOR), self.name, self.fence),
            )
            if renewed.rowcount != 1:
                raise FencedError(f"{self.name}: another controller took the lease. This one stepped down.")

    def release(self, now: datetime) -> None:
        """Give the lease back so that the next controller need not wait. Harmless when it is somebody else's."""
        with transaction(self.connection) as db:
            db.execute(
                "update lease set expires_at = ?, pid = 0, born = '' where name = ? and fence = ?",
                (format_instant(now - LEASE_FOR), self.name, self.fence),
            )
        self.fence = 0


def current_holder(connection: Connection, name: str, now: datetime) -> Holder | None:
    """Who controls *name* right now; None when nobody that lives does."""
    row = connection.execute("select host, pid, born, expires_at from lease where name = ?", (name,)).fetchone()
    if row is None:
        return None
    holder = Holder(*row[:3])
    return holder if _alive(holder, parse_instant(row[3]), now, socket.gethostname()) else None


def holds(db: sqlite3.Connection, name: str, fence: int) -> bool:
    """Whether *fence* is the latest token of *name*. To be asked inside the transaction it protects."""
    row = db.execute("select fence from lease where name = ?", (name,)).fetchone()
    return row is not None and row[0] == fence


def _alive(holder: Holder, expires_at: datetime, now: datetime, here: str) -> bool:
    if holder.host == here and holder.born and birth(holder.pid) != holder.born:
        return False
    return now < expires_at


def _refuse_if_alive(name: str, holder: Holder, expires_at: datetime, now: datetime, here: str) -> None:
    if _alive(holder, expires_at, now, here):
        raise RefusedError(
            f"{name}: a controller already runs ({holder}). Use that one, or stop it with `golive down`."
        )

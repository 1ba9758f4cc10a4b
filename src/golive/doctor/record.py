"""The state folder: who may write there, whether the journal is whole, who controls, what was left behind."""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from golive.db.sqlite import storage_errors
from golive.doctor.finding import Finding, fail, ok, warn
from golive.doctor.machine import nearest
from golive.errors import StateError
from golive.project import Place, journal_path, open_journal
from golive.rollout.journal import Journal
from golive.rollout.lease import LEASE_FOR, Holder, birth
from golive.rollout.machine import replay
from golive.timing import format_duration, format_instant, parse_instant

ROLLOUTS_MAX = 1000
VERIFY_SECONDS = 20.0
"""How long the records are checked; a journal of years takes longer and has a command of its own."""
ANSWER_WITHIN = timedelta(seconds=30)
SKEW = timedelta(seconds=5)
LOCK_SECONDS = 1.0
"""A lock is held for milliseconds; who has it at two looks this far apart hangs."""


def folder(place: Place) -> Iterator[Finding]:
    """Who may read and write the state."""
    path = place.state_dir
    if not path.exists():
        above = nearest(path)
        if os.access(above, os.W_OK | os.X_OK):
            yield ok("state folder", f"{path} is not there yet; `golive up` makes it")
        else:
            yield fail("state folder", f"{path} cannot be made: {above} is not ours to write", _own(above))
        return
    if not path.is_dir():
        yield fail("state folder", f"expected a folder at {path}, got a file", "Move it away, or set state_dir.")
        return
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        yield fail("state folder", f"{path} is not ours to read and write", _own(path))
        return
    mine = os.geteuid()
    strangers = [each for each in (path, *sorted(path.iterdir())) if each.lstat().st_uid != mine]
    if strangers and mine != 0:
        yield fail("state folder", f"{strangers[0]} belongs to user {strangers[0].lstat().st_uid}", _own(path))
        return
    loose = [each for each in (path, *path.glob("golive.db*")) if each.stat().st_mode & stat.S_IWOTH]
    if loose:
        yield fail("state folder", f"{loose[0]} can be changed by every user of this machine",
                   f"Run: chmod -R o-w {path}")  # fmt: skip
        return
    yield ok("state folder", str(path))


def _own(path: Path) -> str:
    return f"Run golive as the user it belongs to, or: chown -R {os.geteuid()} {path}"


def journal(place: Place) -> Iterator[Finding]:
    """The file can be read, is a journal, and no record in it was altered."""
    path = journal_path(place)
    if not begun(place):
        yield ok("journal", "none yet; the first `golive up` makes it")
        return
    try:
        damage = _damage(path)
    except StateError as error:
        yield fail("journal", str(error), "")
        return
    if damage:
        yield fail("journal", f"{path}: {damage}", "Restore a backup, or move it aside and adopt what runs anew.")
        return
    with closing(open_journal(place)) as record:
        yield from _chains(record, place.service)


def begun(place: Place) -> bool:
    """Whether there is anything in the file of the journal."""
    path = journal_path(place)
    return path.exists() and path.stat().st_size > 0


def readable(place: Place) -> bool:
    """Whether it is a journal. Whoever opens one as such makes its tables where they are missing."""
    try:
        return begun(place) and not _damage(journal_path(place))
    except StateError:
        return False


def _damage(path: Path) -> str:
    """What is wrong with the file itself, looked at without changing it."""
    with storage_errors(path), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
        (said,) = file.execute("pragma quick_check(1)").fetchone()
        if said != "ok":
            return str(said)
        known = "select count(*) from sqlite_schema where name in ('golive_schema', 'journal', 'rollouts')"
        return "" if file.execute(known).fetchone()[0] == 3 else "a database, and not a journal of golive"


def _chains(record: Journal, service: str) -> Iterator[Finding]:
    states, deadline = record.rollouts(service, limit=ROLLOUTS_MAX), time.monotonic() + VERIFY_SECONDS
    checked = entries = 0
    for state in states:
        if time.monotonic() > deadline:
            yield warn("journal", f"{checked} of {len(states)} rollouts were checked in {VERIFY_SECONDS:g} s",
                       "`golive verify` checks them all.")  # fmt: skip
            break
        try:
            faults = record.verify(state.id)
            written = list(record.entries(state.id))
            if not faults and replay([entry.event for entry in written]) != state:
                faults = ["the events do not lead to the stored state"]
        except ValueError as error:
            faults, written = [f"an entry cannot be read: {error}"], []
        entries, checked = entries + len(written), checked + 1
        if faults:
            yield fail("journal", f"rollout {state.id}: {faults[0]}",
                       "The record was altered or damaged: restore a backup. See `golive verify`.")  # fmt: skip
        elif written and written[-1].at > datetime.now(UTC) + SKEW:
            ahead = format_duration(timedelta(seconds=round((written[-1].at - datetime.now(UTC)).total_seconds())))
            yield fail("clock", f"the last entry of {state.id} is {ahead} in the future",
                       "It was wrong then, or is now: run a time service (chrony, systemd-timesyncd).")  # fmt: skip
    yield ok("journal", f"{checked} rollouts, {entries} entries, read to the end")


def controller(place: Place) -> Iterator[Finding]:
    """Who has the lease, whether it lives, and what waits for an answer."""
    if not readable(place):
        yield ok("controller", "the journal knows of none")
        return
    now = datetime.now(UTC)
    with closing(open_journal(place)) as record:
        row = record.connection.execute(
            "select host, pid, born, expires_at from lease where name = ?", (place.service,)
        ).fetchone()
        active = record.active(place.service)
        asked = record.connection.execute(
            "select count(*), min(at) from inbox where service = ? and answered_at is null", (place.service,)
        ).fetchone()
    alone = f"rollout {active[0].id} is under way at {active[0].phase.value} and " if active else ""
    lives = False
    if row is None:
        yield _nobody(alone, "nobody controls the service")
    else:
        holder, expires = Holder(*row[:3]), parse_instant(row[3])
        late, here = now - expires, socket.gethostname()
        if holder.host == here and birth(holder.pid) != holder.born:
            yield _nobody(alone, f"its controller ({holder}) is gone")
        elif late > timedelta(0):
            what = f"{holder} had the lease until {format_instant(expires)}"
            if holder.host == here:
                yield fail("controller", f"{what}, lives, and does not renew it: it is stopped or hangs",
                           f"See what it does, or end it (kill {holder.pid}) and run `golive up`.")  # fmt: skip
            else:
                yield _nobody(alone, what)
        elif expires > now + LEASE_FOR + SKEW:
            yield fail("clock", f"the lease of {holder} ends at {format_instant(expires)}, too far in the future",
                       "The clock of one of the two is wrong: run a time service on both.")  # fmt: skip
        else:
            lives = True
            yield ok("controller", str(holder) + (f", rolling out {active[0].candidate}" if active else ""))
    if asked[0] and now - parse_instant(asked[1]) > ANSWER_WITHIN:
        waits = f"{asked[0]} requests wait for an answer since {asked[1]}"
        if lives and not active:
            yield fail("controller", waits, "The controller does not read them: see .golive/up.log, start it again.")
        elif not lives:
            yield warn("controller", waits, "The next `golive up` answers them; they may be out of date by then.")


def _nobody(alone: str, what: str) -> Finding:
    if alone:
        return fail("controller", f"{alone}{what}; the traffic stays where it is",
                    "`golive up` goes on, `golive abort` goes back.")  # fmt: skip
    return ok("controller", f"{what}; `golive up` starts one")


def locks(place: Place) -> Iterator[Finding]:
    """Lock files that somebody holds for longer than any work under them takes."""
    files = {path.stat().st_ino: path for path in _lock_files(place.state_dir)}
    held = _held(set(files))
    if held:
        time.sleep(LOCK_SECONDS)
        again = _held(set(files))
        for inode, pid in held.items():
            if again.get(inode) == pid:
                yield warn("locks", f"{files[inode]} is held by process {pid} for more than {LOCK_SECONDS:g} s",
                           f"See what it does; if it hangs, end it: kill {pid}")  # fmt: skip
                return
    yield ok("locks", f"{len(files)} lock files, none is held")


def _lock_files(state_dir: Path) -> list[Path]:
    return [path for pattern in ("*/lock", "*/*.lock") for path in state_dir.glob(pattern) if path.is_file()]


def _held(inodes: set[int]) -> dict[int, int]:
    """Inode -> process of the locks that are held just now. Linux only; elsewhere none."""
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        words = line.split()
        if len(words) > 5 and words[1] != "->" and words[1] == "FLOCK":
            inode = int(words[5].rpartition(":")[2])
            if inode in inodes:
                found[inode] = int(words[4])
    return found

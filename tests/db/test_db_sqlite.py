"""SQLite files: durable by default, migrated once, and errors that say what to do."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from golive.db.sqlite import DatabaseFileError, connect, migrate, storage_errors, transaction
from golive.errors import StateError

STEPS = ["create table item (id integer primary key, word text not null); create index item_word on item (word);"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "er" / "state.db"


def test_a_new_file_is_durable_and_keeps_foreign_keys(path: Path) -> None:
    """The promises of the module docstring, read back from SQLite itself."""
    connection = connect(path)
    settings = {
        name: connection.execute(f"pragma {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}
    assert connect(path, durable=False).execute("pragma synchronous").fetchone() == (1,)


def test_a_missing_file_is_made_only_on_request(path: Path) -> None:
    """A reader that expects a journal is told that there is none; nothing appears on the disk."""
    with pytest.raises(
        DatabaseFileError, match=r"state\.db: expected a file that can be opened.*Traffic is untouched\."
    ):
        connect(path, create=False)
    assert not path.parent.exists()


def test_a_path_with_url_characters_is_that_path(tmp_path: Path) -> None:
    """``?``, ``#`` and ``%`` in a file name are not read as options of the URI SQLite gets."""
    for name in ("a?mode=memory", "b#c", "100%41"):
        connect(tmp_path / name).close()
        assert (tmp_path / name).is_file()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"this is a text file, and long enough to be looked at " * 30, "expected a SQLite database"),
        (b"\x00" * 4096, "expected a SQLite database"),
    ],
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes, said: str) -> None:
    """The message names the file, what was expected and what to do; the bytes are untouched."""
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(StateError, match=said) as caught:
        connect(path)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, DatabaseFileError)
    assert caught.value.path == path
    assert path.read_bytes() == content


def test_a_damaged_file_is_reported_as_damaged(path: Path) -> None:
    """Pages overwritten in the middle surface as a StateError on the read that meets them."""
    connection = connect(path)
    migrate(connection, STEPS, "items")
    with transaction(connection):
        connection.executemany("insert into item (word) values (?)", [("w" * 500,) for _ in range(200)])
    connection.close()  # checkpoints the log into the file
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    with pytest.raises(StateError, match="expected a whole SQLite database"), storage_errors(path):
        connect(path).execute("select count(*), max(word) from item").fetchall()


def test_a_held_lock_is_named_after_the_timeout(path: Path) -> None:
    """The second writer waits as long as it was told to, then learns that a lock is held."""
    first, second = connect(path), connect(path, busy_timeout=timedelta(milliseconds=20))
    with transaction(first), pytest.raises(StateError, match="expected a free lock"), transaction(second):
        pytest.fail("two writers at once")


def test_a_read_only_file_is_named(path: Path) -> None:
    """A write to a connection that may only read says who must be able to write."""
    connection = connect(path)
    connection.execute("create table item (id integer)")
    connection.execute("pragma query_only = on")
    with pytest.raises(StateError, match="may write"), transaction(connection):
        connection.execute("insert into item values (1)")


def test_a_full_disk_stores_nothing_in_part(path: Path) -> None:
    """A transaction the disk has no room for is rolled back whole, and the connection goes on working."""
    connection = connect(path)
    migrate(connection, STEPS, "items")
    connection.execute("pragma max_page_count = 20")
    with pytest.raises(StateError, match="room on the disk"), transaction(connection):
        for _ in range(100):
            connection.execute("insert into item (word) values (?)", ("w" * 4000,))
    assert connection.execute("select count(*) from item").fetchone() == (0,)
    with transaction(connection):
        connection.execute("insert into item (word) values ('fits')")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file where a folder should be is the user's to mend, not a traceback."""
    (tmp_path / "plain").write_text("a file")
    with pytest.raises(StateError, match="expected a folder"):
        connect(tmp_path / "plain" / "state.db")


def test_an_exception_rolls_the_transaction_back(path: Path) -> None:
    """Nothing of a failed transaction is visible, the exception arrives unchanged, the connection is usable."""
    connection = connect(path)
    migrate(connection, STEPS, "items")
    with pytest.raises(ZeroDivisionError), transaction(connection):
        connection.execute("insert into item (word) values ('gone')")
        _ = 1 / 0
    assert connection.execute("select count(*) from item").fetchone() == (0,)
    assert not connection.in_transaction


def test_constraint_violations_and_faulty_sql_pass_through(path: Path) -> None:
    """They are answers and bugs, not damaged files."""
    connection = connect(path)
    migrate(connection, STEPS, "items")
    with pytest.raises(sqlite3.IntegrityError), transaction(connection):
        connection.execute("insert into item (word) values (null)")
    with pytest.raises(sqlite3.OperationalError, match="syntax"), transaction(connection):
        connection.execute("selekt 1")


def test_each_step_is_applied_once_and_components_do_not_meet(path: Path) -> None:
    """Two components share a file; a later version adds its step only."""
    connection, seen = connect(path), []
    assert migrate(connection, STEPS, "items") == 1
    assert migrate(connection, STEPS, "items") == 0
    assert migrate(connection, ["create table other (id integer)"], "others") == 1
    assert migrate(connection, [*STEPS, seen.append], "items") == 1
    assert migrate(connection, [*STEPS, seen.append], "items") == 0
    assert seen == [connection]


def test_a_failing_step_leaves_the_schema_of_the_step_before(path: Path) -> None:
    """A step is all or nothing: its first statement is gone when its second fails."""
    connection = connect(path)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, [*STEPS, "create table half (id integer); create table item (id integer);"], "items")
    assert connection.execute("select 1 from sqlite_schema where name = 'half'").fetchone() is None
    assert migrate(connection, [*STEPS, "create table half (id integer);"], "items") == 1


def test_statements_may_hold_semicolons(path: Path) -> None:
    """Strings, comments and triggers survive the splitting of a step into statements."""
    connection = connect(path)
    script = """
        create table note (word text default 'a;b'); -- a comment; with a semicolon
        create trigger shout after insert on note begin update note set word = upper(word); select 1; end;
        insert into note default values;
    """
    migrate(connection, [script], "notes")
    assert connection.execute("select word from note").fetchall() == [("A;B",)]


def test_a_file_of_a_newer_golive_is_refused(path: Path) -> None:
    """Older code does not guess at a schema it does not know."""
    connection = connect(path)
    migrate(connection, [*STEPS, "create table newer (id integer)"], "items")
    with pytest.raises(StateError, match=r'schema version 1 or older of "items", got: version 2\. A newer golive'):
        migrate(connection, STEPS, "items")


def _race(path: Path, results: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    connection = connect(path)
    results.put(migrate(connection, [*STEPS, "insert into item (word) values ('once')"], "items"))


@pytest.mark.process
def test_processes_that_migrate_at_once_apply_each_step_once(path: Path) -> None:
    """Server and workers start together on a new file; between them every step runs exactly once."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    racers = [context.Process(target=_race, args=(path, results)) for _ in range(4)]
    for racer in racers:
        racer.start()
    assert sum(results.get(timeout=60) for _ in racers) == 2
    for racer in racers:
        racer.join(60)
    assert connect(path).execute("select count(*) from item").fetchone() == (1,)

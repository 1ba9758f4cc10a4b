"""docs/jobs.md says what each adapter can do: by the suites it passes and by what it declares, which they test."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.jobs import (
    test_jobs_dynamodb,
    test_jobs_postgres,
    test_jobs_results,
    test_jobs_rq,
    test_jobs_sqs,
    test_jobs_stores,
)

from golive.jobs.ports import StoreCapability
from golive.jobs.results.file import FileResults
from golive.jobs.results.ports import ResultCapability
from golive.jobs.results.s3 import S3Results
from golive.jobs.stores.dynamodb import DynamoStore
from golive.jobs.stores.memory import MemoryStore
from golive.jobs.stores.postgres import PostgresStore
from golive.jobs.stores.sqlite import SqliteStore
from golive.jobs.transports.ports import TransportCapability
from golive.jobs.transports.rq import RqTransport
from golive.jobs.transports.sqs import SqsTransport

PAGE = Path(__file__).parents[2] / "docs" / "jobs.md"
BEGIN, END = "<!-- capabilities: made by tests/jobs/test_jobs_capabilities.py -->\n", "<!-- capabilities: end -->\n"

#: By the name in the documentation: the adapter, and the class of tests that holds it to its suites.
STORES = {
    "SQLite": (SqliteStore, test_jobs_stores.TestSqliteStore),
    "PostgreSQL": (PostgresStore, test_jobs_postgres.TestPostgresStore),
    "DynamoDB": (DynamoStore, test_jobs_dynamodb.TestDynamoStore),
    "memory": (MemoryStore, test_jobs_stores.TestMemoryStore),
}
TRANSPORTS = {
    "RQ": (RqTransport, test_jobs_rq.TestRqTransport),
    "SQS": (SqsTransport("sqs://queue"), test_jobs_sqs.TestSqsTransport),
    "SQS, FIFO": (SqsTransport("sqs://queue.fifo"), test_jobs_sqs.TestSqsFifoTransport),
}
RESULTS = {
    "file": (FileResults, test_jobs_results.TestFileResults),
    "S3": (S3Results, test_jobs_results.TestS3Results),
}


def suites(tests: type) -> list[type]:
    """The shipped suites *tests* is held to, those that check something."""
    return [each for each in tests.__mro__ if each.__module__.startswith("golive.testing") and behaviours(each)]


def behaviours(suite: type) -> int:
    """How many a suite checks by itself."""
    return sum(name.startswith("test_") for name in vars(suite))


def table(title: str, adapters: Mapping[str, tuple[Any, type]], capabilities: type[StrEnum]) -> str:
    """One row for each suite and for each capability, one column for each adapter."""
    known = dict.fromkeys(suite for _, tests in adapters.values() for suite in suites(tests))
    rows: list[tuple[str, Sequence[bool]]] = [
        (f"passes `{suite.__name__}` ({behaviours(suite)} behaviours)",
         [suite in suites(tests) for _, tests in adapters.values()])
        for suite in sorted(known, key=lambda suite: suite.__name__)
    ]  # fmt: skip
    rows += [(each.value, [each in adapter.capabilities for adapter, _ in adapters.values()]) for each in capabilities]
    head = f"| {title} | {' | '.join(adapters)} |\n|---|{'---|' * len(adapters)}\n"
    return head + "".join(f"| {what} | {' | '.join(_words(answers))} |\n" for what, answers in rows)


def _words(answers: Iterable[bool]) -> list[str]:
    return ["yes" if each else "no" for each in answers]


def test_the_page_has_what_the_suites_say() -> None:
    """``GOLIVE_REWRITE=1`` writes it anew."""
    tables = [
        table("store", STORES, StoreCapability), table("transport", TRANSPORTS, TransportCapability),
        table("results", RESULTS, ResultCapability),
    ]  # fmt: skip
    made = "\n".join(tables)
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    shown, after = rest.split(END)
    if os.environ.get("GOLIVE_REWRITE"):
        PAGE.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}")
        return
    assert shown == f"\n{made}\n", "docs/jobs.md is behind the suites: GOLIVE_REWRITE=1 pytest this file"


def test_every_adapter_is_in_the_tables() -> None:
    """A new one that nobody lists is found by its file."""
    rooms = Path(__file__).parents[2] / "src" / "golive" / "jobs"
    listed = {
        adapter.__module__.split(".")[-1] for each in (STORES, TRANSPORTS, RESULTS) for adapter, _ in each.values()
    }
    paths = [path for room in ("stores", "transports", "results") for path in (rooms / room).glob("*.py")]
    files = {
        path.stem for path in paths if re.search(r"^    capabilities\b.*= frozenset", path.read_text(), re.MULTILINE)
    }
    assert files == listed

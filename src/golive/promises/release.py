"""Promises about the tree and its papers: tests, documents, findings, sign-offs. Durations are seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from golive.promises.kinds import Argv, Globs, Ratio, Seconds


@dataclass(frozen=True, slots=True)
class ProviderProbe:
    """Connections are opened in the files *allowed* only; everybody else asks them. Source: seed 000, DB singleton."""

    allowed: Globs
    calls: tuple[str, ...] = ("connect", "create_engine", "create_async_engine", "create_pool", "MongoClient")


@dataclass(frozen=True, slots=True)
class NamingRule:
    """File names that fit the glob *files*, or the listed *names*, fit the regular expression *pattern*."""

    pattern: str
    files: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NamingProbe:
    """Source: seed 001 (naming guardrails), seed 003 (``validate_naming.py --strict``)."""

    rules: tuple[NamingRule, ...]


@dataclass(frozen=True, slots=True)
class TestResultsProbe:
    """
    The results a test run left behind. Source: seed 002 ("16/25, 9 require DB" was called green).

    Attributes:
        junit: globs of JUnit files.
        skipped_max: tests that may be skipped.
        tests_min: fewer are no test suite.
        age_max: seconds; results of last month say nothing.
    """

    __test__ = False  # for pytest: not a test class

    junit: Globs
    skipped_max: int = 0
    tests_min: int = 1
    age_max: Seconds = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class CoverageProbe:
    """*file*, a Cobertura report as ``coverage xml`` writes it, has at least *lines_min*."""

    file: str = "coverage.xml"
    lines_min: Ratio = 0.8


@dataclass(frozen=True, slots=True)
class Document:
    """*file* is there, has these *headings* with something under them, and holds the texts in *contains*."""

    file: str
    headings: tuple[str, ...] = ()
    contains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DocumentsProbe:
    """
    Papers that must exist and be filled in. Source: seed 002 left ``[Your Name]`` and ``[Date]`` in its sign-off.

    Attributes:
        version: must be in each document that mentions a version like it; ``{version}`` in *contains* is filled.
        placeholders: regular expressions of what nobody may leave behind.
    """

    documents: tuple[Document, ...]
    version: str = ""
    placeholders: tuple[str, ...] = (
        r"\[(?:Your |Insert |Add )?(?:Name|Date|Signature|Title|Role|Approver|Reviewer)[^\]]{0,20}\](?!\()",
        r"\bTBD\b",
        r"<(?:your|insert)[-_ ][^>]{1,40}>",
    )


@dataclass(frozen=True, slots=True)
class CiProbe:
    """
    The workflows of the repository run what exists. Source: seed 001 (an outdated workflow).

    Attributes:
        must_run: a text at least one workflow must have, so that gates and CI say the same.
    """

    workflows: Globs = (".github/workflows/*.yml", ".github/workflows/*.yaml")
    must_run: str = "golive check"


@dataclass(frozen=True, slots=True)
class FindingsProbe:
    """
    The register of known issues: ``[[finding]]`` with id, severity, title, and fixed_in and files, or accepted.
    Source: seed 002, its audit.

    Attributes:
        open_max: severity -> findings of it that may be open.
    """

    file: str = "findings.toml"
    open_max: Mapping[str, int] = field(default_factory=lambda: {"critical": 0, "high": 0})


@dataclass(frozen=True, slots=True)
class CommitProbe:
    """What is judged is a commit: nothing changed since, and the one that was *expected*, if one was. Source: 002."""

    expected: str = ""
    untracked_allowed: bool = False


@dataclass(frozen=True, slots=True)
class FrontendProbe:
    """Files for the browser hold no database: neither drivers nor addresses. Source: seed 001 (UI only)."""

    files: Globs = ("frontend/**", "web/**", "static/**")


@dataclass(frozen=True, slots=True)
class Claim:
    """
    *run* prints one line of JSON, ``{"before": 1.2, "after": 0.2}``, both measured in that run; less is better.

    Attributes:
        improvement_min: the share by which *after* is below *before*.
    """

    component: str
    run: Argv
    improvement_min: Ratio
    timeout: Seconds = 120.0


@dataclass(frozen=True, slots=True)
class ClaimsProbe:
    """Improvements somebody claims, measured again. Source: seed 004, its performance table."""

    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class PriorBundle:
    """An evidence bundle of another environment: whole, GO, not older than *age_max* seconds."""

    file: str
    environment: str = ""
    age_max: Seconds = 7 * 86400.0
    same_commit: bool = True


@dataclass(frozen=True, slots=True)
class PriorEvidenceProbe:
    """What must have been proven before, elsewhere. Source: seed 001 (staging *and* production), seed 003."""

    bundles: tuple[PriorBundle, ...]


@dataclass(frozen=True, slots=True)
class AttestationProbe:
    """
    Something only a person can say. See :mod:`golive.gates.attestation`.

    Attributes:
        statement: what is attested.
        role: who may say it.
        people: those who have the role.
        evidence: globs of files the person has looked at; a change of any voids what was said.
        valid_for: seconds.
        needed: how many different people.
        author: who made what is attested, and may therefore not attest it; empty: the author of the last commit.
    """

    statement: str
    role: str
    people: tuple[str, ...]
    evidence: Globs = ()
    valid_for: Seconds = 30 * 86400.0
    needed: int = 1
    author: str = ""


TABLES: dict[str, type] = {
    "provider": ProviderProbe,
    "naming": NamingProbe,
    "test_results": TestResultsProbe,
    "coverage": CoverageProbe,
    "documents": DocumentsProbe,
    "ci": CiProbe,
    "findings": FindingsProbe,
    "commit": CommitProbe,
    "frontend": FrontendProbe,
    "claims": ClaimsProbe,
    "prior_evidence": PriorEvidenceProbe,
}

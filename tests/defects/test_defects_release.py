"""Gates on a tree and its papers prove themselves: a planted change turns exactly its gate red."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from golive.bundle import write_bundle
from golive.gates import Target, Verdict, run_gates
from golive.promises import release as promised
from golive.promises.state import CloudRunProbe, EnvironmentProbe, InfraDiffProbe, PlatformProbe, ReplicasProbe

RUN = """
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: shop}
spec:
  template:
    metadata:
      annotations: {run.googleapis.com/cpu-throttling: "false", autoscaling.knative.dev/minScale: "1"}
    spec:
      containerConcurrency: 10
      timeoutSeconds: 60
      containers:
        - image: shop
          livenessProbe: {httpGet: {path: /healthz}, timeoutSeconds: 5, periodSeconds: 10}
"""
CHANGES = {
    "Changes": [
        {"ResourceChange": {"Action": "Add", "LogicalResourceId": "JobsQueue", "ResourceType": "AWS::SQS::Queue"}}
    ]
}
JUNIT = '<testsuite><testcase classname="t" name="a"/><testcase classname="t" name="b"/></testsuite>'
HEALTHY = {
    "shop/app.py": 'import os\n\nfrom shop.db import connection\n\nKEY = os.environ["API_KEY"]\nLINK = connection()\n',
    "shop/db.py": "import sqlite3\n\n\ndef connection():\n    return sqlite3.connect('shop.db')\n",
    "frontend/app.js": "const api = import.meta.env.VITE_API_BASE_URL\n",
    ".env.example": "API_KEY=\nVITE_API_BASE_URL=https://api.shop.example\n",
    "prod.env": 'API_KEY="k-4711"\nREDIS_URL=redis://cache.shop.example:6379\n',
    ".github/workflows/gates.yml": "jobs:\n  a:\n    steps:\n    - run: ./scripts/smoke.sh\n    - run: golive check\n",
    "scripts/smoke.sh": "true\n",
    "reports/junit.xml": JUNIT,
    "coverage.xml": '<coverage line-rate="0.91" lines-valid="400"/>',
    "SIGNOFF.md": "# Sign-off\n\nVersion 1.2.3, see [the date](x.md).\n\n## Rollback plan\n\nTraffic to v1.\n",
    "findings.toml": '[[finding]]\nid = "F1"\nseverity = "critical"\ntitle = "keys"\nstatus = "fixed"\n'
    'fixed_in = "{head}"\nfiles = ["shop/db.py:4-5"]\n\n[[finding]]\nid = "F2"\nseverity = "low"\n'
    'title = "a warning in the log"\nstatus = "open"\n',
    "run.yaml": RUN,
    "changes.json": json.dumps(CHANGES),
}  # fmt: skip
#: gate: what is wrong -> file, its new content (None: the one it has, later)
PLANTED = {
    "syntax: Python": ("shop/more.py", "def pay(:\n"),
    "syntax: JSON": ("shop/data.json", "{,}"),
    "syntax: an unfinished merge": ("frontend/more.js", "<<<<<<< HEAD\n"),
    "provider: a connection of its own": ("shop/report.py", "import sqlite3\n\nX = sqlite3.connect('shop.db')\n"),
    "provider: an engine of its own": ("shop/report.py", "X = sqlalchemy.create_engine('sqlite://')\n"),
    "naming: a file in camel case": ("shop/payNow.py", "X = 1\n"),
    "unused-settings: nobody reads it": (".env.example", HEALTHY[".env.example"] + "OLD_SWITCH=1\n"),
    "frontend: an address of a database": ("frontend/db.js", "const url = 'postgresql://db.shop.example/shop'\n"),
    "frontend: a driver": ("frontend/db.js", "import pg from 'pg'\n"),
    "ci-workflow: a script that is gone": (
        ".github/workflows/old.yml", "jobs:\n  a:\n    steps:\n      - run: ./scripts/gone.sh\n"
    ),
    "ci-workflow: nobody runs the gates": (
        ".github/workflows/gates.yml", "jobs:\n  a:\n    steps:\n      - run: ./scripts/smoke.sh\n"
    ),
    "test-results: one failed": (
        "reports/more.xml", '<testsuite><testcase name="c"><failure/></testcase></testsuite>'
    ),
    "test-results: one was skipped": (
        "reports/more.xml", '<testsuite><testcase name="c"><skipped/></testcase></testsuite>'
    ),
    "test-results: of last month": ("reports/junit.xml", None),
    "coverage: too little": ("coverage.xml", '<coverage line-rate="0.55" lines-valid="400"/>'),
    "documents: a blank in the sign-off": ("SIGNOFF.md", HEALTHY["SIGNOFF.md"] + "\nApproved by [Your Name]\n"),
    "documents: a plan without a word": ("SIGNOFF.md", "# Sign-off\n\nVersion 1.2.3\n\n## Rollback plan\n\n# End\n"),
    "documents: another version": ("SIGNOFF.md", HEALTHY["SIGNOFF.md"].replace("1.2.3", "1.2.2")),
    "findings: a critical one is open": ("findings.toml", '[[finding]]\nid = "F3"\nseverity = "critical"\n'
                                         'title = "t"\nstatus = "open"\n'),
    "findings: fixed in a commit nobody knows": ("findings.toml", HEALTHY["findings.toml"].replace("{head}", "a" * 40)),
    "findings: the lines are gone": ("findings.toml", HEALTHY["findings.toml"].replace("4-5", "400-410")),
    "cloud-run: the CPU is taken away": ("run.yaml", RUN.replace('cpu-throttling: "false"', 'cpu-throttling: "true"')),
    "cloud-run: nothing is said about the CPU": ("run.yaml", RUN.replace("run.googleapis.com/cpu-throttling", "x/y")),
    "cloud-run: another probe": ("run.yaml", RUN.replace("path: /healthz", "path: /")),
    "cloud-run: another concurrency": ("run.yaml", RUN.replace("Concurrency: 10", "Concurrency: 80")),
    "infra-diff: a resource is modified": ("changes.json", json.dumps(CHANGES).replace('"Add"', '"Modify"')),
    "infra-diff: what no change may touch": ("changes.json", json.dumps(CHANGES).replace("JobsQueue", "LiveApi")),
    "environment: not set": ("prod.env", "API_KEY=k-4711\n"),
    "environment: a placeholder": ("prod.env", HEALTHY["prod.env"].replace("k-4711", "changeme")),
    "environment: a developer's machine": ("prod.env", HEALTHY["prod.env"].replace("cache.shop.example", "localhost")),
    "prior-evidence: NO-GO there": ("staging.zip", "NO-GO"),
    "prior-evidence: of another commit": ("staging.zip", "other"),
    "prior-evidence: changed since": ("staging.zip", "flipped"),
}  # fmt: skip
GATES = [*dict.fromkeys(defect.partition(":")[0] for defect in PLANTED), "commit", "shared-state"]


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Ana", "-c", "user.email=ana@shop.example", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def evidence(root: Path, what: str) -> None:
    meta = {"kind": "gates", "verdict": "GO", "environment": "staging", "commit": git(root, "rev-parse", "HEAD~1"),
            "started_at": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())}  # fmt: skip
    meta["commit"] = git(root, "rev-parse", "HEAD")
    if what == "NO-GO":
        meta["verdict"] = "NO-GO"
    if what == "other":
        meta["commit"] = "b" * 40
    write_bundle(root / "evidence/staging.zip", {"report.json": "{}"}, meta)
    if what == "flipped":
        raw = bytearray((root / "evidence/staging.zip").read_bytes())
        raw[len(raw) // 2] ^= 1
        (root / "evidence/staging.zip").write_bytes(raw)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The healthy project, committed."""
    root = tmp_path_factory.mktemp("shop")
    git(root, "init", "-q")
    (root / ".gitignore").write_text("reports/\ncoverage.xml\nfindings.toml\nevidence/\n")
    plant(root, {"LICENSE": "free\n"})
    commit(root)
    plant(root, {name: text.replace("{head}", git(root, "rev-parse", "HEAD")) for name, text in HEALTHY.items()})
    commit(root)
    evidence(root, "")
    return root


def plant(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "Work")


def promises(root: Path) -> Target:
    live = PlatformProbe("/healthz", 5.0, 10.0, 3)
    return Target(
        root=root,
        environment="production",
        version="1.2.3",
        promises=(
            promised.ProviderProbe(("shop/db.py",)),
            promised.NamingProbe((
                promised.NamingRule(r"[a-z_]+\.py", "shop/*.py"),
                promised.NamingRule("shop-[a-z]+-(queue|table)-(dev|prod)", names=("shop-jobs-queue-prod",)),
            )),
            promised.TestResultsProbe(("reports/*.xml",)),
            promised.CoverageProbe(),
            promised.DocumentsProbe((promised.Document("SIGNOFF.md", ("Rollback plan",), ("Version {version}",)),)),
            promised.CiProbe(),
            promised.FindingsProbe(),
            promised.CommitProbe(),
            promised.FrontendProbe(("frontend/**",)),
            promised.PriorEvidenceProbe((promised.PriorBundle("evidence/staging.zip", "staging"),)),
            CloudRunProbe("run.yaml", instances_min=1, concurrency=10, request_timeout=60.0, liveness=live),
            InfraDiffProbe("changes.json", never=("Live*",)),
            EnvironmentProbe(("API_KEY", "REDIS_URL"), "prod.env"),
            ReplicasProbe(3, {"rate limit": "redis://cache.shop.example", "jobs": "postgresql://db.shop.example/shop"}),
        ),
    )  # fmt: skip


async def test_a_healthy_project_is_green_throughout(repository: Path, prove: Callable[..., None]) -> None:
    """Otherwise red would mean nothing."""
    prove(await run_gates(GATES, promises(repository)), "")


@pytest.mark.parametrize("defect", PLANTED)
async def test_a_change_of_the_project_turns_exactly_its_gate_red(
    repository: Path, tmp_path: Path, prove: Callable[..., None], defect: str
) -> None:
    """Committed, so that only what is wrong with it is wrong."""
    root = tmp_path / "shop"
    subprocess.run(["cp", "-a", repository, root], check=True)
    name, text = PLANTED[defect]
    before = git(root, "rev-parse", "HEAD")
    if defect.startswith("prior-evidence"):
        evidence(root, str(text))
    elif text is None:
        past = time.time() - 40 * 86400
        os.utime(root / name, (past, past))
    else:
        plant(root, {name: text.replace("{head}", before)})
        if git(root, "status", "--porcelain"):
            commit(root)
        evidence(root, "")
    prove(await run_gates(GATES, promises(root)), defect)


@pytest.mark.parametrize("defect", ["commit: a file was changed", "commit: a file nobody committed"])
async def test_a_tree_that_is_no_commit_is_red(
    repository: Path, tmp_path: Path, prove: Callable[..., None], defect: str
) -> None:
    """A report names a commit; what differs from it was not judged."""
    root = tmp_path / "shop"
    subprocess.run(["cp", "-a", repository, root], check=True)
    plant(root, {"LICENSE": "not free\n"} if "changed" in defect else {"notes.txt": "later\n"})
    prove(await run_gates(["commit", "syntax"], promises(root)), defect)


@pytest.mark.parametrize("store", ["memory", "sqlite:///.golive/jobs.db"])
async def test_replicas_that_keep_what_they_must_share_are_red(prove: Callable[..., None], store: str) -> None:
    """A sentence in a document kept the second seed's service at one replica; this keeps it there."""
    kept = Target(promises=(ReplicasProbe(2, {"rate limit": store}),))
    prove(await run_gates(["shared-state"], kept), f"shared-state: a limit in {store.partition(':')[0]}")


async def test_without_what_they_need_the_gates_are_unavailable(tmp_path: Path) -> None:
    """An empty folder proves nothing; the gate that needs files to be absent is another one's test."""
    (tmp_path / "empty").mkdir()
    report = await run_gates(set(GATES) - {"syntax"}, promises(tmp_path / "empty"))
    verdicts = {result.gate: result.outcome.verdict for result in report.results}
    red = {"documents", "prior-evidence"}  # a paper that is missing is a failure
    assert {gate for gate, verdict in verdicts.items() if verdict is Verdict.FAIL} == red
    green = {"naming", "shared-state"}  # a list of names is in the promise itself
    assert {gate for gate, verdict in verdicts.items() if verdict is Verdict.PASS} == green

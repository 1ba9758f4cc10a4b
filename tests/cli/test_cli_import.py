"""`golive import`: manifests of Argo Rollouts and Flagger, carried over or named line by line."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from golive.cli import app_for
from golive.config import load_settings
from golive.rollout.semantics import rules_class

MANIFESTS = Path(__file__).parent / "manifests"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``golive import TOOL FILES`` where argo.yaml and flagger.yaml are; a text is written to m.yaml first."""
    for file in MANIFESTS.glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text())
    monkeypatch.chdir(tmp_path)

    def go(tool: str, *arguments: str, text: str | None = None) -> tuple[int, str, str]:
        if text is not None:
            Path("m.yaml").write_text(text)
        code = app_for({"import": "", "config": ""}, ["import", tool, *arguments])
        out = capsys.readouterr()
        return code, out.out, out.err

    return go


def canary(steps: str, kind: str = "Rollout") -> str:
    """A Rollout with these steps."""
    return f"kind: {kind}\nspec:\n  strategy:\n    canary:\n      steps: {steps}\n"


def analysis(body: str) -> str:
    """A Flagger Canary with this analysis."""
    return f"kind: Canary\nspec:\n  analysis: {body}\n"


@pytest.mark.parametrize("tool", ["argo", "flagger"])
def test_what_comes_out_passes_config_check_once_there_is_a_service_and_an_app(run: Run, tool: str) -> None:
    code, out, _ = run(tool, f"{tool}.yaml")
    assert code == 0
    Path("golive.toml").write_text(f'service = "basket"\napp = "main:app"\n{out}')
    assert app_for({"config": ""}, ["config", "check"]) == 0
    rollout = load_settings(Path("golive.toml")).rollout
    assert rollout.semantics == tool
    options = {name: int(number) for name, number in rollout.judge.items()}
    rules_class(tool)(slo=tomllib.loads(out)["slo"], **options)  # refuses options the rules do not have


def test_argos_steps_become_stages_and_a_pause_without_end_an_approval(run: Run) -> None:
    _, out, _ = run("argo", "argo.yaml")
    assert tomllib.loads(out)["rollout"]["stages"] == [
        {"weight": 5, "soak": "10m"},
        {"weight": 25, "soak": "1h"},
        {"weight": 60, "soak": "1h30m", "approval": "approvers"},
        {"weight": 100},
    ]


def test_argos_conditions_on_a_prometheus_query_become_rows(run: Run) -> None:
    document = tomllib.loads(run("argo", "argo.yaml")[1])
    row = document["slo"]["success_rate_query"]
    assert (row["target"], row["alert_if"]) == (">= 0.98", "< 0.95")
    assert 'job="basket",pods="{version}"' in row["query"]
    assert document["slo"]["restarts"]["target"] == "<= 2", "a failureCondition alone: the target is its opposite"
    assert document["rollout"]["judge"] == {"interval_s": 120, "count": 4, "failure_limit": 3}
    assert document["rollout"]["prometheus"]["url"] == "http://prometheus.monitoring:9090"


@pytest.mark.parametrize(
    ("tool", "line", "what"),
    [
        ("argo", 26, "not carried over: setHeaderRoute, because"),
        ("argo", 34, "not carried over: experiment, because"),
        ("argo", 64, "put $labels or {version} into the query"),
        ("argo", 76, "tenant has no value"),
        ("argo", 78, "expected a comparison"),
        ("argo", 83, "its provider is job"),
        ("flagger", 18, "not carried over: mirror, because"),
        ("flagger", 35, "the webhook 'acceptance'"),
        ("flagger", 60, "'datadog' has no equivalent"),
    ],
)
def test_what_has_no_equivalent_is_said_with_its_line_on_stderr_and_as_a_comment(
    run: Run, tool: str, line: int, what: str
) -> None:
    _, out, err = run(tool, f"{tool}.yaml")
    said = [note for note in err.splitlines() if note.startswith(f"{tool}.yaml:{line}: ") and what in note]
    assert said
    assert f"# - {said[0]}" in out.splitlines()


def test_flaggers_steps_go_on_until_the_weight_is_at_or_above_the_greatest(run: Run) -> None:
    document = tomllib.loads(run("flagger", "flagger.yaml")[1])
    assert [stage["weight"] for stage in document["rollout"]["stages"]] == [20, 40, 60, 100]
    assert [stage.get("soak") for stage in document["rollout"]["stages"]] == ["2m", "2m", "2m", None]
    assert document["rollout"]["judge"] == {"interval_s": 120, "threshold": 5}


def test_flaggers_ranges_become_rows_one_for_each_end(run: Run) -> None:
    rows = tomllib.loads(run("flagger", "flagger.yaml")[1])["slo"]
    assert rows["success_rate"] == {"target": ">= 99%", "window": "1m"}
    assert rows["latency_p99"] == {"target": "<= 500ms", "window": "30s"}
    assert (rows["cart_size_min"]["target"], rows["cart_size_max"]["target"]) == (">= 0.5", "<= 40")
    assert 'app="basket",namespace="shop",region="eu",$labels}[$window]' in rows["cart_size_max"]["query"]


def test_flaggers_step_weights_are_taken_as_listed_and_iterations_as_a_switch(run: Run) -> None:
    _, out, _ = run("flagger", "m.yaml", text=analysis("{interval: 1m, threshold: 2, stepWeights: [1, 10, 80]}"))
    assert [stage["weight"] for stage in tomllib.loads(out)["rollout"]["stages"]] == [1, 10, 80, 100]
    _, out, err = run("flagger", "m.yaml", text=analysis("{interval: 1m, threshold: 2, iterations: 10}"))
    rollout = tomllib.loads(out)["rollout"]
    assert (rollout["strategy"], rollout["stages"]) == ("blue-green", [{"weight": 100, "soak": "10m"}])
    assert "m.yaml:3: iterations test before the switch" in err


def test_more_stages_than_golive_takes_are_joined_without_losing_time(run: Run) -> None:
    _, out, err = run("flagger", "m.yaml", text=analysis("{interval: 1m, threshold: 2, stepWeight: 1}"))
    Path("golive.toml").write_text(f'service = "basket"\napp = "main:app"\n{out}')
    stages = load_settings(Path("golive.toml")).rollout.stages
    assert stages is not None
    assert len(stages) <= 50
    assert sum((stage.soak for stage in stages[:-1]), timedelta()) >= timedelta(minutes=99)
    assert "stages have no equivalent" in err


def test_weights_that_go_down_and_blue_green_are_told(run: Run) -> None:
    _, out, err = run("argo", "m.yaml", text=canary("[{setWeight: 40}, {setWeight: 20}]"))
    assert [stage["weight"] for stage in tomllib.loads(out)["rollout"]["stages"]] == [40, 100]
    assert "m.yaml:5: setWeight 20 has no equivalent: stages only go up." in err
    blue = (
        "kind: Rollout\nspec:\n  strategy:\n    blueGreen:\n      autoPromotionEnabled: false\n      antiAffinity: {}\n"
    )
    _, out, err = run("argo", "m.yaml", text=blue)
    assert tomllib.loads(out)["rollout"]["stages"] == [{"weight": 100, "approval": "approvers"}]
    assert "m.yaml:6: not carried over: antiAffinity, because all versions run on one machine." in err


def test_a_query_cannot_reach_into_the_environment_or_out_of_its_string(run: Run) -> None:
    query = 'sum(x{version="{version}"}) # ${HOME} \\u007f"\\n\\n[approvals]'.replace('"', '\\"')
    template = f'kind: AnalysisTemplate\nmetadata: {{name: t}}\nspec: {{metrics: [{{name: x, successCondition: "result < 1", provider: {{prometheus: {{query: "{query}"}}}}}}]}}\n'  # noqa: E501
    rollout = canary("[{setWeight: 5}, {analysis: {templates: [{templateName: t}]}}]")
    code, out, _ = run("argo", "m.yaml", text=f"{rollout}---\n{template}")
    assert code == 0
    Path("golive.toml").write_text(f'service = "basket"\napp = "main:app"\n{out}')
    settings = load_settings(Path("golive.toml"))
    assert "${HOME} \x7f" in (settings.slo["x"].query or "")
    assert not settings.approvals.groups


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "m.yaml:1: expected a manifest, got nothing."),
        ("a: [", "m.yaml:1: expected YAML, got:"),
        ("- 1", "m.yaml:1: expected a mapping, got a list."),
        ("a: 1", 'm.yaml:1: expected a manifest with a "kind"'),
        ("kind: A\nkind: B", "m.yaml:2: expected each key once, got 'kind' twice."),
        ("kind: &a [1]\nb: *a", "m.yaml:2: expected values written out, got the alias 'a'."),
        ("kind: Deployment", "m.yaml: expected a Rollout, got Deployment."),
        ("kind: !!python/object/apply:os.getcwd []", "m.yaml:1: expected a text, got a list."),
        ("kind: !!python/name:os.getcwd x", "m.yaml:1: expected YAML, got: could not determine a constructor"),
        (f"kind: {'[' * 60}{']' * 60}", "m.yaml:1: expected at most 40 levels, got more."),
        (f"kind: A\nb: '{'x' * 1024 * 1024}'", "m.yaml: expected at most 1024 KiB, got more."),
        ("kind: Rollout\nspec: 3", "m.yaml:2: expected a mapping, got 3."),
        (canary("3"), "m.yaml:5: expected a list, got 3."),
        (canary("[{setWeight: many}]"), "m.yaml:5: expected a number, got 'many'."),
        (canary("[{setWeight: 101}]"), "m.yaml:5: expected a number from 0 to 100, got 101."),
        (canary("[{setWeight: .nan}]"), "m.yaml:5: expected a number from 0 to 100, got nan."),
        (canary("[{pause: {duration: soon}}]"), "m.yaml:5: expected a duration such as 30s, 10m or 1h30m, got 'soon'."),
        (f"{canary('[]')}---\n{canary('[]')}", "m.yaml:7: expected one Rollout, got another at m.yaml:1."),
    ],
)
def test_bad_input_is_refused_with_its_line(run: Run, text: str, said: str) -> None:
    code, out, err = run("argo", "m.yaml", text=text)
    assert (code, out) == (2, "")
    assert said in err


def test_a_flagger_metric_whose_name_is_no_text_is_refused_with_its_line(run: Run) -> None:
    text = analysis("{stepWeight: 50, metrics: [{name: [a], thresholdRange: {min: 1}}]}")
    code, _, err = run("flagger", "m.yaml", text=text)
    assert (code, err) == (2, "m.yaml:3: expected a text, got a list.\n")


def test_a_file_is_written_once_and_replaced_only_by_force(run: Run) -> None:
    assert run("argo", "argo.yaml", "-o", "out.toml")[:2] == (0, "")
    written = Path("out.toml").read_text()
    Path("out.toml").write_text("mine")
    code, _, err = run("argo", "argo.yaml", "-o", "out.toml")
    assert (code, "--force" in err, Path("out.toml").read_text()) == (6, True, "mine")
    assert run("argo", "argo.yaml", "-o", "out.toml", "--force")[0] == 0
    assert Path("out.toml").read_text() == written


def test_without_pyyaml_the_extra_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    missing: Any = None
    monkeypatch.setitem(sys.modules, "yaml", missing)
    code, _, err = run("argo", "argo.yaml")
    assert code == 2
    assert 'pip install "golive[import]"' in err


FIELDS = {  # every key of the types of Argo Rollouts (August 2026) and Flagger 1.44, beside those that are read
    ("argo", "spec"): """replicas selector template workloadRef minReadySeconds rollbackWindow revisionHistoryLimit
        paused progressDeadlineSeconds progressDeadlineAbort restartAt analysis""",
    ("argo", "canary"): """canaryService stableService trafficRouting maxUnavailable maxSurge antiAffinity
        canaryMetadata stableMetadata scaleDownDelaySeconds scaleDownDelayRevisionLimit abortScaleDownDelaySeconds
        dynamicStableScale pingPong minPodsPerReplicaSet replicaProgressThreshold""",
    ("argo", "step"): "experiment setCanaryScale setHeaderRoute setMirrorRoute plugin",
    ("argo", "blueGreen"): """activeService previewService previewReplicaCount autoPromotionSeconds maxUnavailable
        scaleDownDelaySeconds scaleDownDelayRevisionLimit prePromotionAnalysis antiAffinity postPromotionAnalysis
        previewMetadata activeMetadata abortScaleDownDelaySeconds""",
    ("argo", "analysis"): "startingStep dryRun measurementRetention analysisRunMetadata",
    ("flagger", "spec"): """provider metricsServer autoscalerRef ingressRef routeRef upstreamRef
        progressDeadlineSeconds revertOnDeletion suspend""",
    ("flagger", "service"): """port portName targetPort appProtocol trafficDistribution portDiscovery headless timeout
        backendTimeout gateways gatewayRefs hosts delegation trafficPolicy match rewrite retries headers mirror
        corsPolicy meshName backends apex primary canary unmanagedMetadata""",
    ("flagger", "analysis"): """mirror mirrorWeight stepWeightPromotion primaryReadyThreshold canaryReadyThreshold
        alerts match sessionAffinity""",
}
_CANARY = "kind: Rollout\nspec:\n  strategy:\n    canary:\n"
_STEPS = "      steps: [{setWeight: 5}]\n"
_FLAGGER = "kind: Canary\nspec:\n  analysis: {stepWeight: 50}\n"
PLACES = {
    ("argo", "spec"): "kind: Rollout\nspec:\n  strategy: {canary: {steps: [{setWeight: 5}]}}\n  KEY\n",
    ("argo", "canary"): f"{_CANARY}{_STEPS}      KEY\n",
    ("argo", "step"): f"{_CANARY}      steps:\n      - setWeight: 5\n      - KEY\n",
    ("argo", "blueGreen"): "kind: Rollout\nspec:\n  strategy:\n    blueGreen:\n      KEY\n",
    ("argo", "analysis"): f"{_CANARY}{_STEPS}      analysis:\n        KEY\n",
    ("flagger", "spec"): f"{_FLAGGER}  KEY\n",
    ("flagger", "service"): f"{_FLAGGER}  service:\n    KEY\n",
    ("flagger", "analysis"): "kind: Canary\nspec:\n  analysis:\n    stepWeight: 50\n    KEY\n",
}


@pytest.mark.parametrize("place", FIELDS, ids=" ".join)
def test_no_key_of_a_manifest_is_left_out_in_silence(run: Run, place: tuple[str, str]) -> None:
    """Every field of the two types that is not read is named with its line, and why."""
    for key in (*FIELDS[place].split(), "aKeyOfNextYear"):
        text = PLACES[place].replace("KEY", f"{key}: {{}}")
        code, _, err = run(place[0], "m.yaml", text=text)
        assert code == 0, err
        line = text.count("\n")
        assert f"m.yaml:{line}: not carried over: {key}, because " in err


@pytest.mark.parametrize(
    ("body", "weights", "said"),
    [
        ("{stepWeight: 20, maxWeight: 50}", [20, 40, 60, 100], ""),
        ("{stepWeight: 30}", [30, 60, 90, 100], ""),
        ("{stepWeight: 30, maxWeight: 0}", [30, 60, 90, 100], ""),
        ("{stepWeights: [1, 10, 80]}", [1, 10, 80, 100], ""),
        ("{stepWeight: 0, stepWeights: [5, 50]}", [5, 50, 100], ""),
        ("{stepWeight: 20, stepWeights: [1, 10, 50]}", [20, 40, 60, 100], "stepWeights but the last"),
        ("{stepWeights: [5, 50], maxWeight: 30}", [5, 50, 100], "maxWeight, because the last of stepWeights"),
        ("{stepWeight: 50, interval: 5s}", [50, 100], "the interval became 10s"),
    ],
)
def test_weights_are_counted_as_flagger_counts_them(run: Run, body: str, weights: list[int], said: str) -> None:
    """nextStepWeight, maxWeight and GetAnalysisInterval of Flagger, case by case."""
    code, out, err = run("flagger", "m.yaml", text=analysis(body))
    assert code == 0, err
    stages = tomllib.loads(out)["rollout"]["stages"]
    assert [stage["weight"] for stage in stages] == weights
    assert {stage.get("soak") for stage in stages[:-1]} == {"10s" if "5s" in body else "1m"}
    assert said in err


def test_documents_that_are_not_read_are_named(run: Run) -> None:
    """A Deployment or an AlertProvider beside the Canary."""
    text = analysis("{stepWeight: 50}") + "---\nkind: AlertProvider\nmetadata: {name: chat}\n"
    assert "not carried over: 'AlertProvider', because" in run("flagger", "m.yaml", text=text)[2]

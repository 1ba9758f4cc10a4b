"""Why a key of a manifest is not carried over, as data: one clause each, that goes on after "because"."""

from __future__ import annotations

UNKNOWN = "golive has nothing like it"

_PODS = "versions are processes, started as [deploy] says"
_ROUTES = "the gateway splits all requests by weight; [gateway] force_header lets a tester choose a version"
_MIRRORS = "the gateway mirrors no traffic"
_SERVICES = "golive's own gateway stands in front of the versions, no Service has to be switched"
_KEPT = "the old version is kept for rollout.watch after 100 %"
_READY = "[deploy] startup_timeout and ready_timeout say how long a version may take"
_METADATA = "there are no pods to label; the gateway counts by version"

ARGO_SPEC = {
    "replicas": _PODS,
    "selector": _PODS,
    "template": _PODS,
    "workloadRef": _PODS,
    "minReadySeconds": "a version has traffic when its ready_path answers 200; the first stage's soak is the wait",
    "rollbackWindow": "golive rollback is one write back to the version before, without analysis",
    "revisionHistoryLimit": "the journal keeps every rollout",
    "paused": "golive pause holds a rollout that runs",
    "progressDeadlineSeconds": _READY,
    "progressDeadlineAbort": "a version that does not become ready is always taken back",
    "restartAt": "golive restarts nothing by the clock",
    "analysis": "the journal keeps every verdict, there is no number of runs to limit",
}
ARGO_CANARY = {
    "trafficRouting": "golive moves traffic with its own gateway",
    "canaryService": _SERVICES,
    "stableService": _SERVICES,
    "pingPong": _SERVICES,
    "maxSurge": _PODS,
    "maxUnavailable": _PODS,
    "minPodsPerReplicaSet": _PODS,
    "replicaProgressThreshold": _PODS,
    "antiAffinity": "all versions run on one machine",
    "canaryMetadata": _METADATA,
    "stableMetadata": _METADATA,
    "scaleDownDelaySeconds": _KEPT,
    "scaleDownDelayRevisionLimit": _KEPT,
    "abortScaleDownDelaySeconds": "a candidate that was taken back is drained and stopped at once",
    "dynamicStableScale": "the old version stays whole until it is stopped, so that the way back is one write",
}
ARGO_STEP = {
    "experiment": "golive compares the candidate with the stable version itself, which is the baseline",
    "setCanaryScale": _PODS,
    "setHeaderRoute": _ROUTES,
    "setMirrorRoute": _MIRRORS,
    "plugin": "[rollout.hooks] runs commands before and after stages",
}
ARGO_BLUE_GREEN = {
    "activeService": _SERVICES,
    "previewService": _SERVICES,
    "previewReplicaCount": _PODS,
    "maxUnavailable": _PODS,
    "autoPromotionSeconds": "an approval waits for people; [approvals] expires says for how long it holds",
    "scaleDownDelaySeconds": _KEPT,
    "scaleDownDelayRevisionLimit": _KEPT,
    "abortScaleDownDelaySeconds": "a candidate that was taken back is drained and stopped at once",
    "prePromotionAnalysis": "blue-green has no traffic to judge before the switch; [gates] preflight asks the version",
    "postPromotionAnalysis": "the rules of argo judge below 100 % only; golive's own go on during rollout.watch",
    "antiAffinity": "all versions run on one machine",
    "previewMetadata": _METADATA,
    "activeMetadata": _METADATA,
}
ARGO_ANALYSIS = {
    "startingStep": "every stage is judged, from the first",
    "dryRun": "golive plan and golive backtest try a table out",
    "measurementRetention": "the journal keeps every measurement",
    "analysisRunMetadata": _METADATA,
}

FLAGGER_SPEC = {
    "provider": "golive moves traffic with its own gateway",
    "metricsServer": "[rollout.prometheus] url is taken from the MetricTemplates",
    "autoscalerRef": "golive scales nothing",
    "ingressRef": "golive's own gateway is the way in",
    "routeRef": "golive's own gateway is the way in",
    "upstreamRef": "golive's own gateway is the way in",
    "progressDeadlineSeconds": _READY,
    "revertOnDeletion": "golive down stops everything, there is no resource to delete",
    "suspend": "golive pause holds a rollout that runs; [rollout] freeze closes times for all",
}
FLAGGER_SERVICE = {
    "port": "[gateway] port is where clients connect",
    "portName": "[gateway] port is where clients connect",
    "targetPort": "golive chooses a port for each version: {port} in [deploy] command",
    "timeout": "[gateway] request_timeout says how long a request may take",
    "backendTimeout": "[gateway] request_timeout says how long a request may take",
    "retries": "the gateway repeats no request, which might be carried out twice",
    "corsPolicy": "[chassis] cors_origins says it, beside the app",
    "mirror": _MIRRORS,
    "match": _ROUTES,
    "rewrite": _ROUTES,
    "headers": _ROUTES,
    "hosts": "the gateway serves every host name",
    "gateways": "golive's own gateway is the way in",
    "gatewayRefs": "golive's own gateway is the way in",
    "delegation": "golive's own gateway is the way in",
    "trafficPolicy": "[gateway] has its time-outs and limits",
}
FLAGGER_ANALYSIS = {
    "mirror": _MIRRORS,
    "mirrorWeight": _MIRRORS,
    "match": "a request is routed by weight, not by its headers",
    "sessionAffinity": "[gateway.sticky] keeps users on their version, by header or cookie",
    "stepWeightPromotion": "after the last weight all traffic goes to the version that was judged, in one write",
    "primaryReadyThreshold": _PODS,
    "canaryReadyThreshold": _PODS,
    "alerts": "golive sends none by itself: [rollout.hooks] runs a command at each point of a rollout",
}
OTHER_KINDS = "only the rollout and the templates of its metrics are"

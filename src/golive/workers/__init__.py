"""
Canaries for workers: the rollout's ports, served by the job store. Where two rooms meet that do not know each other.

:class:`~golive.workers.router.ClaimRouter` moves shares of the jobs as a gateway moves shares of the requests;
:class:`~golive.workers.evidence.JobEvidence` counts what became of them.
"""

"""
What is wrong only between two settings that each look right: the rules of the gate ``plan-lint``, one file per group.

Every rule is a pure function from :class:`~golive.gates.planlint.facts.PlanFacts` to findings.
"""

"""The built-in gates, one per file, each with a ``GATE``. See :mod:`golive.gates.registry`."""

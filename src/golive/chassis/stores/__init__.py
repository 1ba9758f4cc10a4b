"""Where idempotency keys live, one technology per file. Each passes the same contract suite."""

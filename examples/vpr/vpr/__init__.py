"""VPR: value proposition reports, synchronous and asynchronous, small."""

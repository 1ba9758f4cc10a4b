"""Portfolio: a service with the eight fixes of a deployment report, small."""

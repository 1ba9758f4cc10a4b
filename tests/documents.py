"""The documents that golive was asked for in, by the number in front of each of their items."""

DOCUMENTS = {
    "000": "blocks jobs API",
    "001": "cloud go-live plan",
    "002": "POS ingest hardening",
    "003": "VPR gradual deployment",
    "004": "deployment orchestrator",
}

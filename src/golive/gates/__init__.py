"""The gates room: readiness is executed, not ticked."""

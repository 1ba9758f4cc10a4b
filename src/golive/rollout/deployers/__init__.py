"""Deployers: one file per way to run a version. Import the one you use on purpose."""

"""Evidence: one file per source that counts what each version did. Import the one you use on purpose."""

"""``python -m golive``: the same as ``golive``, for the interpreter at hand."""

from golive.cli import main

if __name__ == "__main__":
    main()

"""Search for bad input guided by coverage: `make fuzz-http`. Options of libFuzzer follow on the command line."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["golive", "uvicorn"]):
    import fuzz_http


def main() -> None:
    """Run until the time is over; a crash prints the bytes and ends with their file."""
    service = fuzz_http.Service()
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(fuzz_http.SEEDS):
            (Path(folder) / str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, folder], lambda data: fuzz_http.check(service, data))
        atheris.Fuzz()


if __name__ == "__main__":
    main()

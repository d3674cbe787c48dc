"""Fuzz the target `check_connect`.

    python -m tests.fuzz.fuzz_connect -max_total_time=60 tests/fuzz/corpus/connect

Needs atheris (and its libFuzzer); new findings go into that folder, and a crash into the
current one. `test_corpus` replays the folder without atheris.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["tlsgate.core"]):
    from tests.fuzz.tunnels import check_connect


def main() -> None:
    """Run until the options say stop, or an assertion or a foreign exception stops it."""
    atheris.Setup(sys.argv, check_connect)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

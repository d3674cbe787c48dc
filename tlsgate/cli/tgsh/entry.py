"""Where the program `tgsh` begins: `proxy ssh` at once, everything else with its libraries."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    words = sys.argv[1:]
    if "proxy" in words and "ssh" in words:
        from tlsgate.cli.tgsh.dialssh import main as dial

        if (code := dial(words)) is not None:
            sys.exit(code)
    from tlsgate.cli.tgsh.main import main as whole

    whole()


if __name__ == "__main__":
    main()

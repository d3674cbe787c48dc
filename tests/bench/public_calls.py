"""`twistd` with tlsgate's relay on pyOpenSSL's public calls, for the bench to print both.

The daemon picks the private binding where there is one; here it does not see it.
"""

from __future__ import annotations

from tlsgate.tls import fast


def main() -> None:
    """Run twistd with the arguments of this process."""
    fast.HAS_BINDING = False  # type: ignore[misc]  # the very choice that is measured
    fast.open_session.__defaults__ = (False,)

    from twisted.scripts.twistd import run

    run()


if __name__ == "__main__":
    main()

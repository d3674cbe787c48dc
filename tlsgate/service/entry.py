"""What twistd loads first: the daemon, with Python's collector held until it is put together.

A start makes hundreds of thousands of objects, nearly all of which stay. Looking through them
again and again while they are made takes about a tenth of its processor time; looking through
them later, in every full collection, would take time from connections.
"""

from __future__ import annotations

import gc

from twisted.application.service import IService

gc.disable()
try:
    from tlsgate.service import tap
except BaseException:
    gc.enable()
    raise

Options = tap.Options


def makeService(options: tap.Options) -> IService:
    """Make the service of *options* (Twisted calls this); from now on garbage is collected."""
    try:
        return tap.makeService(options)
    finally:
        gc.freeze()
        gc.enable()

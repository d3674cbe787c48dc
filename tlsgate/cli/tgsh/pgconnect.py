"""`tgsh db connect`: psql, straight where it can, else through a local proxy of its own.

Straight needs psql 17 (direct TLS), no HTTP proxy between, and a web certificate that the
login's authority signed. Otherwise a local proxy listens on a UNIX socket in a folder of its
own for as long as psql runs.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from tlsgate.cli.tgsh.call import Call
from tlsgate.cli.tgsh.flat import Place
from tlsgate.cli.tgsh.narrow import Narrow
from tlsgate.cli.tgsh.nodes import place_for
from tlsgate.cli.tgsh.pgconf import Reached, straight, through
from tlsgate.errors import BadAsk

#: The first libpq that begins with TLS.
DIRECT = 17
#: What psql ends with where it got no connection.
NOT_CONNECTED = 2
_LOOK_SECONDS = 10.0
_PORT = 5432


def run_psql(call: Call, narrow: Narrow, words: Sequence[str]) -> int:
    """Run psql with *narrow*; gives its exit code.

    Raises:
        BadAsk: there is no psql.
    """
    psql = shutil.which("psql")
    if psql is None:
        raise BadAsk("psql is not there: install PostgreSQL's client, or use `tgsh proxy db`")
    place = place_for(call)
    if psql_version(psql) >= DIRECT and not _proxied(place) and web_is_believed(place):
        call.trace("psql does TLS itself")
        return _run(command(psql, straight(place, narrow), words))
    call.trace("psql gets a local proxy")
    return _through(call, place, narrow, psql, words)


def psql_there() -> int:
    """The major version of the psql on this machine; 0 where there is none."""
    psql = shutil.which("psql")
    return psql_version(psql) if psql else 0


def psql_version(psql: str) -> int:
    """The major version of a psql; 0 where it does not say."""
    try:
        said = subprocess.run(  # noqa: S603  # the user's own psql
            [psql, "--version"], capture_output=True, timeout=_LOOK_SECONDS, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(rb"\(PostgreSQL\) (\d{1,3})", said)
    return int(found[1]) if found else 0


def web_is_believed(place: Place) -> bool:
    """Whether libpq believes the web certificate at *place*, by whom the login believed."""
    from tlsgate.cli.outward import connect
    from tlsgate.cli.tgsh.gatedial import trust_web

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        trust_web(context, place)
        # libpq wants to see a root: an authority in the middle of a chain is none to it.
        context.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        with connect(place.host, place.port, _LOOK_SECONDS) as plain:
            context.wrap_socket(plain, server_hostname=place.host).close()
    except OSError:
        return False
    return True


def command(psql: str, where: Reached, words: Sequence[str]) -> list[str]:
    """The command line of psql; the certificate is in files, so nothing in it is secret."""
    return [psql, "--dbname", where.words, *words]


def _proxied(place: Place) -> bool:
    from tlsgate.core.outbound import http_proxy

    return http_proxy(place.host, place.port, os.environ) is not None


def _run(words: list[str]) -> int:
    """Run a program at this terminal; Ctrl-C is its business."""

    def leave(number: int, frame: FrameType | None) -> None:
        """Do nothing: a function of ours is not inherited, as SIG_IGN would be."""

    before = signal.signal(signal.SIGINT, leave)
    try:
        return _child(words)
    finally:
        signal.signal(signal.SIGINT, before)


def _through(call: Call, place: Place, narrow: Narrow, psql: str, words: Sequence[str]) -> int:
    """The same through a proxy in this process, which runs while psql does."""
    from twisted.internet import reactor as made

    from tlsgate.cli.faults import NotLoggedIn
    from tlsgate.cli.tgsh.localplans import database
    from tlsgate.cli.tgsh.localrun import Address, Running
    from tlsgate.cli.tgsh.way import say

    reactor: Any = made
    codes = [1]
    with tempfile.TemporaryDirectory(prefix="tgsh-") as folder:
        wanted = Address(0, Path(folder) / f".s.PGSQL.{_PORT}")
        plan = database(call, place, narrow.routes, wanted, tunnel=True)
        line = command(psql, through(folder, _PORT, narrow), words)

        def work() -> None:
            try:
                codes[0] = _child(line)
            finally:
                reactor.callFromThread(reactor.stop)

        def expired(error: NotLoggedIn) -> None:
            say(str(error))

        running = Running(plan, reactor, expired)
        before = signal.signal(signal.SIGINT, lambda number, frame: None)
        try:
            reactor.callWhenRunning(threading.Thread(target=work, daemon=True).start)
            reactor.addSystemEventTrigger("before", "shutdown", running.stop)
            reactor.run(installSignalHandlers=False)
        finally:
            signal.signal(signal.SIGINT, before)
    return codes[0]


def _child(words: list[str]) -> int:
    code = subprocess.run(words, check=False).returncode  # noqa: S603  # a word each
    return code if code >= 0 else 128 - code

"""Run a local proxy until somebody ends it: `tgsh proxy db`, `tgsh proxy app`.

1. `Plan` says what to carry; its certificate is there before anybody may connect.
2. The listener is opened, and one block for people, or one line of JSON, says where.
3. Ctrl-C ends it with exit code 0; a login that has ended with 1, and a sentence. At a
   terminal a new login is offered first, and before the listener is opened as well.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from attrs import frozen
from twisted.internet.defer import Deferred

from tlsgate.cli.faults import NotLoggedIn
from tlsgate.cli.show import plain
from tlsgate.cli.tgsh import narrow as narrows
from tlsgate.cli.tgsh.call import Call
from tlsgate.cli.tgsh.localcert import Keeper
from tlsgate.cli.tgsh.localends import Side
from tlsgate.cli.tgsh.localgate import Gateway, Threads, beside
from tlsgate.cli.tgsh.localproxy import LOOPBACK, Listener, Watch
from tlsgate.cli.tgsh.way import say
from tlsgate.errors import GateError

Refusal = Callable[[GateError], object]


@frozen
class Address:
    """Where a local proxy listens: a port of 127.0.0.1, or a UNIX socket."""

    port: int
    socket: Path | None = None

    def __str__(self) -> str:
        return str(self.socket or f"{LOOPBACK}:{self.port}")


@frozen
class Plan:
    """What a local proxy carries.

    Attributes:
        keeper: of the certificate.
        where: the gateway's address.
        wanted: where to listen; port 0 means any.
        dial: blocks; a connection to the gateway.
        begin: makes of a program that connects what the protocol wants.
        ready: what is told once it listens, JSON types; "lines" is for people.
    """

    keeper: Keeper
    where: str
    wanted: Address
    dial: Callable[[], Any]
    begin: Callable[[Side, Gateway, Any, Address, Refusal], object]
    ready: Callable[[Address], Mapping[str, Any]]


class Running:
    """A proxy that listens."""

    def __init__(
        self,
        plan: Plan,
        reactor: Any,
        expired: Callable[[NotLoggedIn], object],
        threads: Threads | None = None,
    ) -> None:
        threads = threads or beside(reactor)
        self.gateway = Gateway(reactor, threads, plan.where, plan.dial, say)
        self.watch = Watch(plan.keeper, reactor, threads, expired)
        self._listener = Listener(self._begin)
        self._reactor = reactor
        self._plan = plan
        wanted = plan.wanted
        if wanted.socket is not None:
            self._listener.open_socket(reactor, wanted.socket)
            self.address = wanted
        else:
            self.address = Address(self._listener.open_port(reactor, wanted.port))
        self.watch.start()

    def stop(self) -> Deferred[Any]:
        """Cut everything; gives when that is done."""
        self.watch.stop()
        self.gateway.stop()
        return self._listener.stop()

    def _begin(self, program: Side) -> None:
        self._plan.begin(program, self.gateway, self._reactor, self.address, self.watch.refused)


def run(call: Call, plan: Plan, reactor: Any = None) -> int:
    """Run *plan* until its end; gives the exit code.

    Raises:
        GateError: it cannot begin.
    """
    plan.keeper.current()  # what is refused is refused here, in a sentence
    if reactor is None:
        from twisted.internet import reactor
    codes = [0]

    def expired(error: NotLoggedIn) -> None:
        say(str(error))
        if not at_a_terminal():
            codes[0] = 1
            reactor.stop()
            return

        async def offer() -> None:
            if await threads(lambda: _log_in_again(plan.keeper)):
                running.watch.again()
            else:
                codes[0] = 1
                reactor.stop()

        Deferred.fromCoroutine(offer()).addErrback(lambda failure: reactor.stop())

    threads = beside(reactor)
    running = Running(plan, reactor, expired, threads)
    reactor.addSystemEventTrigger("before", "shutdown", running.stop)
    _tell(call, plan.ready(running.address))
    reactor.run()
    return codes[0]


def at_a_terminal() -> bool:
    """Whether somebody is there who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _tell(call: Call, ready: Mapping[str, Any]) -> None:
    if call.format == "json":
        shown = {name: value for name, value in ready.items() if name != "lines"}
        click.echo(json.dumps(shown))  # one line, for whoever waits for it
    else:
        for line in ready["lines"]:
            click.echo(plain(line))
    sys.stdout.flush()


def ready_login(call: Call) -> None:
    """See that somebody is logged in; at a terminal a login that has ended is offered anew.

    Raises:
        NotLoggedIn: nobody is, and nobody wants to.
        BadAsk: an identity file was named, which keeps nothing.
    """
    try:
        narrows.saved_login(call)
    except NotLoggedIn as e:
        if call.host() is None or not at_a_terminal():
            raise
        say(str(e))
        if not _log_in(call, e.login):
            raise


def _log_in_again(keeper: Keeper) -> bool:
    done = _log_in(keeper.call, keeper.login)
    keeper.renew()
    return done


def _log_in(call: Call, login: str) -> bool:
    """Offer a new login at the terminal; gives whether there is one."""
    try:
        if not click.confirm("Log in again?", default=True, err=True):
            return False
    except click.Abort:
        return False
    home = f"--home={call.profiles().folder}"
    command = [sys.executable, "-m", "tlsgate.cli.tgsh.entry", home, *login.split()[1:]]
    done = subprocess.run(command, check=False, stdout=sys.stderr)  # noqa: S603  # our own words
    return done.returncode == 0

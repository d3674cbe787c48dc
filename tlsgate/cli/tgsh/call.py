"""What every tgsh command takes: which gateway, which user, and how the answer looks."""

from __future__ import annotations

import functools
import os
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from attrs import define, field

from tlsgate.cli.credential import Credential, check_time, read_identity
from tlsgate.cli.faults import NotLoggedIn
from tlsgate.cli.show import FORMATS, emit
from tlsgate.cli.tgsh.home import Home, Saved
from tlsgate.errors import BadAsk

if TYPE_CHECKING:
    from tlsgate.cli.api import Way
    from tlsgate.cli.door import Asks
    from tlsgate.cli.tgsh.flat import Place

F = TypeVar("F", bound=Callable[..., Any])


def _remote(way: Way) -> Asks:
    from tlsgate.cli.api import Remote

    return Remote(way)


def _execute(program: str, words: Sequence[str]) -> None:
    os.execvp(program, [program, *words])  # noqa: S606  # a word each, nothing for a shell


def _attend(program: str, words: Sequence[str]) -> int:
    from tlsgate.cli.tgsh.attended import attended

    return attended(program, words)


def _ask_secret(question: str) -> str:
    return str(click.prompt(question, hide_input=True, err=True))


@define
class Call:
    """The options that stand before or after a command's name; the latter win."""

    home: Path | None = None
    proxy: str | None = None
    user: str | None = None
    identity: Path | None = None
    insecure: bool = False
    debug: bool = False
    format: str = "text"
    open_way: Callable[[Way], Asks] = field(default=_remote, repr=False)
    ask_secret: Callable[[str], str] = field(default=_ask_secret, repr=False)
    now: Callable[[], float] = field(default=time.time, repr=False)
    #: Asks for /webapi/ping without a library; None: as `way` does it.
    ask_ping: Callable[[Place], bytes] | None = field(default=None, repr=False)
    execute: Callable[[str, Sequence[str]], None] = field(default=_execute, repr=False)
    #: Runs a program beside this one, and gives its exit code.
    attend: Callable[[str, Sequence[str]], int] = field(default=_attend, repr=False)

    def profiles(self) -> Home:
        """The folder of the user's profiles."""
        return Home(self.home or Path(os.path.expanduser("~/.tgsh")))

    def show(self, value: Any, text: Callable[[Any], str]) -> None:
        """Write a command's result to stdout in the format that was asked for."""
        emit(value, self.format, text)

    def trace(self, what: str) -> None:
        """Say on stderr what is done, where --debug asks for it; never a secret."""
        if self.debug:
            click.echo(f"tgsh: debug: {what}", err=True)

    def run(self, program: str, words: Sequence[str]) -> None:
        """Have the system's *program* take this one's place.

        What an identity file was laid out as has to go afterwards: there it runs beside this.

        Raises:
            BadAsk: there is none.
            SystemExit: with its exit code, where it ran beside this one.
        """
        self.trace(f"running {program} {' '.join(map(shlex.quote, words))}")
        try:
            if self.identity is not None:
                raise SystemExit(self.attend(program, words))
            self.execute(program, words)
        except OSError as e:
            raise BadAsk(f"{program} cannot be run: {e.strerror}: install OpenSSH") from e

    def host(self) -> str | None:
        """The host of the gateway that is meant: of --proxy, or the one in use."""
        if self.proxy is None:
            return self.profiles().current()
        from tlsgate.cli.tgsh.gateway import parse_proxy

        return parse_proxy(self.proxy)[0]

    def login_line(self) -> str:
        """The command that logs in to the gateway that is meant."""
        host = self.proxy
        if host is None and (current := self.profiles().current()) is not None:
            profile = self.profiles().profile(current)
            host = None if profile is None else profile.web_proxy_addr
        return f"tgsh login --proxy={host or 'HOST[:PORT]'}"

    def logged_in(self) -> Saved:
        """The profile that is meant, with a certificate that is good now.

        Raises:
            NotLoggedIn: there is none, or it has expired.
            ClockWrong: it is not valid yet.
        """
        host = self.host()
        saved = None if host is None else self.profiles().saved(host)
        if saved is None or saved.credential is None:
            raise NotLoggedIn("you are not logged in", self.login_line())
        if self.user is not None and saved.profile.user != self.user:
            raise NotLoggedIn(
                f"{saved.profile.user} is logged in, not {self.user}",
                f"{self.login_line()} --user={self.user}",
            )
        check_time(saved.credential, self.login_line(), self.now())
        return saved

    def api(self) -> Asks:
        """The cluster's API, as the user who is logged in or whose identity file it is.

        Raises:
            NotLoggedIn: nobody is.
            BadAsk: the identity file is none, or names no gateway.
        """
        if self.identity is None:
            saved = self.logged_in()
            assert saved.credential is not None
            return self.open_way(way_of(saved.credential, saved.profile.web_proxy_addr))
        credential = read_identity(self.identity)
        check_time(credential, f"tgsh login --out={self.identity}", self.now())
        if self.proxy is None:
            raise BadAsk("an identity file names no gateway: add --proxy=HOST[:PORT]")
        return self.open_way(way_of(credential, self.proxy))


def way_of(credential: Credential, proxy: str) -> Way:
    """The way to the certificate door of the gateway *proxy*, for *credential*.

    Raises:
        BadAsk: the authorities of the cluster did not come along with it.
    """
    from tlsgate.cli.api import AUTH, Address, Way
    from tlsgate.cli.tgsh.gateway import PORTS, parse_proxy

    if not credential.roots:
        raise BadAsk(
            f"the authorities of {credential.cluster} are missing beside "
            f"{credential.file}: log in again with `tgsh login`"
        )
    host, port = parse_proxy(proxy)
    return Way(
        Address(host, port or PORTS[0]),
        AUTH,
        roots=credential.roots,
        cluster=credential.cluster,
        certificate=credential.file,
        key=credential.key,
    )


def with_call(command: F) -> F:
    """Give *command* the options of `Call`, and the call itself as its first argument."""
    return with_call_and()(command)


def with_call_and(*files: str) -> Callable[[F], F]:
    """The same for a command whose --format may also name what --out writes.

    The command gets that as `out_format`, None where it is not one of *files*.
    """
    return functools.partial(_with_call, files)


def _with_call(files: tuple[str, ...], command: F) -> F:

    kinds = (*FORMATS, *files)

    @click.option("--format", "how", type=click.Choice(kinds), help="How the answer looks.")
    @click.option("--proxy", help="The gateway: HOST[:PORT].")
    @click.option("--user", help="The user.")
    @click.option("-i", "--identity", type=click.Path(path_type=Path), help="An identity file.")
    @click.option("--insecure", is_flag=True, help="Do not verify the web certificate.")
    @click.option("-d", "--debug", is_flag=True, help="Say on stderr what is done.")
    @click.pass_obj
    @functools.wraps(command)
    def wrapped(
        call: Call,
        /,
        *args: Any,
        proxy: str | None,
        user: str | None,
        identity: Path | None,
        insecure: bool,
        debug: bool,
        how: str | None,
        **rest: Any,
    ) -> Any:
        call.proxy = proxy or call.proxy
        call.user = user or call.user
        call.identity = identity or call.identity
        call.insecure = insecure or call.insecure
        call.debug = debug or call.debug
        if files:
            rest["out_format"] = how if how in files else None
        if how not in files:
            call.format = how or call.format
        return command(call, *args, **rest)

    return wrapped  # type: ignore[return-value]  # click's decorators keep the shape

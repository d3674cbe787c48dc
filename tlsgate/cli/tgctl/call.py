"""What every tgctl command takes: which daemon it is about, and how the answer looks."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from attrs import define, field

from tlsgate.cli.door import Asks, Door
from tlsgate.cli.show import FORMATS, emit
from tlsgate.config.adminsocket import admin_socket
from tlsgate.errors import BadAsk

if TYPE_CHECKING:
    from tlsgate.cli.api import Way
    from tlsgate.cli.tgsh.call import Call as UserCall

#: Where a configuration is looked for when no option and no variable names one.
DEFAULT_CONFIG = Path("/etc/tlsgate/tlsgate.yaml")
#: The data directory when no configuration is found either.
DEFAULT_DATA_DIR = Path("/var/lib/tlsgate")

F = TypeVar("F", bound=Callable[..., Any])


def _remote(way: Way) -> Asks:
    from tlsgate.cli.api import Remote

    return Remote(way)


def users_call(call: Call) -> UserCall:
    """What `tgsh` would do: operators share profiles with it."""
    from tlsgate.cli.tgsh.call import Call as UserCall

    home = os.environ.get("TGSH_HOME")
    return UserCall(
        home=Path(home) if home else None,
        proxy=call.proxy,
        identity=call.identity,
        open_way=call.open_way,
    )


@define
class Call:
    """The options that stand before or after a command's name; the latter win."""

    config: Path | None = None
    config_written: bool = False  #: on the command line, not by a variable
    data_dir: Path | None = None
    agent_data_dir: Path | None = None
    format: str = "text"
    format_written: bool = False
    identity: Path | None = None  #: an identity file for the API of a cluster
    proxy: str | None = None  #: the gateway of that cluster
    open_door: Callable[[Path], Asks] = field(default=Door, repr=False)
    open_way: Callable[[Way], Asks] = field(default=_remote, repr=False)

    def door(self) -> Asks:
        """The admin socket of the daemon that is meant.

        Raises:
            BadAsk: a gateway is named, and its daemon has to be.
        """
        if self.identity is not None or self.proxy is not None:
            raise BadAsk("this is asked of the daemon itself: --data-dir says which, no gateway")
        return self.open_door(self.where())

    def api(self) -> Asks:
        """The API of the cluster that is meant.

        By an identity file or a profile where a gateway is named; else by the admin socket
        where this user may; else by the profile in use.

        Raises:
            BadAsk: an identity file names no gateway.
            NotLoggedIn: the profile that is meant has no good certificate.
        """
        users = users_call(self)
        if self.identity is not None or self.proxy is not None:
            return users.api()
        named = self.config_written or self.data_dir is not None
        if not named and not os.access(admin_socket(self.where()), os.W_OK):
            current = users.profiles().current()
            if current is not None:
                return users.api()
        return self.door()

    @property
    def is_remote(self) -> bool:
        """Whether a gateway is named."""
        return self.identity is not None or self.proxy is not None

    def where(self) -> Path:
        """The data directory that is meant."""
        if self.data_dir is not None:
            return self.data_dir
        config = self.config_file(needed=False)
        return DEFAULT_DATA_DIR if config is None else data_dir_of(config)

    def config_file(self, *, needed: bool) -> Path | None:
        """The configuration file that is meant.

        Raises:
            BadAsk: *needed*, and there is none.
        """
        if self.config is not None:
            return self.config
        if self.data_dir is not None and (inside := self.data_dir / "tlsgate.yaml").is_file():
            return inside  # as `tgctl init` lays it out
        if DEFAULT_CONFIG.is_file():
            return DEFAULT_CONFIG
        if needed:
            raise BadAsk(
                f"name a configuration file: --config FILE ({DEFAULT_CONFIG} is not there)"
            )
        return None

    def show(self, value: Any, text: Callable[[Any], str]) -> None:
        """Write a command's result to stdout in the format that was asked for."""
        emit(value, self.format, text)


def data_dir_of(config: Path) -> Path:
    """The data directory that *config* names, read leniently.

    A file with problems must not keep its operator from asking the daemon that runs.

    Raises:
        BadSettings: the file cannot be read at all.
    """
    import yaml

    try:
        raw = yaml.load(config.read_bytes(), Loader=yaml.BaseLoader)  # noqa: S506 -- text only
    except (OSError, yaml.YAMLError):
        from tlsgate.config.read import read_file

        return read_file(config).data_dir
    if isinstance(raw, dict):
        for block in (raw.get("teleport"), raw.get("tlsgate")):
            named = block.get("data_dir") if isinstance(block, dict) else None
            if isinstance(named, str) and named:
                return config.absolute().parent / named
    return DEFAULT_DATA_DIR


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
    @click.option(
        "--data-dir", type=click.Path(path_type=Path), help="The daemon's data directory."
    )
    @click.option("-c", "--config", type=click.Path(path_type=Path), help="The configuration file.")
    @click.pass_obj
    @functools.wraps(command)
    def wrapped(
        call: Call,
        /,
        *args: Any,
        config: Path | None,
        data_dir: Path | None,
        how: str | None,
        **rest: Any,
    ) -> Any:
        call.config = config or call.config
        call.config_written = config is not None or call.config_written
        call.data_dir = data_dir or call.data_dir
        if files:
            rest["out_format"] = how if how in files else None
        if how not in files:
            call.format_written = how is not None or call.format_written
            call.format = how or call.format
        return command(call, *args, **rest)

    return wrapped  # type: ignore[return-value]  # click's decorators keep the shape


def with_api(command: F) -> F:
    """The options of `Call` for a command that any door of the API answers."""
    return with_api_and()(command)


def with_api_and(*files: str) -> Callable[[F], F]:
    """The same for a command whose --format may also name what --out writes."""

    def decorate(command: F) -> F:
        @click.option("--proxy", help="The gateway: HOST[:PORT].")
        @click.option("-i", "--identity", type=click.Path(path_type=Path), help="An identity file.")
        @with_call_and(*files)
        @functools.wraps(command)
        def wrapped(
            call: Call, /, *args: Any, identity: Path | None, proxy: str | None, **rest: Any
        ) -> Any:
            call.identity = identity or call.identity
            call.proxy = proxy or call.proxy
            return command(call, *args, **rest)

        return wrapped  # type: ignore[return-value]  # click's decorators keep the shape

    return decorate

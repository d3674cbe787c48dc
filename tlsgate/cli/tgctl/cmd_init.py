"""`tgctl init`: a data directory with which a gateway can be tried at once."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from tlsgate.cli.tgctl.call import Call, with_call
from tlsgate.errors import BadAsk

#: Whom the demo route lets in.
USER = "alice"


@click.command("init")
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option(
    "--port", type=click.IntRange(1, 65535), default=3080, show_default=True, help="The web port."
)
@click.option(
    "--name", default="localhost", show_default=True, help="The public name of the gateway."
)
@with_call
def command(call: Call, directory: Path | None, port: int, name: str) -> None:
    """Make a data directory to try a gateway with.

    It gets a certificate authority, a certificate for the gateway and one for the user
    alice, a drop-in protocol, and a commented tlsgate.yaml with a route to it. The
    directory is DIRECTORY or --data-dir. What is there is never overwritten.
    """
    folder = directory or call.data_dir
    if folder is None:
        raise BadAsk("name the directory to make: tgctl init DIRECTORY")
    made = make(folder.absolute(), port=port, name=name)
    call.show(made, _text)


def make(folder: Path, *, port: int, name: str) -> dict[str, Any]:
    """Make *folder* and everything in it; gives what was made, in JSON types.

    The configuration is written last: a directory that has one is whole.

    Raises:
        BadAsk: there is a configuration already, or the name is no host name, or the
            directory cannot be written.
    """
    config = folder / "tlsgate.yaml"
    if config.exists():
        raise BadAsk(f"{config} is there already; nothing was changed")
    name = _host_name(name)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _certificates(folder, name)
        return _files(folder, config, port, name)
    except OSError as e:
        raise BadAsk(f"{e.filename or folder}: {e.strerror}") from e


def _certificates(folder: Path, name: str) -> None:
    """An authority (one that is there is kept), the gateway's pair, and the user's."""
    from tlsgate.tls.authority import Authority

    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    if ca.exists() and ca_key.exists():
        authority = Authority.load(ca, ca_key)
    else:
        authority = Authority.create("tlsgate demo CA")
        authority.pair.write(ca, ca_key)
    # What is below a name of one label no client takes from a wildcard.
    below = (f"*.{name}",) if "." in name and len(name) < 252 else ()
    names = dict.fromkeys((name, *below, "localhost"))
    server = authority.issue(name[:64], dns=tuple(names), ips=("127.0.0.1", "::1"), server=True)
    server.write(folder / "server.pem", folder / "server.key")
    # With its authority behind it: what `tgsh login` keeps of it is then a root, as libpq wants.
    with (folder / "server.pem").open("a") as chain:
        chain.write(ca.read_text())
    user = authority.issue(USER, client=True)
    user.write(folder / f"{USER}.pem", folder / f"{USER}.key")


def _files(folder: Path, config: Path, port: int, name: str) -> dict[str, Any]:
    from tlsgate.cli.tgctl.texts import CONFIG, PLUGIN, TRY

    plugins = folder / "plugins"
    plugins.mkdir(mode=0o700, exist_ok=True)
    plugin = plugins / "demo_echo.py"
    plugin.write_text(PLUGIN)
    plugin.chmod(0o600)  # a file that others can write is not loaded
    tell = TRY.substitute(
        port=port,
        name=name,
        ca=_word(folder / "ca.pem"),
        cert=_word(folder / f"{USER}.pem"),
        key=_word(folder / f"{USER}.key"),
        python=shlex.quote(sys.executable),
    )
    (folder / "try.txt").write_text(tell)
    text = CONFIG.substitute(
        port=port, name=name, config=_word(config), data=f"--data-dir {_word(folder)}"
    )
    beside = config.with_name(config.name + ".new")
    beside.write_text(text)
    os.replace(beside, config)
    return {
        "data_dir": str(folder),
        "config": str(config),
        "start": f"twistd -n tlsgate --config {_word(config)}",
        "try": [line.strip() for line in tell.splitlines() if line.startswith("  ")],
        "text": tell,
    }


def _text(made: dict[str, Any]) -> str:
    return (
        f"{made['config']} is written. Start the gateway with\n\n  {made['start']}\n\n"
        f"and try, in a second shell:\n\n{made['text']}"
    ).rstrip()


def _word(path: Path) -> str:
    """*path* as one word of a shell's command line."""
    return shlex.quote(str(path))


def _host_name(name: str) -> str:
    from tlsgate.core.names import normal
    from tlsgate.errors import BadName

    try:
        return normal(name)
    except BadName as e:
        raise BadAsk(f"--name {name}: {e.why}") from e

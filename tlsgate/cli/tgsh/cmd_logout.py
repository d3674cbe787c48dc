"""`tgsh logout`: the keys and certificates of one login, or of all, are removed."""

from __future__ import annotations

from contextlib import suppress

import click
from click.core import ParameterSource

from tlsgate.cli.faults import NotLoggedIn
from tlsgate.cli.show import plain
from tlsgate.cli.tgsh.call import Call, with_call
from tlsgate.cli.tgsh.home import Profile, Saved
from tlsgate.errors import BadAsk, GateError

#: Nobody waits for a gateway that is away in order to be logged out.
SECONDS = 3.0


@click.command("logout")
@click.option("--everywhere", is_flag=True, help="Ask the cluster to end web sessions as well.")
@with_call
def command(call: Call, everywhere: bool) -> None:
    """Remove what the logins have left on this machine.

    Without an option all profiles; with --proxy and --user that one. Certificates cannot
    be recalled: what was copied elsewhere is good to its end, or until an operator locks
    the user.
    """
    proxy, user = _written(call, "proxy"), _written(call, "user")
    if (proxy is None) != (user is None):
        raise BadAsk("name both --proxy and --user, or neither to log out of everything")
    home = call.profiles()
    if proxy is None:
        gone = home.all()
        said = "you are logged out of every cluster" if gone else "nobody was logged in"
    else:
        one = home.saved(call.host() or "")
        if one is None or one.profile.user != user:
            raise NotLoggedIn(f"{user} is not logged in to {proxy}", "tgsh status")
        gone = [one]
        said = f"{user} is logged out of {one.profile.web_proxy_addr}"
    for saved in gone:
        if everywhere:
            _end_sessions(call, saved)
        home.forget(saved.profile)
        _from_agent(saved.profile)
    shown = {"logged_out": [_one(saved.profile) for saved in gone]}
    call.show(shown, lambda _: plain(said))


def _written(call: Call, name: str) -> str | None:
    """The option *name* where it stands on the command line: a variable means no logout."""
    context: click.Context | None = click.get_current_context()
    while context is not None:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            return str(getattr(call, name))
        context = context.parent
    return None


def _one(profile: Profile) -> dict[str, str]:
    return {"proxy": profile.web_proxy_addr, "user": profile.user, "cluster": profile.cluster}


def _from_agent(profile: Profile) -> None:
    """Have ssh-agent forget the key; one that is away has forgotten it already."""
    from tlsgate.cli import sshagent

    if sshagent.running() is not None:
        with suppress(BadAsk):
            sshagent.remove(f"tgsh:{profile.host}:{profile.cluster}:{profile.user}")


def _end_sessions(call: Call, saved: Saved) -> None:
    from tlsgate.cli.tgsh.call import way_of

    if saved.credential is None:
        return
    try:
        way = way_of(saved.credential, saved.profile.web_proxy_addr)
        call.open_way(way).ask("POST", "/v1/me/logout", seconds=SECONDS)
    except GateError as e:
        with suppress(OSError):
            click.echo(f"tgsh: warning: web sessions may go on: {plain(str(e))}", err=True)

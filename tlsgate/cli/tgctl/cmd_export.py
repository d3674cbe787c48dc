"""`tgctl export`: rules for a balancer in front of the gateway."""

from __future__ import annotations

import click

from tlsgate.cli.show import plain
from tlsgate.cli.tgctl.built import settings_of
from tlsgate.cli.tgctl.call import Call, with_call

BALANCERS = ("haproxy", "nginx", "envoy")


@click.command("export")
@click.argument("balancer", type=click.Choice(BALANCERS))
@click.option("--bind", default=":443", show_default=True, help="Where the balancer listens.")
@click.option(
    "--to", multiple=True, help="A gateway's HOST:PORT; several times for several of them."
)
@click.option("--other", help="HOST:PORT for connections that are not the gateway's.")
@with_call
def command(call: Call, balancer: str, bind: str, to: tuple[str, ...], other: str | None) -> None:
    """Print rules for a balancer in front of the gateway.

    It passes the gateway's connections through: the server names and ALPN tokens are
    those of the configuration. TLS stays whole, and the gateway itself checks
    certificates. With --format json or yaml the rules themselves are printed.
    """
    from tlsgate import registry
    from tlsgate.cli.export.envoy import envoy, envoy_head
    from tlsgate.cli.export.haproxy import haproxy
    from tlsgate.cli.export.nginx import nginx
    from tlsgate.cli.export.rules import rules_of
    from tlsgate.cli.yamltext import to_yaml

    file = call.config_file(needed=True)
    assert file is not None
    settings = settings_of(file, call.data_dir)
    protocols = registry.load(settings.plugins_dir).protocols
    rules = rules_of(settings, protocols.values(), bind=bind, to=to, other=other)
    for token in rules.left_out:
        click.echo(f"tgctl: ALPN {plain(token)!r} cannot be written here; left out", err=True)
    written = {
        "haproxy": lambda: haproxy(rules),
        "nginx": lambda: nginx(rules),
        "envoy": lambda: f"{envoy_head(rules)}\n{to_yaml(envoy(rules))}".rstrip(),
    }
    call.show(rules.as_json(), lambda _: written[balancer]())

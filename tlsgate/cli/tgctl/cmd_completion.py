"""`tgctl completion`: the lines that make a shell complete tgctl's words."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


HELP = """Print the completion script of SHELL.

\b
bash: tgctl completion bash > ~/.local/share/bash-completion/completions/tgctl
zsh:  tgctl completion zsh > a folder of $fpath, named _tgctl
fish: tgctl completion fish > ~/.config/fish/completions/tgctl.fish
"""


@click.command("completion", help=HELP)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    maker = get_completion_class(shell)
    assert maker is not None  # SHELLS are those that click knows
    click.echo(maker(ctx.find_root().command, {}, "tgctl", "_TGCTL_COMPLETE").source())

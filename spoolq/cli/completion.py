"""`spoolq completion`: the completion script of a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    \b
      bash: eval "$(spoolq completion bash)" in ~/.bashrc
      zsh:  spoolq completion zsh > ~/.zfunc/_spoolq
      fish: spoolq completion fish > ~/.config/fish/completions/spoolq.fish
    """
    if found := get_completion_class(shell):
        click.echo(found(ctx.find_root().command, {}, "spoolq", "_SPOOLQ_COMPLETE").source())

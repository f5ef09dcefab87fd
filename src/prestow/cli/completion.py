"""``prestow completion``: the script that makes a shell complete commands and options."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import get_completion_class

from prestow.cli import completing  # noqa: F401 - it has bash of our own
from prestow.cli.group import prestow, shared_options
from prestow.cli.output import Output


@click.command(short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@shared_options
def completion(shell: str, output: Output, directory: Path) -> None:  # noqa: ARG001 - every command has it
    """Print the completion script of a shell.

    For bash: ``prestow completion bash > ~/.local/share/bash-completion/completions/prestow``.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(prestow, {}, "prestow", "_PRESTOW_COMPLETE").source()
    output.answer("completion", {"shell": shell, "script": script}, script.rstrip())

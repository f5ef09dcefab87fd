"""``python -m prestow``: the same as the command ``prestow``."""

from prestow.cli import command

command()

"""The command ``prestow`` itself: its subcommands by name, and the options that all of them have."""

from __future__ import annotations

import difflib
import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prestow import __version__
from prestow.cli.output import Output, colour_wanted

if TYPE_CHECKING:
    from prestow.plan import Plan
    from prestow.project import Project

COMMANDS = {
    "init": ("prestow.cli.init:init", "Make a working example: pipeline, tasks and tiny inputs."),
    "ingest": ("prestow.cli.ingest:ingest", "Take in raw files, other files, or the outputs of a run."),
    "skymap": (
        "prestow.cli.skymap:skymap",
        "Register sky maps; relate what was observed with tracts and patches.",
    ),
    "overlap": ("prestow.cli.overlap:overlap", "List what lies on a patch, or the patches of a visit."),
    "check": ("prestow.cli.check:check", "Check every file a person wrote; all errors at once."),
    "calib": ("prestow.cli.calib:calib", "Certify calibrations; list and check what is certified."),
    "promise": (
        "prestow.cli.promise:promise",
        "Promise inputs that will come, by a deadline; plan --promised takes them.",
    ),
    "plan": ("prestow.cli.plan:plan", "Resolve every job, input and output name, and freeze them."),
    "show": ("prestow.cli.show:show", "Show what is in a plan."),
    "verify": (
        "prestow.cli.verify:verify",
        "Prove a plan again, and what was written of it, by an independent checker.",
    ),
    "diff": ("prestow.cli.diff:diff", "Compare two plans by meaning, and say why they differ."),
    "find": ("prestow.cli.find:find", "Find datasets by part of their data ID, made or planned."),
    "id": ("prestow.cli.id:id", "Show the normal form of a data ID, and where each value came from."),
    "run": ("prestow.cli.run:run", "Run a plan; the same command again goes on where it was."),
    "emit": ("prestow.cli.emit:emit", "Write a plan for another system: Pegasus."),
    "submit": ("prestow.cli.submit:submit", "Hand a plan to Pegasus and HTCondor; again for what remains."),
    "status": ("prestow.cli.status:status", "Show the state of every quantum of a plan."),
    "report": ("prestow.cli.report:report", "Write what a run came to as one page, to open in a browser."),
    "account": ("prestow.cli.account:account", "Hold what was planned and what is there against each other."),
    "retry": ("prestow.cli.retry:retry", "Put failed jobs back, with other memory, hosts or site."),
    "repair": ("prestow.cli.repair:repair", "Make good what was lost, in a child run."),
    "taint": ("prestow.cli.taint:taint", "Mark a dataset as bad, and list all that it touched."),
    "look": ("prestow.cli.look:look", "Look at a product: a picture, the first rows, or the document."),
    "compare": (
        "prestow.cli.compare:compare",
        "Compare two runs: what is equal, and how far the rest is apart.",
    ),
    "convert": ("prestow.cli.convert:convert", "Write one product in another format, if it can be the same."),
    "why": ("prestow.cli.why:why", "Say why a job, a dataset or a file is as it is."),
    "trace": ("prestow.cli.trace:trace", "Show what a product came from, and what it went into."),
    "fetch": ("prestow.cli.fetch:fetch", "Bring a dataset and its ancestors into a sandbox."),
    "regenerate": (
        "prestow.cli.regenerate:regenerate",
        "Make what is absent in a sandbox again, and compare.",
    ),
    "tables": ("prestow.cli.tables:tables", "Put all catalogues of a type into one table."),
    "export": ("prestow.cli.export:export", "Write what is known of a collection as tables with checksums."),
    "subset": ("prestow.cli.subset:subset", "Make a project of its own from a part of this one."),
    "merge": ("prestow.cli.merge:merge", "Merge what several sites made into one project."),
    "fsck": ("prestow.cli.fsck:fsck", "Hold registry and disk against each other."),
    "rebuild": ("prestow.cli.rebuild:rebuild", "Make the registry again from files, records and receipts."),
    "retire": ("prestow.cli.retire:retire", "Delete intermediates that nobody will read any more."),
    "remove": ("prestow.cli.remove:remove", "Remove a run for ever, or see what would go."),
    "close": ("prestow.cli.close:close", "Close a run that is over, and pack its receipts."),
    "freeze": ("prestow.cli.freeze:freeze", "Freeze a collection for ever: a release."),
    "findings": (
        "prestow.cli.findings:findings",
        "List what disagrees, and settle what a person has looked at.",
    ),
    "events": ("prestow.cli.events:events", "Tell every committed dataset, a line each."),
    "drop": ("prestow.cli.drop:drop", "Give a plan up, and free the names that it holds."),
    "debug": ("prestow.cli.debug:debug", "Run one planned job here, sealed, under a debugger if asked."),
    "stage": ("prestow.cli.stage:stage", "Bring a job's inputs into a directory that needs nothing else."),
    "unflatten": (
        "prestow.cli.unflatten:unflatten",
        "Make the tree of a directory of flat names, by links.",
    ),
    "registry": ("prestow.cli.registry:registry", "Look at the registry's database; upgrade an old one."),
    "formats": ("prestow.cli.formats:formats", "List the file formats, and where each carries its story."),
    "doctor": ("prestow.cli.doctor:doctor", "Look at the environment, or at a job's directory."),
    "completion": ("prestow.cli.completion:completion", "Print the completion script of a shell."),
}
"""Name -> (module:attribute, one line of help). In the order in which they are used."""

ALIASES = {"register": "ingest"}

_SHARED = ("json_", "quiet", "verbose", "no_color", "directory")

Function = Callable[..., Any]  # of whatever a command takes


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Give the names, in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import and give a command, or None."""
        target = COMMANDS.get(ALIASES.get(cmd_name, cmd_name))
        if target is None:
            return None
        module, _, attribute = target[0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant; of one that is not there, tell the nearest."""
        if args and args[0] not in COMMANDS and args[0] not in ALIASES:
            near = difflib.get_close_matches(args[0], [*COMMANDS, *ALIASES], 1)
            meant = f" Did you mean '{near[0]}'?" if near else ""
            ctx.fail(f"No such command '{args[0]}'.{meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the list of commands without importing one of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def shared_options(command: Function) -> Function:
    """Give a command the options that all have; it gets ``output`` and ``directory`` for them.

    They may stand before or after the command's name; what stands after wins.
    """

    @functools.wraps(command)
    @click.pass_context
    def wrapper(ctx: click.Context, /, **given: Any) -> Any:
        above = []
        outer = ctx.parent
        while outer is not None:
            above.append(outer.params)
            outer = outer.parent
        chosen = {
            name: given.pop(name) or next((p[name] for p in above if p.get(name)), None) for name in _SHARED
        }
        return command(**given, **_spoken(chosen))

    return _with_options(wrapper)


def group_options(group: Function) -> Function:
    """Give a group of commands the options that all have; its commands see them as their own."""

    @functools.wraps(group)
    def wrapper(**given: Any) -> Any:
        return group(**{name: value for name, value in given.items() if name not in _SHARED})

    return _with_options(wrapper)


def open_project(directory: Path) -> Project:
    """Open the project at or above a directory, until the command ends."""
    from prestow.project import Project

    project = Project.open(directory)
    click.get_current_context().call_on_close(project.close)
    return project


def plan_word(project: Project, plan: Plan, before: str = " ") -> str:
    """Give what names a plan in the next command, after ``before``; nothing where the newest is meant."""
    newest = project.newest_plan_directory()
    return "" if newest is not None and newest.name == plan.id else f"{before}{plan.id[:8]}"


def _spoken(chosen: dict[str, Any]) -> dict[str, Any]:  # Any: click's values
    verbosity = -1 if chosen["quiet"] else int(chosen["verbose"] or 0)
    output = Output(
        json=bool(chosen["json_"]), verbosity=verbosity, color=colour_wanted(not chosen["no_color"])
    )
    return {"output": output, "directory": Path(chosen["directory"] or ".")}


def _with_options(command: Function) -> Function:
    options = (
        click.option("--json", "json_", is_flag=True, help="One JSON object on standard output."),
        click.option("-q", "--quiet", is_flag=True, help="Nothing but the answer and errors."),
        click.option("-v", "--verbose", count=True, help="More about what is going on."),
        click.option("--no-color", is_flag=True, help="No colour; so does NO_COLOR in the environment."),
        click.option("-C", "directory", metavar="DIR", type=click.Path(), help="The project's directory."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: prestow doctor --list-exit-codes",
)
@click.version_option(__version__, prog_name="prestow", message="%(prog)s %(version)s")
@_with_options
def prestow(**_: Any) -> None:
    """Batch science with every file name known before the first job runs."""

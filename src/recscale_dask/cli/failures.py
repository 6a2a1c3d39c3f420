"""What goes wrong, as one plain line on stderr and an exit code: 1 failed work, 2 wrong usage, 130 Ctrl-C."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import typer
from typer.core import TyperCommand

from recscale_dask.cli.output import results_alone
from recscale_dask.cli.wording import Wording
from recscale_dask.errors import (
    BlockFailed,
    DoubtfulDataWarning,
    NotConvergedWarning,
    RecscaleError,
    SeenTestWarning,
    UnknownIdWarning,
)

_INTERRUPTED = 128 + 2  # what a shell says of a program that Ctrl-C, signal 2, has ended


class PlainCommand(TyperCommand):
    """A command whose errors become sentences, with a traceback only under ``recscale --debug``."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        wording = Wording(self, ctx.params)
        with _plain_warnings(wording), results_alone() if ctx.params.get("as_json") else nullcontext():
            try:
                return super().invoke(ctx)
            except BrokenPipeError:  # `recscale ... | head`: typer ends quietly
                raise
            except (Exception, KeyboardInterrupt) as error:
                if hasattr(error, "exit_code"):  # typer's own: wrong usage, or a deliberate exit
                    raise
                if ctx.find_root().params["debug"]:
                    if isinstance(error, BlockFailed):
                        typer.echo(error.remote_traceback, err=True)
                    traceback.print_exc()
                typer.echo(f"error: {_sentence(error, wording)}", err=True)
                raise typer.Exit(_INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1) from None


def _sentence(error: BaseException, wording: Wording) -> str:
    """Return an error on one line."""
    if isinstance(error, RecscaleError):
        text = wording.of(str(error))
    elif isinstance(error, KeyboardInterrupt):
        text = str(error) or "interrupted; unfinished files were removed."
    elif isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        text = f"{where}{error.strerror or error}. Look at the path, its permissions and the room on the disk."
    elif isinstance(error, MemoryError):
        text = f"out of memory ({error or 'no details'}). Try a smaller --rank, or an executor on more machines."
    else:
        text = (
            f"{type(error).__name__}: {error}. This should not happen: run again with `recscale --debug` and report it."
        )
    return " ".join(text.split())


@contextmanager
def _plain_warnings(wording: Wording) -> Iterator[None]:
    """Show warnings as one line each, each once, and never hide what makes a result worth less than it seems."""
    told: set[str] = set()

    def tell(message: Warning | str, *_: Any, **__: Any) -> None:
        text = wording.of(str(message))
        if text not in told:  # `tune` has reason to say it at each trial
            told.add(text)
            typer.echo(f"warning: {text}", err=True)

    with warnings.catch_warnings():
        for kind in (NotConvergedWarning, UnknownIdWarning, SeenTestWarning, DoubtfulDataWarning):
            warnings.simplefilter("always", kind)
        warnings.showwarning = tell
        yield

"""`dala COMMAND`: the same core as the pages, for the shell. Never a traceback for a user's mistake."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence

from dala import __version__
from dala.cli import Command, adapt, cases, download, laboratories, serve, slides, tokens, train
from dala.errors import DalaError
from dala.terminal import WrongCall, complain

TOPICS = (serve, slides, cases, adapt, train, laboratories, download, tokens)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status is 0, 1 (a file was refused, a check failed) or 2 (wrong call)."""
    given = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that is no text in any encoding must not end a run
            stream.reconfigure(errors="backslashreplace")
    options = parser(given).parse_args(given)
    # Imports wait for their command: `doctor` must run where torch does not.
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        complain("Interrupted; what was finished is kept.")
        return 130
    except BrokenPipeError:
        return 1
    except (DalaError, OSError) as error:
        complain(_sentence(error))
        return 2 if isinstance(error, WrongCall) else 1


def parser(arguments: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of every command; `run` of what it parses is the function to call.

    Where `arguments` begin with a command of no study, the studies are left out, so that it does not wait for them.
    """
    found = argparse.ArgumentParser(
        prog="dala", description="A second opinion on breast pathology patches. For research and teaching only."
    )
    found.add_argument("--version", action="version", version=f"dala {__version__}")
    command = Command(found)
    for topic in TOPICS:
        topic.add(command)
    if not arguments or arguments[0] not in command:
        from dala.cli import studies

        studies.add(command)
    return found


def _sentence(error: Exception) -> str:
    """What went wrong, for a person; the system's own errors come as a number and a name."""
    if isinstance(error, OSError) and error.strerror:
        file = f"'{error.filename}' cannot be used: " if error.filename else ""
        return f"{file}{error.strerror.lower() if file else error.strerror}."
    return str(error)

"""Commands for kept cases and their log, for whoever runs the server: cases list|backup|restore|..., audit verify."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from dala.cli import Command
from dala.errors import StoreError
from dala.terminal import WrongCall, at_least, complain
from dala.words import counted, printable

if TYPE_CHECKING:
    from dala.cases.store import Store

ANSWERS = ("benign", "malignant", "not sure", "outside")


def add(command: Command) -> None:
    """Add cases and audit."""
    sub = command("cases", _list, "the kept cases, newest first", "list")
    sub.add_argument("--text", default="", help="only those with these words in title, comment, patient or names")
    sub.add_argument("--answer", choices=ANSWERS, default=None, help="only those that the model answered so")
    sub.add_argument("--limit", type=at_least(1), default=100, metavar="N", help="at most so many (default: 100)")
    sub.add_argument("--json", action="store_true", help="JSON lines instead of a readable table")
    sub = command("cases", _backup, "write everything into one file, while others go on", "backup")
    sub.add_argument("--to", type=Path, required=True, metavar="FILE", help="a ZIP file to write")
    sub = command("cases", _restore, "bring a backup into an empty store", "restore")
    sub.add_argument("archive", type=Path, metavar="FILE", help="a file that `dala cases backup` wrote")
    sub = command("cases", _export, "write cases as a ZIP that another server can import", "export")
    sub.add_argument("--to", type=Path, required=True, metavar="FILE", help="a ZIP file to write")
    sub.add_argument("--id", action="append", dest="ids", default=None, help="a case (default: all; may be repeated)")
    sub = command("cases", _import, "keep the cases of an export as private ones of the local user", "import")
    sub.add_argument("archive", type=Path, metavar="FILE", help="a file that an export wrote")
    command("cases", _expire, "delete cases that are older than DALA_CASES_DAYS, and images that none holds", "expire")
    sub = command("audit", _verify, "check that no entry of the log was changed, removed, moved or cut off", "verify")
    sub.add_argument(
        "--head", default=None, metavar="NUMBER:SHA256", help="the end of the log as it was noted at some time"
    )
    sub = command("audit", _log, "the entries of the log, oldest first, as JSON lines", "list")
    sub.add_argument("--id", default=None, help="only those of this case")


def _store() -> Store:
    from dala.cases.opening import store_from_environment

    store = store_from_environment()
    if store is None:
        raise StoreError("Cases are switched off (DALA_DATABASE=off).")
    return store


def _list(options: argparse.Namespace) -> int:
    from dala.cases.kept import Query
    from dala.cases.people import LOCAL

    store = _store()
    found = store.search(LOCAL, Query(text=options.text, answer=options.answer), limit=0)
    shown = 0
    while shown < min(found.total, options.limit):
        page = store.search(
            LOCAL, Query(text=options.text, answer=options.answer), shown, min(options.limit - shown, 200)
        )
        for row in page.rows:
            if options.json:
                told = {"id": row.id, "created": row.created.isoformat(), "reader": row.reader[1], "title": row.title}
                print(json.dumps({**told, "answer": row.answer, "images": row.images, "shared": row.shared}))
            else:
                line = f"{row.id}  {row.created:%Y-%m-%d %H:%M}  {row.answer:<9}  {row.reader[1]}  {row.title}"
                print(printable(line).rstrip())
        shown += len(page.rows)
        if not page.rows:
            break
    if not options.json:
        print(f"{counted(found.total, 'case')}{f', {shown} of them listed' if shown < found.total else ''}.")
    return 0


def _backup(options: argparse.Namespace) -> int:
    from dala.cases.backup import back_up

    made = back_up(_store(), options.to)
    print(f"{counted(made.cases, 'case')} and {counted(made.images, 'image')} written to {options.to}.")
    print(f"The log ends at {made.head}.")
    if made.missing:
        complain(f"{counted(len(made.missing), 'image')} could not be copied: damaged or missing in the store.")
    return 1 if made.missing else 0


def _restore(options: argparse.Namespace) -> int:
    from dala.cases.backup import look_at, restore
    from dala.cases.people import LOCAL

    look_at(options.archive)  # before a store is made for something that is none
    made = restore(_store(), options.archive, LOCAL)
    print(f"{counted(made.cases, 'case')} and {counted(made.images, 'image')} restored.")
    return 0


def _export(options: argparse.Namespace) -> int:
    from dala.cases.people import LOCAL

    store = _store()
    ids = options.ids or store.ids(LOCAL)
    store.export(LOCAL, ids, options.to)
    print(f"{counted(len(ids), 'case')} written to {options.to}.")
    return 0


def _import(options: argparse.Namespace) -> int:
    from dala.cases.exchange import look_at
    from dala.cases.people import LOCAL

    look_at(options.archive)
    came = _store().import_(LOCAL, options.archive)
    known = f"; {counted(len(came.known), 'case')} were there already" if came.known else ""
    print(f"{counted(len(came.new), 'case')} imported{known}.")
    return 0


def _expire(options: argparse.Namespace) -> int:
    store = _store()
    expired = store.expire()
    if store.days is None:
        print("Cases live until they are deleted: DALA_CASES_DAYS is not set.")
    else:
        print(f"{counted(expired, 'case')} older than {counted(store.days, 'day')} deleted.")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from dala.cases import audit
    from dala.cases.people import SERVER
    from dala.errors import CaseError

    try:
        noted = None if options.head is None else audit.read_head(options.head)
    except CaseError as error:
        raise WrongCall(str(error)) from error
    with _store().database.read(SERVER) as session:
        found = audit.verify(audit.entries(session), audit.head_of(session), noted)
    for problem in found.problems:
        complain(problem)
    if not found.problems:
        print(f"{counted(found.entries, 'entry', 'entries')}: none was changed, removed, moved or cut off.")
        print(f"The log ends at {found.head}. Note this elsewhere; --head asks for it later.")
    return 1 if found.problems else 0


def _log(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from dala.cases import audit
    from dala.cases.people import SERVER

    with _store().database.read(SERVER) as session:
        for entry in audit.entries(session, None if options.id is None else [options.id]):
            print(json.dumps(asdict(entry)))
    return 0

"""Commands for the keys of the HTTP API: token create, token list, token revoke."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from dala.cli import Command
from dala.errors import StoreError
from dala.words import counted, printable

if TYPE_CHECKING:
    from dala.cases.tokens import Token, Tokens

PERSON = "whose it is: the id of a log-in, or a name for a system (default: the local user, where nobody logs in)"
ROLE = "at most reader, teacher or administrator (default: administrator for the local user, otherwise reader)"


def add(command: Command) -> None:
    """Add token."""
    sub = command("token", _create, "make a token for the HTTP API and print it, once", dataset="create")
    sub.add_argument("--label", default="", metavar="TEXT", help="what it is for")
    sub.add_argument("--person", default=None, metavar="ID", help=PERSON)
    sub.add_argument("--person-name", default=None, metavar="TEXT", help="how that person is shown (default: the id)")
    sub.add_argument("--role", choices=("reader", "teacher", "administrator"), default=None, help=ROLE)
    sub.add_argument("--days", type=int, default=90, metavar="N", help="how long it holds (default: 90)")
    command("token", _list, "list the tokens, without what opens", dataset="list")
    sub = command("token", _revoke, "end a token", dataset="revoke")
    sub.add_argument("id", metavar="ID", help="as `dala token list` shows it")


def _tokens() -> Tokens:
    """Those of this server. Raises StoreError where nothing is kept."""
    from dala.cases.opening import store_from_environment
    from dala.cases.tokens import Tokens

    store = store_from_environment()
    if store is None:
        raise StoreError("Tokens are kept in the database, which is switched off (DALA_DATABASE=off).")
    return Tokens(store.database)


def _create(options: argparse.Namespace) -> int:
    from dala.cases.people import LOCAL, Person, Role

    if options.person is None:
        person = LOCAL if options.role is None else Person(LOCAL.id, LOCAL.name, Role(options.role))
    else:
        person = Person(options.person, options.person_name or options.person, Role(options.role or "reader"))
    made = _tokens().create(person, options.label, options.days)
    print(made.secret)
    return 0


def _list(options: argparse.Namespace) -> int:
    from dala.cases.people import SERVER

    found = _tokens().listed(SERVER)
    for token in found:
        print(_in_words(token))
    if not found:
        print("There are no tokens.")
    return 0


def _in_words(token: Token) -> str:
    if token.revoked is not None:
        state = f"revoked on {token.revoked:%Y-%m-%d}"
    elif token.expires is None:
        state = "holds until it is revoked"
    else:
        state = f"{'holds until' if token.holds else 'ended on'} {token.expires:%Y-%m-%d}"
    used = "never used" if token.used is None else f"last used on {token.used:%Y-%m-%d}"
    label = f" ({printable(token.label)})" if token.label else ""
    return f"{token.id}  {printable(token.owner[1])}, {token.role.value}{label}: {state}, {used}"


def _revoke(options: argparse.Namespace) -> int:
    from dala.cases.people import SERVER

    tokens = _tokens()
    tokens.revoke(SERVER, options.id)
    holding = sum(token.holds for token in tokens.listed(SERVER))
    print(f"Revoked; still open: {counted(holding, 'token')}.")
    return 0

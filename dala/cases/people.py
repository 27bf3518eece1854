"""Who asks: a person with a role, by the log-in's claims or, where nobody logs in, the one local user."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dala.words import printable

ADMINISTRATORS, TEACHERS, CLAIM = "DALA_ADMINISTRATORS", "DALA_TEACHERS", "DALA_ROLE_CLAIM"
USUAL_CLAIM = "roles"
LONGEST = 200


class Role(StrEnum):
    """What a person may do beside reading: a teacher makes decks, an administrator sees and changes everything."""

    READER = "reader"
    TEACHER = "teacher"
    ADMINISTRATOR = "administrator"


RANKS = tuple(Role)  # from the one who may least


@dataclass(frozen=True)
class Claims:
    """What a log-in says of somebody, as far as a role follows from it: the subject, the e-mail address if it is
    verified, else "", and the role that it claims."""

    subject: str
    email: str
    role: Role


@dataclass(frozen=True)
class Person:
    """Somebody who asks the store: `id` never changes for the same person, `name` is shown. `claims` is what the role
    follows from; None where nobody logs in."""

    id: str
    name: str
    role: Role
    claims: Claims | None = field(default=None, compare=False)

    @property
    def administers(self) -> bool:
        return self.role is Role.ADMINISTRATOR


LOCAL = Person("local", "Local user", Role.ADMINISTRATOR)
SERVER = Person("server", "The server", Role.ADMINISTRATOR)  # what the server does by itself, such as expiring


def person_of(claims: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Person | None:
    """The person of a log-in's claims; None where they name nobody, for then nobody may be let in.

    The id is the claim `sub` with the issuer before it, so that two providers never share one. An administrator or
    teacher is who has that word in the claim that DALA_ROLE_CLAIM names ("roles"; dots lead into nested claims, such as
    "realm_access.roles"), or whose `sub` or verified `email` is in the comma-separated list DALA_ADMINISTRATORS or
    DALA_TEACHERS. Everybody else is a reader.
    """
    environment = os.environ if environment is None else environment
    subject = _text(claims.get("sub"))
    if not subject:
        return None
    email = _text(claims.get("email")) if claims.get("email_verified", True) in (True, "true") else ""
    name = next(filter(None, (_text(claims.get(key)) for key in ("name", "email", "sub"))), subject)
    issuer = _text(claims.get("iss"))
    words = {word.casefold() for word in _words(claims, environment.get(CLAIM) or USUAL_CLAIM)}
    claimed = [role for role in Role if {role.value, f"dala-{role.value}"} & words]
    told = Claims(subject, email, max((Role.READER, *claimed), key=RANKS.index))
    return Person(f"{issuer}|{subject}" if issuer else subject, name, role_of(told, environment), told)


def role_of(claims: Claims, environment: Mapping[str, str] | None = None) -> Role:
    """The higher one of the role that a log-in claimed and that of the server's lists as they are now."""
    environment = os.environ if environment is None else environment
    own = {part.casefold() for part in (claims.subject, claims.email) if part}
    roles = [claims.role]
    for role, variable in ((Role.TEACHER, TEACHERS), (Role.ADMINISTRATOR, ADMINISTRATORS)):
        listed = {part.strip().casefold() for part in environment.get(variable, "").split(",")} - {""}
        roles += [role] if own & listed else []
    return max(roles, key=RANKS.index)


def _words(claims: Mapping[str, Any], path: str) -> list[str]:
    """The text or texts at a dotted path of the claims; a claim whose own name holds dots is found, too."""
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for part in path.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return found.replace(",", " ").split()
    return [one for one in found if isinstance(one, str)] if isinstance(found, (list, tuple)) else []


def _text(value: object) -> str:
    """A claim as text that every database takes; too long a one is none, for two could be cut to the same."""
    text = printable(value).strip() if isinstance(value, str) else ""
    return text if len(text) <= LONGEST else ""

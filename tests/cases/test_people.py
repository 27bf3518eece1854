"""Who somebody is follows from the claims of a log-in and the server's lists."""

from __future__ import annotations

from typing import Any

import pytest

from dala.cases.people import LOCAL, Person, Role, person_of

CLAIMS: dict[str, Any] = {"iss": "https://idp", "sub": "17", "name": "Anna Abel", "email": "Anna@example.org"}


@pytest.mark.parametrize(
    ("claims", "environment", "role"),
    [
        ({}, {}, Role.READER),
        ({"roles": ["teacher"]}, {}, Role.TEACHER),
        ({"roles": ["dala-teacher", "Administrator"]}, {}, Role.ADMINISTRATOR),
        ({"roles": "staff,teacher"}, {}, Role.TEACHER),
        ({"roles": ["teachers", 3, None]}, {}, Role.READER),
        ({"roles": ["administrator"]}, {"DALA_ROLE_CLAIM": "groups"}, Role.READER),
        ({"groups": ["administrator"]}, {"DALA_ROLE_CLAIM": "groups"}, Role.ADMINISTRATOR),
        ({"realm_access": {"roles": ["teacher"]}}, {"DALA_ROLE_CLAIM": "realm_access.roles"}, Role.TEACHER),
        ({"https://a.b/roles": ["teacher"]}, {"DALA_ROLE_CLAIM": "https://a.b/roles"}, Role.TEACHER),
        ({"realm_access": "x"}, {"DALA_ROLE_CLAIM": "realm_access.roles"}, Role.READER),
        ({}, {"DALA_TEACHERS": "someone, anna@example.org"}, Role.TEACHER),
        ({}, {"DALA_TEACHERS": "17", "DALA_ADMINISTRATORS": "17"}, Role.ADMINISTRATOR),
        ({}, {"DALA_ADMINISTRATORS": " , ,"}, Role.READER),
        ({"email_verified": False}, {"DALA_ADMINISTRATORS": "anna@example.org"}, Role.READER),
        ({"email_verified": False}, {"DALA_ADMINISTRATORS": "17"}, Role.ADMINISTRATOR),
    ],
)
def test_a_role_is_by_claim_or_by_list(claims: dict[str, Any], environment: dict[str, str], role: Role) -> None:
    assert person_of({**CLAIMS, **claims}, environment) == Person("https://idp|17", "Anna Abel", role)


def test_whom_claims_do_not_name_is_nobody() -> None:
    for sub in (None, "", " ", "\0", 17, "x" * 300):
        assert person_of({**CLAIMS, "sub": sub}, {}) is None
    assert person_of({"sub": "17"}, {}) == Person("17", "17", Role.READER)
    assert person_of({"sub": "local"}, {}) == Person("local", "local", Role.READER)
    assert person_of({**CLAIMS, "name": "A\u202eb"}, {}).name == "Ab"  # type: ignore[union-attr]


def test_somebody_who_logs_in_is_never_the_local_user() -> None:
    assert person_of({"iss": "https://idp", "sub": LOCAL.id}, {}).id != LOCAL.id  # type: ignore[union-attr]

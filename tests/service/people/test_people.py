"""Accounts, sessions, tokens and links: who gets access, and what ends it.

Covers ``service/people/links.py`` and ``service/people/tokens.py``.
"""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pyotp
import pytest
from argon2.profiles import CHEAPEST, RFC_9106_LOW_MEMORY

from onetrainer_gradio.errors import (
    AccountError,
    CodeRequiredError,
    LastOwnerError,
    NotAuthenticatedError,
    NotPermittedError,
    StorageError,
    TooManyAttemptsError,
)
from onetrainer_gradio.service.host.access import FREE_ATTEMPTS
from onetrainer_gradio.service.people.accounts import MAX_PASSWORD, PASSWORD_COST, RECOVERY_CODES
from onetrainer_gradio.service.people.audit import AuditQuery
from onetrainer_gradio.service.people.people import People
from onetrainer_gradio.service.people.permissions import check
from onetrainer_gradio.service.people.roles import Identity, Kind, Role, Scope
from onetrainer_gradio.service.people.sessions import SESSION_S
from onetrainer_gradio.service.people.store import PEOPLE_FILE, PeopleStore
from tests.fakes.passwords import cheap_passwords  # noqa: F401

PASSWORD = "correct horse battery"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def people(tmp_path: Path, clock: Clock):
    people = People(tmp_path, clock)
    yield people
    people.close()


def test_only_the_set_up_code_makes_the_owner_and_only_once(people):
    """The first person to reach a new panel without the terminal's code gets nothing."""
    with pytest.raises(NotAuthenticatedError):
        people.set_up("", "eve", PASSWORD, "a")
    code = people.new_setup_code()
    with pytest.raises(NotAuthenticatedError):
        people.set_up("AAAA-AAAA-AAAA", "eve", PASSWORD, "a")
    session = people.set_up(code.lower(), "Ada", PASSWORD, "a")
    assert people.of_session(session).role is Role.OWNER
    with pytest.raises(NotAuthenticatedError):
        people.set_up(code, "eve", PASSWORD, "a")
    assert [account.name for account in people.accounts.all()] == ["Ada"]


def test_guessing_the_set_up_code_is_slowed_down(people):
    people.new_setup_code()
    for _ in range(FREE_ATTEMPTS):
        with pytest.raises(NotAuthenticatedError):
            people.set_up("AAAA-AAAA-AAAA", "eve", PASSWORD, "a")
    with pytest.raises(TooManyAttemptsError):
        people.set_up("AAAA-AAAA-AAAA", "eve", PASSWORD, "a")


def test_a_session_survives_a_restart_and_ends_after_its_time(people, clock, tmp_path):
    people.accounts.add("Ada", Role.OPERATOR, PASSWORD)
    session = people.sign_in(" ada ", PASSWORD, "", "a")
    who = people.of_session(session)
    assert (who.name, who.role, who.kind) == ("Ada", Role.OPERATOR, Kind.ACCOUNT)
    again = People(tmp_path, clock)
    assert again.of_session(session).name == "Ada"
    again.close()
    clock.now += SESSION_S + 1
    assert people.of_session(session) is None


@pytest.mark.parametrize(("name", "password"), [("ada", "wrong password"), ("nobody", PASSWORD), ("", ""), ("ada", "x" * 10_000)])
def test_wrong_credentials_get_one_answer(people, name, password):
    people.accounts.add("Ada", Role.OPERATOR, PASSWORD)
    with pytest.raises(NotAuthenticatedError, match=r"Wrong name or password\."):
        people.sign_in(name, password, "", "a")


def test_an_unknown_name_is_checked_like_a_wrong_password(people, monkeypatch):
    """The response time reveals nothing: each attempt verifies exactly one hash with the same parameters."""
    people.accounts.add("Ada", Role.OPERATOR, PASSWORD)
    people.accounts.check_password("nobody", "x")
    verified = []
    matches = people.accounts._matches
    monkeypatch.setattr(people.accounts, "_matches", lambda hashed, given: verified.append(hashed) or matches(hashed, given))
    for name in ("ada", "nobody"):
        people.accounts.check_password(name, "wrong password")
    assert len(verified) == 2
    assert verified[0].split("$")[:4] == verified[1].split("$")[:4]
    assert verified[0].startswith("$argon2id$")


def test_a_password_costs_what_the_rfc_recommends(people):
    """The other tests hash at the least cost, which is also what shows here that the constant is used."""
    assert PASSWORD_COST == RFC_9106_LOW_MEMORY
    account = people.accounts.add("Ada", Role.OPERATOR, PASSWORD)
    assert account.password.split("$")[3] == f"m={CHEAPEST.memory_cost},t={CHEAPEST.time_cost},p={CHEAPEST.parallelism}"


def test_guessing_passwords_is_slowed_down(people):
    people.accounts.add("Ada", Role.OPERATOR, PASSWORD)
    for _ in range(FREE_ATTEMPTS):
        with pytest.raises(NotAuthenticatedError):
            people.sign_in("Ada", "wrong password", "", "a")
    with pytest.raises(TooManyAttemptsError):
        people.sign_in("Ada", PASSWORD, "", "a")
    assert people.sign_in("Ada", PASSWORD, "", "b"), "others still get in"


@pytest.mark.slow
def test_nothing_secret_is_in_the_file(people, tmp_path, clock):
    """It contains neither passwords nor secrets of sessions, tokens and links, and only its owner can read it."""
    account = people.accounts.add("Ada", Role.OWNER, PASSWORD)
    secrets = [
        people.signed_in(account, "a"),
        people.tokens.add(account.id, "ci", Scope.READ, 1)[1],
        people.links.add("Ada", "class", "panel", Role.VIEWER, 1)[1],
        PASSWORD,
    ]
    app = people.accounts.offer_totp(account.id)["secret"]
    secrets += people.accounts.turn_on_totp(account.id, app, pyotp.TOTP(app).at(clock.now))
    people.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert [secret for secret in secrets if secret.encode() in stored] == []
    assert stat.S_IMODE((tmp_path / PEOPLE_FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("password", ["", "short", "x" * (MAX_PASSWORD + 1)])
def test_a_weak_or_huge_password_is_not_accepted(people, password):
    with pytest.raises(AccountError):
        people.accounts.add("Ada", Role.VIEWER, password)


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "x" * 65, "\ud83d", "a\0"])
def test_a_name_that_cannot_be_shown_is_not_accepted(people, name):
    with pytest.raises(AccountError):
        people.accounts.add(name, Role.VIEWER, PASSWORD)


def test_names_are_unique_in_any_case(people):
    people.accounts.add("Ada", Role.VIEWER, PASSWORD)
    with pytest.raises(AccountError, match="already exists"):
        people.accounts.add("ADA", Role.OWNER, PASSWORD)


@pytest.mark.slow
def test_the_last_owner_stays(people):
    """The last owner can't be removed, disabled or made a viewer until there is another owner."""
    ada = people.accounts.add("Ada", Role.OWNER, PASSWORD)
    for change in ({"role": "viewer"}, {"disabled": True}):
        with pytest.raises(LastOwnerError):
            people.accounts.change(ada.id, change)
    with pytest.raises(LastOwnerError):
        people.remove_account(ada.id)
    bob = people.accounts.add("Bob", Role.OWNER, PASSWORD)
    people.accounts.change(bob.id, {"disabled": True})
    with pytest.raises(LastOwnerError):
        people.accounts.change(ada.id, {"role": "operator"})
    people.accounts.change(bob.id, {"disabled": False})
    assert people.accounts.change(ada.id, {"role": "operator"}).role == "operator"


def test_a_change_that_is_not_allowed_changes_nothing(people):
    owner = people.accounts.add("Ada", Role.OWNER, PASSWORD)
    for changes in ({"role": "viewer"}, {"disabled": True}, {"name": ""}):
        with pytest.raises(AccountError):
            people.accounts.change(owner.id, {"password": "another password", "gpu_hours": 1.0, **changes})
    with pytest.raises(AccountError):
        people.accounts.change(owner.id, {"password": "short", "gpu_hours": 1.0})
    assert people.accounts.get(owner.id) == owner


@pytest.mark.slow
def test_a_changed_role_counts_at_once_for_sessions_and_tokens(people):
    people.accounts.add("Owner", Role.OWNER, PASSWORD)
    ada = people.accounts.add("Ada", Role.OWNER, PASSWORD)
    session = people.signed_in(ada, "a")
    _, token = people.tokens.add(ada.id, "ci", Scope.ADMIN, 1)
    people.accounts.change(ada.id, {"role": "viewer"})
    assert people.of_session(session).role is Role.VIEWER
    assert people.of_token(token, accounts=True).role is Role.VIEWER
    people.accounts.change(ada.id, {"disabled": True})
    assert people.of_session(session) is None
    assert people.of_token(token, accounts=True) is None


@pytest.mark.slow
def test_removing_an_account_ends_everything_of_it(people):
    people.accounts.add("Owner", Role.OWNER, PASSWORD)
    ada = people.accounts.add("Ada", Role.OPERATOR, PASSWORD)
    session, (_, token) = people.signed_in(ada, "a"), people.tokens.add(ada.id, "ci", Scope.RUN, 1)
    results = []
    people.listen(lambda: results.append(1))
    people.remove_account(ada.id)
    assert results
    assert people.of_session(session) is None
    assert people.of_token(token, accounts=True) is None


# authenticator apps


def with_app(people, clock) -> tuple[pyotp.TOTP, list[str]]:
    ada = people.accounts.add("Ada", Role.OPERATOR, PASSWORD)
    offer = people.accounts.offer_totp(ada.id)
    assert offer["address"].startswith("otpauth://totp/")
    with pytest.raises(AccountError):
        people.accounts.turn_on_totp(ada.id, offer["secret"], "000000")
    app = pyotp.TOTP(offer["secret"])
    return app, people.accounts.turn_on_totp(ada.id, offer["secret"], app.at(clock.now))


@pytest.mark.slow
def test_an_authenticator_app_is_asked_for_and_each_code_counts_once(people, clock):
    app, _ = with_app(people, clock)
    clock.now += 30
    with pytest.raises(CodeRequiredError):
        people.sign_in("Ada", PASSWORD, "", "a")
    code = app.at(clock.now)
    assert people.sign_in("Ada", PASSWORD, code, "a")
    for later in (0, 300):
        clock.now += later
        with pytest.raises(CodeRequiredError):
            people.sign_in("Ada", PASSWORD, code, "a")


def test_guessing_codes_is_slowed_down(people, clock):
    with_app(people, clock)
    for _ in range(FREE_ATTEMPTS):
        with pytest.raises(CodeRequiredError):
            people.sign_in("Ada", PASSWORD, "000000", "a")
    with pytest.raises(TooManyAttemptsError):
        people.sign_in("Ada", PASSWORD, "000000", "a")


@pytest.mark.slow
def test_a_recovery_code_counts_once(people, clock):
    _, codes = with_app(people, clock)
    assert len(set(codes)) == RECOVERY_CODES
    assert people.sign_in("Ada", PASSWORD, codes[0].upper(), "a")
    with pytest.raises(CodeRequiredError):
        people.sign_in("Ada", PASSWORD, codes[0], "a")
    assert people.accounts.named("ada").as_dict()["recovery_codes"] == RECOVERY_CODES - 1


# tokens


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.OWNER])
def test_a_token_has_the_lower_one_of_its_scope_and_the_role(people, scope, role):
    account = people.accounts.add("Ada", role, PASSWORD)
    token, secret = people.tokens.add(account.id, "ci", scope, 1)
    assert people.of_token(secret, accounts=True).role is min(role, scope.role)
    assert secret not in str(token.as_dict())


@pytest.mark.slow
def test_a_token_expires_can_be_revoked_and_shows_its_last_use(people, clock):
    account = people.accounts.add("Ada", Role.OWNER, PASSWORD)
    token, secret = people.tokens.add(account.id, "ci", Scope.READ, 1)
    people.tokens.note_use(token.id)
    assert people.tokens.get(token.id).last_used == clock.now
    clock.now += 24 * 3600 + 1
    assert people.of_token(secret, accounts=True) is None
    other, secret = people.tokens.add(account.id, "ci", Scope.READ, 1)
    people.tokens.revoke(lambda each: each.id == other.id)
    assert people.of_token(secret, accounts=True) is None


@pytest.mark.parametrize("days", [0, -1, 1e9, float("nan"), float("inf")])
def test_a_token_for_ever_is_not_made(people, days):
    with pytest.raises(AccountError):
        people.tokens.add("", "ci", Scope.READ, days)


# links


@pytest.mark.slow
def test_a_link_opens_a_session_until_it_expires_or_is_revoked(people, clock):
    link, secret = people.links.add("Ada", "class", "run", Role.VIEWER, 1, "run-1")
    opened, session = people.open_link(secret, "a")
    assert opened.id == link.id
    who = people.of_session(session)
    assert (who.role, who.kind, who.run_id, who.restricted) == (Role.VIEWER, Kind.LINK, "run-1", True)
    people.revoke_link(link.id)
    assert people.of_session(session) is None
    assert people.open_link(secret, "a") is None
    _, secret = people.links.add("Ada", "class", "panel", Role.OPERATOR, 1)
    _, session = people.open_link(secret, "a")
    clock.now += 24 * 3600 + 1
    assert people.of_session(session) is None
    assert people.open_link(secret, "a") is None


@pytest.mark.slow
def test_the_link_to_a_deleted_run_is_revoked(people):
    _, secret = people.links.add("Ada", "class", "run", Role.VIEWER, 1, "run-1")
    _, session = people.open_link(secret, "a")
    people.run_deleted("run-1")
    assert people.of_session(session) is None
    assert people.open_link(secret, "a") is None


@pytest.mark.parametrize(
    ("shows", "role", "run_id"),
    [
        ("panel", Role.OWNER, ""),
        ("gallery", Role.OPERATOR, ""),
        ("run", Role.VIEWER, ""),
        ("panel", Role.VIEWER, "run-1"),
        ("everything", Role.VIEWER, ""),
    ],
)
def test_a_link_that_gives_too_much_or_nothing_is_not_made(people, shows, role, run_id):
    with pytest.raises(AccountError):
        people.links.add("Ada", "class", shows, role, 1, run_id)


def test_a_link_to_a_run_shows_no_sample_of_another():
    who = Identity(Role.VIEWER, Kind.LINK, shows="run", run_id="run-1")
    check(who, "GET /api/samples/{sample_id}/image", {"sample_id": "run-1.7"})
    for other in ("run-2.7", "run-1", "run-11.7", "x", "run-1.7/../run-2.7"):
        with pytest.raises(NotPermittedError):
            check(who, "GET /api/samples/{sample_id}/image", {"sample_id": other})


# the audit log and the file


@pytest.mark.slow
def test_the_audit_log_only_grows(people, tmp_path):
    who = Identity(Role.OWNER, Kind.ACCOUNT, "Ada", "1")
    for number in range(5):
        people.audit.add(who, "POST /api/training/stop", target=f"run-{number}", address="a", status=200)
    database = sqlite3.connect(tmp_path / PEOPLE_FILE)
    for statement in ("DELETE FROM audit", "UPDATE audit SET who = 'Eve'"):
        with pytest.raises(sqlite3.DatabaseError, match="append-only"):
            database.execute(statement)
    database.close()
    page = people.audit.page(AuditQuery(limit=2))
    assert [entry["target"] for entry in page["entries"]] == ["run-4", "run-3"]
    page = people.audit.page(AuditQuery(before=page["next_before"], limit=2))
    assert [entry["target"] for entry in page["entries"]] == ["run-2", "run-1"]
    assert people.audit.page(AuditQuery(search="RUN-3"))["entries"][0]["target"] == "run-3"
    assert people.audit.page(AuditQuery(who="Eve"))["entries"] == []


def test_an_entry_that_cannot_be_written_is_in_the_panels_log(people, log_records):
    """The recorded action has already happened, so it isn't reported as failed."""
    people.store.change(lambda database: database.execute("DROP TABLE audit"))
    people.audit.note(Identity(Role.OWNER, Kind.ACCOUNT, "Ada"), "DELETE /api/runs/{run_id}")
    assert "The audit log misses an entry (Ada DELETE /api/runs/{run_id})" in log_records.text


def test_an_exported_log_is_whole_and_runs_nothing_in_a_spreadsheet(people):
    people.audit.add(Identity(Role.VIEWER, Kind.ACCOUNT, "=1+1", "1"), "POST /api/logout", target='a,"b"\n')
    (header, line) = people.audit.export("csv")
    assert header.startswith("seq,at,who")
    assert "'=1+1" in line
    assert len(list(people.audit.export("jsonl"))) == 1


def test_a_file_of_a_newer_version_stays_untouched(tmp_path, people):
    people.accounts.add("Ada", Role.OWNER, PASSWORD)
    people.close()
    database = sqlite3.connect(tmp_path / PEOPLE_FILE)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StorageError, match="newer version"):
        PeopleStore(tmp_path / PEOPLE_FILE).change(lambda database: database.execute("SELECT 1"))


def test_reading_makes_no_file(tmp_path):
    """A panel without accounts has no accounts file."""
    people = People(tmp_path)
    assert people.accounts.all() == []
    assert people.of_session("x") is None
    assert list(tmp_path.iterdir()) == []

"""Who may use the panel."""

from __future__ import annotations

from pathlib import Path

import pytest

from onetrainer_gradio.errors import CommandLineError, InsecureBindError, NotAuthenticatedError, TooManyAttemptsError
from onetrainer_gradio.service.host.access import (
    CROWD_S,
    FREE_ATTEMPTS,
    LONG_SECRET,
    MAX_FAILURES,
    SESSION_S,
    Access,
    AccessSettings,
    check_bind,
    is_loopback,
)

PASSWORD = "correct horse battery"
TOKEN = "a-token-for-programs"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def make(clock: Clock | None = None, **settings) -> Access:
    return Access(AccessSettings(**{"password": PASSWORD, "token": TOKEN, **settings}), clock or Clock())


@pytest.mark.parametrize("secret", [PASSWORD, TOKEN])
def test_password_and_token_open_a_session(secret):
    access = make()
    assert access.session_valid(access.login(secret, "1.2.3.4"))


@pytest.mark.parametrize("secret", ["", "wrong", PASSWORD + " ", TOKEN[:-1], "пароль"])
def test_anything_else_is_rejected(secret):
    access = make()
    with pytest.raises(NotAuthenticatedError):
        access.login(secret, "1.2.3.4")
    assert not access.bearer(secret, "5.6.7.8")


def test_an_empty_secret_never_passes_when_only_the_other_is_set():
    """A panel with only a token can't be opened with an empty password."""
    access = make(password="")
    with pytest.raises(NotAuthenticatedError):
        access.login("", "1.2.3.4")
    assert access.bearer(TOKEN, "1.2.3.4")


def test_unknown_and_ended_sessions_are_invalid():
    access = make()
    session = access.login(PASSWORD, "a")
    access.logout(session)
    access.logout("never heard of")
    assert not access.session_valid(session)
    assert not access.session_valid("")


def test_a_session_ends_by_itself():
    clock = Clock()
    access = make(clock)
    session = access.login(PASSWORD, "a")
    clock.now += SESSION_S - 1
    assert access.session_valid(session)
    clock.now += 2
    assert not access.session_valid(session)


def test_sessions_survive_a_restart_but_not_a_new_password(tmp_path: Path):
    """The file contains no session, is readable by its owner only, and is valid for one password only."""
    file = tmp_path / "access" / "sessions.json"
    session = make(sessions_file=file).login(PASSWORD, "a")
    assert make(sessions_file=file).session_valid(session)
    assert not make(sessions_file=file, password="another password").session_valid(session)
    assert session not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    file.write_text('{"torn')
    assert not make(sessions_file=file).session_valid(session)


def test_a_full_disk_keeps_nobody_out(tmp_path: Path):
    """A session that can't be written lasts until the restart; an ended one doesn't come back."""
    file = tmp_path / "access" / "sessions.json"
    access = make(sessions_file=file)
    session = access.login(PASSWORD, "a")
    (tmp_path / "access").rename(tmp_path / "away")
    (tmp_path / "access").touch()  # nothing can be written below a file
    other = access.login(PASSWORD, "a")
    access.logout(session)
    assert (access.session_valid(session), access.session_valid(other)) == (False, True)


def test_addresses_that_are_made_up_do_not_let_anybody_guess_on():
    """A request may claim any address; a program with a long token is always admitted."""
    clock, token = Clock(), "t" * LONG_SECRET
    access = make(clock, token=token)
    for number in range(MAX_FAILURES):
        clock.now += 0.001
        with pytest.raises(NotAuthenticatedError):
            access.login("wrong", f"10.0.0.{number}")
    with pytest.raises(TooManyAttemptsError):
        access.login(PASSWORD, "someone else")
    assert access.bearer(token, "a program")
    with pytest.raises(TooManyAttemptsError):
        access.bearer("wrong", "another")
    clock.now += CROWD_S
    assert access.session_valid(access.login(PASSWORD, "someone else"))


def test_a_start_link_works_once():
    access = make()
    link = access.new_link()
    session = access.use_link(link, "a")
    assert session is not None
    assert access.session_valid(session)
    assert access.use_link(link, "a") is None
    assert access.use_link(TOKEN, "a") is None


def test_guessing_becomes_slow_for_the_guesser_alone():
    """After a few failed attempts, even the right password has to wait, from that address only, and longer each time."""
    clock = Clock()
    access = make(clock)
    for _ in range(FREE_ATTEMPTS):
        assert not access.bearer("wrong", "guesser")
    with pytest.raises(TooManyAttemptsError) as first:
        access.login(PASSWORD, "guesser")
    assert access.login(PASSWORD, "somebody else")
    clock.now += first.value.retry_after_s
    assert not access.bearer("wrong", "guesser")
    with pytest.raises(TooManyAttemptsError) as second:
        access.use_link("guess", "guesser")
    assert second.value.retry_after_s > first.value.retry_after_s
    clock.now += second.value.retry_after_s
    access.login(PASSWORD, "guesser")
    assert not access.bearer("wrong", "guesser")
    assert access.bearer(TOKEN, "guesser")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LOCALHOST.", "panel.localhost"])
def test_loopback_names(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "127.0.0.1.example.org", "localhost.evil.org", ""]
)
def test_names_that_others_reach(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("host", "share", "hosted"),
    [("0.0.0.0", False, False), ("::", False, False), ("127.0.0.1", True, False), ("127.0.0.1", False, True)],
)
def test_an_open_door_needs_a_lock(host, share, hosted):
    """Another address, a share link and a Space each fail to start without a password or token."""
    with pytest.raises(InsecureBindError, match="--password"):
        check_bind(AccessSettings(hosted=hosted), host=host, share=share)
    check_bind(AccessSettings(token=TOKEN, hosted=hosted), host=host, share=share)


def test_a_public_name_needs_a_lock():
    """A reverse proxy in front makes a loopback address public."""
    with pytest.raises(InsecureBindError, match=r"panel\.example"):
        check_bind(AccessSettings(hosts=("panel.example",)), host="127.0.0.1", share=False)
    check_bind(AccessSettings(hosts=("panel.localhost",)), host="127.0.0.1", share=False)


def test_loopback_needs_no_password_and_short_ones_are_rejected():
    check_bind(AccessSettings(), host="127.0.0.1", share=False)
    with pytest.raises(CommandLineError, match="at least 8"):
        check_bind(AccessSettings(password="1234"), host="127.0.0.1", share=False)

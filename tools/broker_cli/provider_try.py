"""`broker provider try`: one whole login in the operator's own browser, and what came of it in plain words.

It goes straight to the provider with the broker's own dialect and credentials, as only so can be told what the provider itself
answers; the broker's functions take no part, and nobody is logged in at the broker. Must never show a value that the provider
gave: names and types of what came, and nothing more.
"""

import queue
import secrets
import threading
import time
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import click

from broker import clock
from broker.protocol.pkce import s256
from broker.upstream import id_token
from broker.upstream.answers import read_document
from broker.upstream.authorization import (
    CallbackAnswer,
    CallbackProblem,
    Credentials,
    authorization_url,
    callback_redirect_uri,
    read_callback,
)
from broker.upstream.client_keys import OF_PROVIDERS, ClientKeys
from broker.upstream.dialect import exchange_code, fetch_profile, refresh_tokens, revoke_tokens
from broker.upstream.discovery import DiscoveryFailed
from broker.upstream.failures import UpstreamFailure
from broker.upstream.http import BoundedHttp, Deadline, Sender, UpstreamRequest, UpstreamResponse
from broker.upstream.provider import Provider
from broker.upstream.reader import ProviderFileError
from broker.upstream.registered import dialect_of
from broker.upstream.renewal import can_refresh
from broker.upstream.tokens import UpstreamTokens
from broker_cli.connection import Connection, connect
from broker_cli.failures import ServiceFailure, WrongInput
from broker_cli.findings import Told, cannot_say, right, wrong
from broker_cli.options import Command
from broker_cli.output import span
from broker_cli.provider_secrets import lacks
from broker_cli.provider_test import CALL_SECONDS, discovered, every_credentials_of
from broker_cli.providers import find_provider, redirect_uri

CALLBACK_PORT = 8765
WAIT_SECONDS = 300
_PATH = "/callback"
_MOST_NAMES = 60
Pairs = Sequence[tuple[str, str]]


@click.command("try", cls=Command)
@click.argument("name")
@click.option("--scope", multiple=True, metavar="S", help="A scope to ask for besides those of the file; repeatable.")
@click.option(
    "--callback-port",
    type=click.IntRange(1, 65535),
    default=CALLBACK_PORT,
    show_default=True,
    metavar="P",
    help="The port on this machine that the browser comes back to.",
)
@click.option(
    "--paste",
    is_flag=True,
    help="Use the broker's own redirect URI, and paste the address that the browser ends at.",
)
@click.option("--no-browser", is_flag=True, help="Print the address to open instead of opening it.")
@click.option(
    "--wait", type=click.IntRange(1, 3600), default=WAIT_SECONDS, show_default=True, metavar="SECONDS",
    help="How long to wait for the browser.",
)  # fmt: skip
def try_(name: str, scope: tuple[str, ...], callback_port: int, paste: bool, no_browser: bool, wait: int) -> None:
    """Log in at a provider in your own browser, and say what the provider gave.

    Reads the broker's secret at the provider and asks the provider from this machine, not through the broker, to see its own
    answers: then refreshes once and revokes what it got. Nothing is kept.

    The browser comes back to http://127.0.0.1:8765/callback, which has to be registered at the provider for the time of the try.
    Where that cannot be, --paste needs nothing registered but the broker's own redirect URI: the browser then ends at a page of
    the broker that says the sign-in has expired, and its address is what to paste.
    """
    broker = connect()
    http = _Watching(BoundedHttp(allow_loopback=broker.settings.local))
    dialect, credentials = _prepared(broker, name)
    base = redirect_uri(broker, name) if paste else f"http://127.0.0.1:{callback_port}{_PATH}"
    login = _Login(dialect, credentials, http, base, tuple(word for one in scope for word in one.split()))
    told = Told(name)
    if paste:
        pairs = _pasted(login)
    else:
        with _listening(callback_port, login) as arrivals:
            _send_browser(login, no_browser=no_browser)
            pairs = _arrival(arrivals, wait, base)
    _tell(login, pairs, told)
    told.end()


def _prepared(broker: Connection, name: str) -> tuple[Provider, Credentials]:
    """The dialect as a login meets it. Errors: WrongInput, ServiceFailure."""
    entry = find_provider(broker, name)
    try:
        dialect = dialect_of(entry, local=broker.settings.local, metadata=discovered(broker, entry))
    except (ProviderFileError, KeyError) as error:
        raise WrongInput(str(error)) from None
    except DiscoveryFailed as failure:
        raise ServiceFailure(f"{failure.detail}; see `broker provider test {name}`.") from None
    problem = dialect.usable_problem()
    if problem:
        raise WrongInput(problem)
    if dialect.answers_by_form:
        raise WrongInput(
            f"{name} posts its answer to a registered https address, so it cannot come back to this machine;"
            " log in through the broker instead."
        )
    held = broker.provider_secrets.read(name)
    missing = lacks(dialect, held)
    if missing or held is None:
        raise WrongInput(f"For {name} {missing}; see `broker provider test {name}`.")
    return dialect, every_credentials_of(held)


@dataclass
class _Watching:
    """A sender that remembers the shape of the last answer: names and types, as the values are nobody's business."""

    inner: Sender
    shape: str = ""

    def send(self, request: UpstreamRequest, deadline: Deadline) -> UpstreamResponse:
        answer = self.inner.send(request, deadline)
        document = read_document(answer.body)
        self.shape = "" if document is None else ", ".join(list(_shape(document))[:_MOST_NAMES])
        return answer


def _shape(document: Mapping[str, object], above: str = "") -> Iterator[str]:
    """The members of at most four levels, each with its type."""
    for name, value in document.items():
        shown = f"{above}{name if len(name) <= 60 else name[:57] + '...'}"
        if isinstance(value, Mapping) and above.count(".") < 3:
            yield from _shape(value, f"{shown}.")
        else:
            yield f"{shown} ({_type(value)})"


def _type(value: object) -> str:
    if value is None:
        return "null"
    kinds: tuple[tuple[type, str], ...] = (
        *((bool, "true or false"), (str, "text"), (int, "number"), (float, "number"), (list, "list")),
    )
    return next((word for kind, word in kinds if isinstance(value, kind)), "object")


@dataclass(frozen=True)
class _Login:
    """One authorization request from this machine."""

    dialect: Provider
    credentials: Credentials
    http: _Watching
    base: str
    scope: tuple[str, ...]
    state: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48), repr=False)
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def redirect_uri(self) -> str:
        return callback_redirect_uri(self.dialect, self.base, self.state)

    @property
    def asked(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.dialect.authorize.scope, *self.scope)))

    def url(self) -> str:
        return authorization_url(
            self.dialect,
            self.credentials,
            redirect_uri=self.redirect_uri,
            state=self.state,
            scope=self.scope,
            code_challenge=s256(self.verifier),
            nonce=self.nonce,
        )

    def read(self, pairs: Pairs) -> CallbackAnswer | None:
        """The provider's answer; None when it is another login's. Errors: CallbackProblem."""
        try:
            answer = read_callback(self.dialect, pairs)
        except CallbackProblem as problem:
            if problem.state != self.state and self.dialect.authorize.state != "cookie":
                return None
            raise
        return answer if self.dialect.authorize.state == "cookie" or answer.state == self.state else None

    def tokens(self, answer: CallbackAnswer) -> UpstreamTokens:
        """Errors: UpstreamFailure."""
        return exchange_code(
            self.dialect,
            self.credentials,
            self.http,
            code=answer.code or "",
            redirect_uri=self.redirect_uri,
            code_verifier=self.verifier,
            state=self.state,
            asked_scope=self.asked,
            kept=answer.kept,
            now=clock.now(),
            deadline=Deadline.after(CALL_SECONDS),
        )


# -- the browser's way there and back ------------------------------------------------------------------------------


@contextmanager
def _listening(port: int, login: _Login) -> "Iterator[queue.Queue[Pairs]]":
    """A listener on this machine's loopback alone, that takes one answer: the one with this login's state."""
    arrivals: queue.Queue[Pairs] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            is_ours = parts.path == _PATH and _is_for(login, pairs := parse_qsl(parts.query, keep_blank_values=True))
            text = "You can close this page and go back to the terminal." if is_ours else "There is nothing here."
            self.send_response(200 if is_ours else 404)
            for header, value in (("content-type", "text/plain; charset=utf-8"), ("referrer-policy", "no-referrer")):
                self.send_header(header, value)
            self.end_headers()
            self.wfile.write(text.encode())
            if is_ours:
                arrivals.put(pairs)

        def log_message(self, *_: object) -> None:
            """The request line has the code in it."""

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError:
        raise WrongInput(f"Port {port} is taken; name a free one with --callback-port.") from None
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield arrivals
    finally:
        server.shutdown()
        server.server_close()


def _is_for(login: _Login, pairs: Pairs) -> bool:
    """Anything on this machine may call a loopback port, so a stranger's call must not end the wait."""
    try:
        return login.read(pairs) is not None
    except CallbackProblem:
        return True


def _send_browser(login: _Login, *, no_browser: bool) -> None:
    url = login.url()
    click.echo(f"Redirect URI, to be registered at the provider: {login.base}", err=True)
    if no_browser or not webbrowser.open(url):
        click.echo(f"Open this in a browser:\n{url}", err=True)


def _arrival(arrivals: "queue.Queue[Pairs]", wait: int, base: str) -> Pairs:
    until = time.monotonic() + wait
    while time.monotonic() < until:
        try:
            return arrivals.get(timeout=min(1, wait))  # in short waits, or Ctrl-C would not be heard
        except queue.Empty:
            continue
    raise ServiceFailure(
        f"Nobody came back within {wait} s. If the provider complained about the redirect URI, register {base} there,"
        " or use --paste."
    )


def _pasted(login: _Login) -> Pairs:
    click.echo(
        f"Open this in a browser, log in, and copy the address of the page that it ends at:\n{login.url()}", err=True
    )
    address = str(click.prompt("Address", err=True)).strip()
    pairs = parse_qsl(urlsplit(address).query, keep_blank_values=True)
    if not pairs:
        raise WrongInput(f"That address has no answer in it; it should begin with {login.base}?")
    if not _is_for(login, pairs):
        raise WrongInput("That address belongs to another login: its state is another.")
    return pairs


# -- what came of it -----------------------------------------------------------------------------------------------


def _tell(login: _Login, pairs: Pairs, told: Told) -> None:
    try:
        answer = login.read(pairs)
    except CallbackProblem as problem:
        told.add(wrong("redirect", f"The provider's answer is none ({problem.reason}).", "See callback.* of the file."))
        return
    names = ", ".join(dict.fromkeys(name for name, _ in pairs))
    if answer is None or answer.code is None:
        detail = (answer.error_detail if answer else None) or "no code"
        told.add(wrong("redirect", f"The provider answered with an error: {detail} ({names}).", "See the words above."))
        return
    told.add(right("redirect", f"A code came back, with the parameters {names}."))
    try:
        tokens = login.tokens(answer)
    except UpstreamFailure as failure:
        told.add(wrong("token", f"The code was not exchanged: {failure}. {_came(login)}", _compare(login)))
        return
    _tell_tokens(login, tokens, told)
    _tell_person(login, tokens, told)
    _tell_end(login, _tell_refresh(login, tokens, told), told)


def _came(login: _Login) -> str:
    return f"The answer had {login.http.shape}." if login.http.shape else "The answer was no document."


def _compare(login: _Login) -> str:
    return f"`broker provider test {login.dialect.name}`, and compare token.* with the provider's documentation."


def _tell_tokens(login: _Login, tokens: UpstreamTokens, told: Told) -> None:
    told.add(right("token", f"The code became tokens. {_came(login)}"))
    if tokens.expires_at is None:
        told.add(
            cannot_say(
                "expiry", "The access token has no known end; the broker goes by the provider's 401.",
                "Set token.default_expires_in if the provider's documentation names one.",
            )
        )  # fmt: skip
    else:
        told.add(right("expiry", f"The access token ends in {span(tokens.expires_at - clock.now())}."))
    lacking = tokens.missing_scope(login.asked)
    granted = " ".join(tokens.scope or ()) or "none named"
    if lacking:
        told.add(cannot_say("scope", f"Granted: {granted}. Not granted: {' '.join(lacking)}.", "Clients are told."))
    else:
        told.add(right("scope", f"Granted: {granted}."))
    if tokens.kept:
        told.add(right("kept", f"Kept for later calls: {', '.join(tokens.kept)}."))


def _tell_person(login: _Login, tokens: UpstreamTokens, told: Told) -> None:
    dialect, subject = login.dialect, None
    if id_token.is_expected(dialect, login.scope):
        http = BoundedHttp(allow_loopback=dialect.local, max_body=OF_PROVIDERS.max_bytes)
        keys = ClientKeys(http, clock.now, OF_PROVIDERS)
        expected = id_token.Expected(login.credentials.client_id, login.nonce, None, clock.now())
        try:
            identity = id_token.check(dialect, tokens, keys, expected, Deadline.after(CALL_SECONDS))
        except UpstreamFailure as failure:
            told.add(wrong("ID token", f"It is not believed: {failure.detail}.", "Check issuer and the client id."))
            return
        subject = identity.subject
        told.add(right("ID token", f"It is right in every respect, and says {', '.join(identity.claims)}."))
    if dialect.userinfo is None:
        if subject is None:
            told.add(cannot_say("profile", "The file names no userinfo, so nobody can say who logged in."))
        return
    try:
        profile = fetch_profile(dialect, login.credentials, login.http, tokens, deadline=Deadline.after(CALL_SECONDS))
    except UpstreamFailure as failure:
        told.add(wrong("profile", f"It cannot be had: {failure}. {_came(login)}", "See userinfo.* of the file."))
        return
    if subject not in (None, profile.subject):
        told.add(wrong("profile", "It is about another subject than the ID token.", "See userinfo.claims.sub."))
        return
    told.add(right("profile", f"{_came(login)} The claims are {', '.join(profile.claims)}."))


def _tell_refresh(login: _Login, tokens: UpstreamTokens, told: Told) -> UpstreamTokens:
    """The tokens after it."""
    if not can_refresh(login.dialect, tokens):
        told.add(
            cannot_say(
                "refresh", "No refresh token came: when the access token ends, the person has to log in again.",
                "Some providers want a scope (offline_access) or a parameter (access_type=offline) for one.",
            )
        )  # fmt: skip
        return tokens
    try:
        new = refresh_tokens(
            login.dialect, login.credentials, login.http, tokens, now=clock.now(), deadline=Deadline.after(CALL_SECONDS)
        )
    except UpstreamFailure as failure:
        told.add(wrong("refresh", f"It failed: {failure}. {_came(login)}", "See refresh.* of the file."))
        return tokens
    rotated = "replaced" if new.refresh_token != tokens.refresh_token else "the same as before"
    told.add(right("refresh", f"New tokens came, and the refresh token is {rotated}. {_came(login)}"))
    return new


def _tell_end(login: _Login, tokens: UpstreamTokens, told: Told) -> None:
    name = login.dialect.name
    try:
        told_provider = revoke_tokens(
            login.dialect, login.credentials, login.http, tokens, deadline=Deadline.after(CALL_SECONDS)
        )
    except UpstreamFailure as failure:
        told.add(wrong("revoke", f"It failed: {failure}.", f"Take the access back in your account at {name}."))
        return
    if told_provider:
        told.add(right("revoke", "The provider was told to end what it gave."))
    else:
        told.add(
            cannot_say("revoke", "The file names no revocation.", f"Take the access back in your account at {name}.")
        )

"""`broker provider test`: everything that can be known of a provider without a person, in the order in which a login meets it.

The requests are those of the functions, by the same interpreter, but for a code and tokens that nobody issued. Must never log a
person in, or show a secret.
"""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, urlsplit

import click

from broker import clock
from broker.protocol import jws
from broker.protocol.pkce import s256
from broker.store.registry import ProviderEntry
from broker.store.secrets import ProviderSecret
from broker.upstream.authorization import Credentials, authorization_url, callback_redirect_uri
from broker.upstream.client_keys import OF_PROVIDERS, keys_in
from broker.upstream.dialect import exchange_code, fetch_profile, revoke_tokens
from broker.upstream.discovery import MAX_DOCUMENT, Discovery, DiscoveryFailed, Metadata
from broker.upstream.failures import UpstreamFailure
from broker.upstream.http import BoundedHttp, Deadline, Sender, TransportError, UpstreamRequest
from broker.upstream.provider import Provider
from broker.upstream.registered import dialect_of
from broker.upstream.signing import ClientKey, new_key
from broker.upstream.tokens import UpstreamTokens
from broker_cli import provider_network, provider_verdicts
from broker_cli.connection import Connection, connect
from broker_cli.findings import Finding, Told, cannot_say, right, wrong
from broker_cli.options import Command
from broker_cli.provider_secrets import lacks, remedy
from broker_cli.providers import file_problem, find_provider, origin, parsed, redirect_uri

CALL_SECONDS = 10


@click.command("test", cls=Command)
@click.argument("name")
def test(name: str) -> None:
    """Say what is right and what is wrong with a provider, without a login.

    Looks at the registration, the hosts, discovery and keys, and asks every endpoint with a made-up code or token. The provider
    sees a few failed requests, one of them with a wrong client secret. Exit status 1 when something is wrong.
    """
    broker = connect()
    entry = find_provider(broker, name)
    told = Told(name)
    if told.add_all(_registration(broker, entry)):
        http = BoundedHttp(allow_loopback=broker.settings.local)
        _ask(broker, entry, http, told)
    told.end()


def discovered(broker: Connection, entry: ProviderEntry) -> Metadata | None:
    """What the issuer says, for a provider that needs it, within the functions' limits. Errors: DiscoveryFailed."""
    dialect = parsed(broker, entry)
    if dialect.issuer is None or not dialect.needs_discovery:
        return None
    http = BoundedHttp(allow_loopback=broker.settings.local, max_body=MAX_DOCUMENT)
    return Discovery(http, clock.now, local=broker.settings.local).metadata(dialect.issuer)


def credentials_of(held: ProviderSecret, secret: str) -> Credentials:
    """The broker's credentials with one of the secrets that are kept."""
    key = ClientKey(held.kid, held.private_key) if held.private_key else None
    return Credentials(held.client_id, secret, key)


def every_credentials_of(held: ProviderSecret) -> Credentials:
    """The current slot's, and behind them the other slot's, as functions try them."""
    current, *others = (credentials_of(held, slot.secret) for slot in held.slots)
    return replace(current, other=lambda: others[0]) if others else current


def _registration(broker: Connection, entry: ProviderEntry) -> Iterator[Finding]:
    """What the broker itself holds."""
    problem = file_problem(broker, entry)
    if problem:
        yield wrong("file", f"{problem}", f"`broker provider update {entry.name} --set FIELD=VALUE`.")
        return
    yield right("file", f"{origin(entry)} can be read.")
    if entry.disabled:
        yield cannot_say(
            "registration", "It is disabled: nobody can log in.", f"`broker provider enable {entry.name}`."
        )
    uri = redirect_uri(broker, entry.name)
    yield cannot_say("redirect URI", f"It is {uri}", "Register it at the provider, to the letter.")


def _ask(broker: Connection, entry: ProviderEntry, http: BoundedHttp, told: Told) -> None:
    """Everything that needs the network."""
    held, as_filed = broker.provider_secrets.read(entry.name), parsed(broker, entry)
    try:
        metadata = discovered(broker, entry)
    except DiscoveryFailed as failure:
        told.add(_secret_finding(as_filed, held))
        told.add_all(provider_network.look_at(as_filed, held.client_id if held else "x"))
        told.add(provider_verdicts.of_discovery(as_filed.issuer or "", failure))
        return
    dialect = dialect_of(entry, local=broker.settings.local, metadata=metadata)
    told.add(_secret_finding(dialect, held))
    told.add_all(provider_network.look_at(dialect, held.client_id if held else "x"))
    if metadata is not None:
        told.add(right("discovery", f"{dialect.issuer} describes itself."))
        if metadata.unspoken and as_filed.token.auth == "body" and dialect.token.auth == "basic":
            told.add(provider_verdicts.of_unspoken(metadata.unspoken))
        told.add(_keys(dialect))
    if held is not None and not lacks(dialect, held):
        told.add_all(_Asked(broker, dialect, held, http).findings())


def _secret_finding(dialect: Provider, held: ProviderSecret | None) -> Finding:
    missing = lacks(dialect, held)
    if missing or held is None:
        return wrong("secret", f"{missing.capitalize()}.", f"{remedy(dialect, held)}.")
    kept = [
        *(["a client secret"] if held.client_secret else []),
        *(["a next client secret"] if held.client_secret_next else []),
        *([f"a private key ({held.kid or 'without a name'})"] if held.private_key else []),
    ]
    return right("secret", f"The client id {held.client_id} is kept, with {' and '.join(kept) or 'no secret'}.")


def _keys(dialect: Provider) -> Finding:
    """The keys of its ID tokens, read as the functions read them."""
    assert dialect.discovered is not None  # noqa: S101 - only called after discovery
    wanted, uri = dialect.discovered.algorithms, dialect.discovered.jwks_uri
    if not wanted:
        return wrong(
            "keys",
            f"It signs ID tokens in no way that the broker verifies ({', '.join(jws.ALGORITHMS)}).",
            "Choose another algorithm for the client at the provider.",
        )
    http = BoundedHttp(allow_loopback=dialect.local, max_body=OF_PROVIDERS.max_bytes)
    try:
        found = keys_in(http.send(UpstreamRequest("GET", uri), Deadline.after(CALL_SECONDS)), OF_PROVIDERS)
    except TransportError as failure:
        return wrong("keys", f"{uri} cannot be had ({failure}).", "Tell the provider.")
    except jws.BadKey as problem:
        return wrong("keys", f"{uri}: {problem}.", "Tell the provider.")
    usable = [key for key in found if set(key.algorithms) & set(wanted)]
    if not usable:
        return wrong("keys", f"{uri} has no key for {', '.join(wanted)}.", "Tell the provider.")
    return right("keys", f"{len(usable)} of its keys can sign ID tokens ({', '.join(wanted)}).")


@dataclass(frozen=True)
class _Asked:
    """The endpoints, each asked once with what nobody issued, and the token endpoint once more with a wrong secret."""

    broker: Connection
    dialect: Provider
    held: ProviderSecret
    http: Sender

    def findings(self) -> Iterator[Finding]:
        dialect = self.dialect
        yield self._authorize()
        first, *others = self.held.slots
        answers = {slot.name: self._exchange(credentials_of(self.held, slot.secret)) for slot in others}
        taken = next((name for name, answer in answers.items() if provider_verdicts.is_taken(answer)), None)
        step = f"token ({first.name})" if others else "token"
        yield from self._token(step, credentials_of(self.held, first.secret), taken)
        for name, answer in answers.items():
            yield provider_verdicts.of_other_secret(f"token ({name})", answer)
        current = every_credentials_of(self.held)
        made_up = UpstreamTokens(_made_up("access"), _made_up("refresh"))
        deadline = Deadline.after(CALL_SECONDS)
        if dialect.userinfo is None:
            yield self._no_userinfo()
        else:
            failure = _failure_of(lambda: fetch_profile(dialect, current, self.http, made_up, deadline=deadline))
            yield provider_verdicts.of_userinfo(failure)
        if dialect.revoke is not None:
            deadline = Deadline.after(CALL_SECONDS)
            failure = _failure_of(lambda: revoke_tokens(dialect, current, self.http, made_up, deadline=deadline))
            yield provider_verdicts.of_revoke(failure, dialect.name)

    def _authorize(self) -> Finding:
        state = _made_up("state")
        uri = callback_redirect_uri(self.dialect, redirect_uri(self.broker, self.dialect.name), state)
        url = authorization_url(
            self.dialect,
            credentials_of(self.held, ""),
            redirect_uri=uri,
            state=state,
            scope=(),
            code_challenge=s256(_made_up("verifier")),
            nonce=_made_up("nonce"),
        )
        try:
            answer = self.http.send(
                UpstreamRequest("GET", url, (("Accept", "text/html"),)), Deadline.after(CALL_SECONDS)
            )
        except TransportError as failure:
            return cannot_say(
                "authorize", f"It gave this program no page ({failure.kind.value}).", "Open it in a browser."
            )
        location = (answer.header("location") or "") if 300 <= answer.status < 400 else ""
        error = None
        if location.startswith(uri.partition("?")[0]):
            codes = [parse_qs(urlsplit(location).query).get(name) for name in self.dialect.callback.error]
            error = next((found[0][:40] for found in codes if found), "that it does not name")
        return provider_verdicts.of_authorize(answer.status, error, location, self.dialect.name)

    def _token(self, step: str, credentials: Credentials, taken: str | None) -> Iterator[Finding]:
        failure = self._exchange(credentials)
        yield provider_verdicts.of_token(step, failure, self.dialect.name, taken)
        if not provider_verdicts.is_taken(failure):
            return
        if self.dialect.needs_key or self.dialect.needs_secret:
            yield provider_verdicts.of_wrong_secret(step, self._exchange(_others(credentials)))

    def _exchange(self, credentials: Credentials) -> UpstreamFailure | None:
        state = _made_up("state")
        return _failure_of(
            lambda: exchange_code(
                self.dialect,
                credentials,
                self.http,
                code=_made_up("code"),
                redirect_uri=callback_redirect_uri(self.dialect, redirect_uri(self.broker, self.dialect.name), state),
                code_verifier=_made_up("verifier"),
                state=state,
                asked_scope=(),
                kept={},
                now=clock.now(),
                deadline=Deadline.after(CALL_SECONDS),
            )
        )

    def _no_userinfo(self) -> Finding:
        if self.dialect.discovered is not None:
            return right("userinfo", "There is none: the ID token says who logged in.")
        return cannot_say(
            "userinfo",
            "There is none, so nobody can say who logged in: every login has a subject of its own.",
            "Set userinfo.url if the provider has one.",
        )


def _others(credentials: Credentials) -> Credentials:
    """Credentials of the same form that cannot be right."""
    key = ClientKey(credentials.key.kid, new_key(credentials.key.algorithm).private_pem) if credentials.key else None
    return Credentials(credentials.client_id, _made_up("secret"), key)


def _made_up(what: str) -> str:
    return f"broker-provider-test-{what}-{secrets.token_urlsafe(24)}"


def _failure_of(call: Callable[[], object]) -> UpstreamFailure | None:
    try:
        call()
    except UpstreamFailure as failure:
        return failure
    return None

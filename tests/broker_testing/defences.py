"""The broker's defences, and how each is taken out of a running broker, for the attacks (broker_testing/attacks.py) to succeed.

Every entry is a mistake that somebody could make in the code, or has made in another server.
"""

from __future__ import annotations

import posixpath
import re
import secrets
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from broker import gateway
from broker.crypto import handles, tokens
from broker.crypto.handles import Handle, Kind
from broker.crypto.keys import KeyRing
from broker.crypto.tokens import AccessToken
from broker.encoding import b64url, from_b64url
from broker.endpoints import authorize, bearer, callback, cookies, cors, logout, redirect_answer, userinfo
from broker.endpoints import consent as consent_endpoint
from broker.endpoints.drop_in import authorize as drop_in
from broker.gateway import Request, Response
from broker.grants import authorization_code, consent, ending, reconnect_request, refresh_token, token_exchange
from broker.grants.issuing import Issuer
from broker.protocol.clients import Client
from broker.protocol.parameters import Parameters
from broker.protocol.redirects import origin_of
from broker.runtime import Runtime, runtime
from broker.store import grants as grants_store
from broker.store.grants import Grant, Grants
from broker.upstream import api
from broker.upstream.api import ApiCall
from broker.upstream.authorization import CallbackAnswer, read_callback
from broker.upstream.provider import Provider
from broker.upstream.serve import ServedDialect

TakeOut = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Defence:
    """One defence. attack: the one that succeeds without it. taken_out: the mistake, in words."""

    attack: str
    taken_out: str
    take_out: TakeOut


def _replaced(target: str, value: object) -> TakeOut:
    """A name of the broker's stands for something else."""
    return lambda patch: patch.setattr(target, value)


def _nothing(*_: Any, **__: Any) -> None:
    """A check that checks nothing."""


# -- redirect URIs -------------------------------------------------------------------------------------------------


def _matched(matches: Callable[[str, str], bool]) -> TakeOut:
    """Redirect URIs compared in this way instead of as strings."""

    def is_registered(requested: str, registered: Iterable[str]) -> bool:
        return any(matches(requested, uri) for uri in registered)

    return _replaced("broker.protocol.authorization_request.is_registered", is_registered)


def _host(url: str) -> str | None:
    try:
        return urlsplit(url.replace("\\", "/")).hostname
    except ValueError:
        return None


def _normal(url: str) -> str:
    """A URL as a helpful server tidies it up."""
    parts = urlsplit(unquote(url))
    return f"{parts.scheme}://{parts.netloc}{posixpath.normpath(parts.path or '/')}"


def _no_fragment(url: str) -> str:
    return url.partition("#")[0]


MATCHERS: dict[str, Callable[[str, str], bool]] = {
    "any redirect URI": lambda _requested, _uri: True,
    "redirect URIs by prefix": lambda requested, uri: requested.startswith(uri),
    "redirect URIs by suffix": lambda requested, uri: requested.endswith(uri),
    "redirect URIs by what they contain": lambda requested, uri: uri in requested,
    "redirect URIs by host": lambda requested, uri: _host(requested) == _host(uri),
    "redirect URIs by domain": lambda requested, uri: (_host(requested) or "").endswith(_host(uri) or "-"),
    "redirect URIs without case": lambda requested, uri: requested.lower() == uri.lower(),
    "redirect URIs after normalisation": lambda requested, uri: _normal(requested) == uri,
    "redirect URIs without fragment": lambda requested, uri: _no_fragment(requested) == uri,
    "redirect URIs without white space": lambda requested, uri: re.sub(r"[\s\0]", "", requested) == uri,
    "redirect URIs after Unicode normalisation": lambda requested, uri: (
        unicodedata.normalize("NFKC", requested).replace("\u3002", ".") == uri
    ),
    "redirect URIs by a pattern with dots": lambda requested, uri: re.match(uri, requested) is not None,
}


def _matched_in_dialects(matches: Callable[[str, str], bool]) -> TakeOut:
    """What a dialect with a free query forgives, forgiven too generously."""

    def with_free_query(registered: tuple[str, ...], sent: Parameters) -> tuple[str, ...]:
        asked = sent.get("redirect_uri") or ""
        return (*registered, asked) if any(matches(asked, uri) for uri in registered) else registered

    return _replaced("broker.endpoints.drop_in.authorize._with_free_query", with_free_query)


def _everybody_speaks_dialects(patch: pytest.MonkeyPatch) -> None:
    original = drop_in._adapted

    def adapted(dialect: ServedDialect, request: Request, client: Client, sent: Parameters) -> authorize.Adapted:
        return original(dialect, request, replace(client, dialect=dialect.name, require_pkce=False), sent)

    patch.setattr(drop_in, "_adapted", adapted)


def _logout_redirects_anywhere(patch: pytest.MonkeyPatch) -> None:
    def return_to(_: Client, parameters: Parameters) -> str | None:
        return parameters.get("post_logout_redirect_uri")

    patch.setattr(logout, "_return_to", return_to)


def _redirects_keep_the_method(patch: pytest.MonkeyPatch) -> None:
    def see_other(location: str, cookies: tuple[str, ...] = ()) -> Response:
        return Response(307, headers={"location": location}, cookies=cookies)

    patch.setattr(redirect_answer, "see_other", see_other)


# -- conditions of the store ---------------------------------------------------------------------------------------


def _without_condition(method: str, **conditions: str) -> TakeOut:
    """A write of the Grants that does not compare: argument -> the login's attribute, which is used instead."""
    original: Callable[..., Any] = getattr(Grants, method)

    def careless(self: Grants, grant_id: str, **arguments: Any) -> Any:
        login, _ = self.read(grant_id)
        if login is not None:
            arguments |= {name: getattr(login, attribute) for name, attribute in conditions.items()}
        return original(self, grant_id, **arguments)

    return lambda patch: patch.setattr(Grants, method, careless)


def _anybody_ends_a_login(patch: pytest.MonkeyPatch) -> None:
    original = ending.end

    def end(broker: Runtime, issuer: str, grant_id: str, reason: str, **arguments: Any) -> Grant | None:
        return original(broker, issuer, grant_id, reason, **arguments | {"client_id": None})

    patch.setattr(ending, "end", end)


def _consent_is_the_persons_alone(patch: pytest.MonkeyPatch) -> None:
    original = grants_store._consent_id
    patch.setattr(
        grants_store, "_consent_id", lambda subject, _, returns_to: original(subject, "any client", returns_to)
    )


def _consent_is_for_any_host(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(consent, "origin_of", lambda _redirect_uri: "any host")


def _any_white_space_between_cookies(patch: pytest.MonkeyPatch) -> None:
    original = gateway._cookies

    def stripped(event: Mapping[str, Any]) -> dict[str, str]:
        return original(dict(event) | {"cookies": [cookie.strip() for cookie in event.get("cookies", ())]})

    patch.setattr(gateway, "_cookies", stripped)


def _consent_counts_for_every_scope(patch: pytest.MonkeyPatch) -> None:
    def is_needed(broker: Runtime, client: Client, grant: grants_store.Grant) -> bool:
        given = broker.grants.consent(grant.subject, grant.client_id, origin_of(grant.redirect_uri))
        return not client.first_party and given is None

    patch.setattr(consent, "is_needed", is_needed)


def _pushed_request_is_anybodys(patch: pytest.MonkeyPatch) -> None:
    original = authorize._pushed

    def pushed(request: Request, broker: Runtime, client: Client, parameters: Parameters) -> Response:
        login, _ = broker.grants.read(authorize._pushed_id(broker, parameters))
        owner = broker.client(login.client_id) if login is not None else None
        return original(request, broker, owner or client, parameters)

    patch.setattr(authorize, "_pushed", pushed)


def _code_callback_again(patch: pytest.MonkeyPatch) -> None:
    """The state stays good, as if it were only looked up."""
    original, seen = callback._claim, dict[str, Any]()

    def claim(broker: Runtime, provider: Any, arrival: Any) -> Any:
        if arrival.handle.grant_id not in seen:
            seen[arrival.handle.grant_id] = original(broker, provider, arrival)
        return seen[arrival.handle.grant_id]

    patch.setattr(callback, "_claim", claim)


# -- browsers ------------------------------------------------------------------------------------------------------


def _cookies_are_not_compared(module: Any, function: str) -> TakeOut:
    """Every browser is taken for the one that the login began in."""

    def take_out(patch: pytest.MonkeyPatch) -> None:
        remembered: dict[str, str] = {}
        set_login, original = cookies.set_login, getattr(module, function)

        def setting(request: Request, name: str, value: str, lifetime: int, *, by_form: bool = False) -> str:
            remembered[name] = value
            return set_login(request, name, value, lifetime, by_form=by_form)

        def careless(request: Request, *arguments: Any) -> Any:
            return original(replace(request, cookies={**request.cookies, **remembered}), *arguments)

        patch.setattr(cookies, "set_login", setting)
        patch.setattr(module, function, careless)

    return take_out


def _headers_name_the_issuer(*names: str) -> TakeOut:
    def take_out(patch: pytest.MonkeyPatch) -> None:
        def request_of(event: Any, *, issuer: str, api_domain: str) -> Request:
            sent = {name.lower(): value for name, value in event.get("headers", {}).items()}
            host = next((sent[name] for name in names if name in sent), None)
            forwarded = re.search(r"host=([^;,]+)", host or "")
            named = f"https://{forwarded[1] if forwarded else host}" if host else issuer
            return gateway.request_of(event, issuer=named, api_domain=api_domain)

        patch.setattr("broker.endpoints.entry.request_of", request_of)

    return take_out


def _every_origin_is_answered(patch: pytest.MonkeyPatch) -> None:
    def headers(request: Request, _: Client) -> dict[str, str]:
        return cors._allowed(request.origin, credentials=True) if request.origin else {}

    patch.setattr(cors, "headers", headers)


def _every_origin_at_once(patch: pytest.MonkeyPatch) -> None:
    original = cors._allowed
    patch.setattr(cors, "_allowed", lambda _, *, credentials: original("*", credentials=credentials))


def _unescaped(module: str) -> TakeOut:
    return _replaced(f"broker.pages.{module}.escape", str)


# -- tokens --------------------------------------------------------------------------------------------------------


def _refresh_tokens_are_access_tokens(patch: pytest.MonkeyPatch) -> None:
    original = tokens.read_access_token

    def read(text: str, ring: KeyRing, issuer: str, **arguments: Any) -> AccessToken | None:
        handle = handles.read(Kind.REFRESH, text, ring)
        grant, _ = runtime().grants.read(handle.grant_id) if handle is not None else (None, None)
        if handle is None or grant is None:
            return original(text, ring, issuer, **arguments)
        return AccessToken(
            *(issuer, grant.client_id, grant.subject, (issuer,), grant.scope, grant.grant_id, handle.secret, 0, 0, 0)
        )

    patch.setattr(tokens, "read_access_token", read)


def _id_tokens_are_access_tokens(patch: pytest.MonkeyPatch) -> None:
    """Any JWT of ours counts; one without a grant secret is looked up by its session."""
    read = tokens.read_access_token

    def lenient(text: str, ring: KeyRing, issuer: str, **arguments: Any) -> AccessToken | None:
        claims = tokens.verify(text, ring, "JWT")
        if claims is None:
            return read(text, ring, issuer, **arguments)
        return AccessToken(*(issuer, claims["aud"], claims["sub"], (issuer,), ("openid",), claims["sid"], b"", 0, 0, 0))

    patch.setattr(tokens, "read_access_token", lenient)
    patch.setattr("broker.grants.alive.stands_behind_access", lambda *_: True)
    patch.setattr(userinfo, "_claims", lambda *_: {})


def _token_from_the_query(patch: pytest.MonkeyPatch) -> None:
    original = bearer.token_text

    def lenient(request: Request, *, in_form: bool) -> str:
        return request.query().get("access_token") or original(request, in_form=in_form)

    patch.setattr(bearer, "refuse_token_in_query", lambda _: None)
    patch.setattr(bearer, "token_text", lenient)


def _form_from_the_query(patch: pytest.MonkeyPatch) -> None:
    original = Request.strict_form

    def strict_form(request: Request) -> Parameters:
        return Parameters([*original(request).pairs(), *request.query().pairs()])

    patch.setattr(Request, "strict_form", strict_form)


def _codes_are_not_authenticated(patch: pytest.MonkeyPatch) -> None:
    """Neither a code's tag nor its secret is looked at before a replay ends the login."""
    read, diagnose = handles.read, authorization_code._diagnose

    def lenient(kind: Kind, text: str, ring: KeyRing) -> Handle | None:
        if kind is not Kind.CODE:
            return read(kind, text, ring)
        raw = from_b64url(text.removeprefix("tbc_"))
        _, key_id, grant_id, generation, due = handles._HEAD.unpack(raw[: handles._HEAD.size])
        secret = raw[handles._HEAD.size : -handles._TAG_BYTES]
        return Handle(kind, b64url(grant_id), generation, due, secret, key_id)

    def careless(broker: Runtime, issuer: Any, handle: Handle, *arguments: Any) -> Any:
        ending.end(broker, issuer.url, handle.grant_id, "code_replay")
        return diagnose(broker, issuer, handle, *arguments)

    patch.setattr(handles, "read", lenient)
    patch.setattr(authorization_code, "_diagnose", careless)


def _the_last_of_two_counts(patch: pytest.MonkeyPatch) -> None:
    def lenient(provider: Provider, pairs: Sequence[tuple[str, str]]) -> CallbackAnswer:
        return read_callback(provider, list(dict(pairs).items()))

    patch.setattr("broker.endpoints.callback.read_callback", lenient)


def _the_issuer_is_not_compared(patch: pytest.MonkeyPatch) -> None:
    def lenient(provider: Provider, pairs: Sequence[tuple[str, str]]) -> CallbackAnswer:
        return read_callback(provider, [pair for pair in pairs if pair[0] != "iss"])

    patch.setattr("broker.endpoints.callback.read_callback", lenient)


def _a_replayed_code_ends_nothing(patch: pytest.MonkeyPatch) -> None:
    original = ending.end

    def end(broker: Runtime, issuer: str, grant_id: str, reason: str, **arguments: Any) -> Grant | None:
        return None if reason == "code_replay" else original(broker, issuer, grant_id, reason, **arguments)

    patch.setattr(ending, "end", end)


def _the_scope_is_not_compared(patch: pytest.MonkeyPatch) -> None:
    original = Grants.rotate

    def rotate(self: Grants, grant_id: str, **arguments: Any) -> Any:
        return original(self, grant_id, **arguments | {"scope": ()})

    patch.setattr(Grants, "rotate", rotate)


def _clients_are_believed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("broker.protocol.client_authentication.verify", lambda _, client: client)


def _reconnects_are_anybodys(patch: pytest.MonkeyPatch) -> None:
    original = reconnect_request.asked_for

    def asked_for(broker: Runtime, client: Client, parameters: Parameters) -> Grant | None:
        handle = handles.read(Kind.RECONNECT, parameters.get("reconnect") or "", broker.keys.ring())
        old = broker.grants.read_grant(handle.grant_id) if handle is not None else None
        return original(broker, replace(client, client_id=old.client_id) if old is not None else client, parameters)

    patch.setattr(reconnect_request, "asked_for", asked_for)


def _reconnects_are_not_authenticated(patch: pytest.MonkeyPatch) -> None:
    read = handles.read

    def lenient(kind: Kind, text: str, ring: KeyRing) -> Handle | None:
        if kind is not Kind.RECONNECT:
            return read(kind, text, ring)
        _, key_id, grant_id, *_ = handles._HEAD.unpack(from_b64url(text.removeprefix("tbn_"))[: handles._HEAD.size])
        return Handle(kind, b64url(grant_id), key_id=key_id)

    patch.setattr(handles, "read", lenient)


def _exchange_is_for_everybody(patch: pytest.MonkeyPatch) -> None:
    original = token_exchange.exchange

    def exchange(broker: Runtime, issuer: Any, client: Client, asked: Any) -> Any:
        return original(broker, issuer, replace(client, token_exchange=("redbooth",)), asked)

    patch.setattr(token_exchange, "exchange", exchange)


def _any_subject_token(issuer: Issuer, _: Client, text: str) -> AccessToken | None:
    return tokens.read_access_token(text, issuer.ring, issuer.url)


def _proxy_is_for_everybody(_: Client, __: AccessToken, request: Request) -> str:
    return request.path_parameters["provider"]


def _any_path(request: Request) -> ApiCall:
    """The path as the gateway decoded it, cut at its slashes."""
    segments = tuple(request.path.split("/")[3:])
    return ApiCall(request.method, segments, request.raw_query, request.headers, request.body)


def _everything_goes_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(api, "FORWARDED", api.FORWARDED | {"cookie", "x-http-method-override", "x-original-url"})


def _everything_comes_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(api, "_RETURNED", api._RETURNED | {"set-cookie", "clear-site-data", "refresh"})


DEFENCES: tuple[Defence, ...] = (
    *(Defence("redirect_to_the_attacker", mistake, _matched(matches)) for mistake, matches in MATCHERS.items()),
    Defence(
        "redirect_to_the_attacker_by_a_pushed_request",
        "the check of pushed redirect URIs",
        _matched(MATCHERS["any redirect URI"]),
    ),
    *(
        Defence("redirect_to_the_attacker_at_a_dialects_path", mistake, _matched_in_dialects(MATCHERS[mistake]))
        for mistake in ("any redirect URI", "redirect URIs by host")
    ),
    Defence("challenge_stripped_at_a_dialects_path", "the client's dialect", _everybody_speaks_dialects),
    Defence("redirect_to_the_attacker_after_logout", "the registered addresses", _logout_redirects_anywhere),
    Defence(
        "parameters_smuggled_in_the_state",
        "the encoding of the answer",
        _replaced("broker.protocol.redirects.quote", lambda value, **_: value),
    ),
    Defence("form_sent_on_by_a_redirect", "303 for 307", _redirects_keep_the_method),
    Defence(
        "challenge_stripped",
        "required PKCE",
        _replaced("broker.protocol.pkce.check_challenge", _nothing),
    ),
    Defence("challenge_weakened", "S256 alone", _replaced("broker.protocol.pkce.METHODS", ("S256", "plain"))),
    Defence(
        "challenge_weakened_by_its_default",
        "the method that must be named",
        _replaced("broker.protocol.pkce.METHODS", ("S256", None)),
    ),
    Defence(
        "verifier_without_a_challenge",
        "the refusal of a verifier that nothing asked for",
        _without_condition("redeem", code_challenge="code_challenge"),
    ),
    Defence("code_injected", "the verifier", _without_condition("redeem", code_challenge="code_challenge")),
    Defence("code_of_another_client", "the code's client", _without_condition("redeem", client_id="client_id")),
    Defence("code_used_again", "the end of a replayed code's login", _a_replayed_code_ends_nothing),
    Defence(
        "verifier_guessed", "the count of attempts", lambda patch: patch.setattr(Grants, "count_attempt", _nothing)
    ),
    Defence("forged_code_ends_a_login", "the code's tag and secret", _codes_are_not_authenticated),
    Defence(
        "refresh_token_of_another_client",
        "the refresh token's client",
        _without_condition("rotate", client_id="client_id"),
    ),
    Defence(
        "refresh_token_stolen_before_use",
        "the end of the family",
        lambda patch: patch.setattr(refresh_token, "_end_family", _nothing),
    ),
    Defence(
        "refresh_token_stolen_before_use",
        "the limits of a retry",
        lambda patch: patch.setattr(refresh_token, "_is_retry", lambda *_: True),
    ),
    Defence(
        "refresh_token_used_after_the_window",
        "the end of the window",
        lambda patch: patch.setattr(refresh_token, "_is_retry", lambda *_: True),
    ),
    Defence("scope_widened_at_refresh", "the granted scope", _the_scope_is_not_compared),
    Defence("revocation_of_another_clients_login", "the revoked token's client", _anybody_ends_a_login),
    Defence("client_without_its_secret", "client authentication", _clients_are_believed),
    Defence("pushed_request_of_another_client", "the pushed request's client", _pushed_request_is_anybodys),
    Defence("refresh_token_as_access_token", "the kind of a token", _refresh_tokens_are_access_tokens),
    Defence("id_token_as_access_token", "the type of a JWT", _id_tokens_are_access_tokens),
    Defence("access_token_in_the_query", "the query that is not read", _token_from_the_query),
    Defence("credentials_in_the_query", "the query that is not read", _form_from_the_query),
    Defence(
        "bound_token_without_its_key",
        "the proof of the key",
        lambda patch: patch.setattr(bearer, "check_key", _nothing),
    ),
    Defence(
        "client_without_consent",
        "the question",
        lambda patch: patch.setattr(consent, "is_needed", lambda *_: False),
    ),
    Defence("consent_given_to_another_client", "the client in what is remembered", _consent_is_the_persons_alone),
    Defence("consent_taken_to_another_host", "the host in what is remembered", _consent_is_for_any_host),
    Defence("consent_given_to_less", "the scope in what is remembered", _consent_counts_for_every_scope),
    Defence("consent_in_another_browser", "the browser's cookie", _cookies_are_not_compared(consent_endpoint, "_open")),
    Defence(
        "consent_form_forged",
        "the form's token",
        lambda patch: patch.setattr(consent_endpoint, "secrets", SimpleNamespace(compare_digest=lambda *_: True)),
    ),
    Defence(
        "login_of_the_attacker_in_the_victims_browser",
        "the browser's cookie",
        _cookies_are_not_compared(callback, "_arrival"),
    ),
    Defence(
        "login_returned_by_another_provider", "the login's provider", _without_condition("claim", provider="provider")
    ),
    Defence("login_returned_by_another_issuer", "the issuer of the answer", _the_issuer_is_not_compared),
    Defence(
        "client_registered_with_a_dangerous_address",
        "the rules for redirect URIs",
        _replaced("broker.protocol.registration.redirect_uri_fault", _nothing),
    ),
    Defence(
        "device_let_in_by_a_foreign_page",
        "the form's token",
        _replaced(
            "broker.endpoints.device.secrets",
            SimpleNamespace(compare_digest=lambda *_: True, token_urlsafe=secrets.token_urlsafe),
        ),
    ),
    Defence(
        "device_let_in_by_a_form_of_a_neighbour",
        "what the browser says of where the form is from",
        lambda patch: patch.setattr(Request, "is_of_foreign_page", False),
    ),
    Defence(
        "access_token_tried_out_by_a_stranger",
        "the token's audience",
        _replaced("broker.endpoints.introspect._may_know", lambda *_: True),
    ),
    Defence(
        "reconnect_with_another_account",
        "the comparison of the accounts",
        _replaced("broker.grants.reconnect_request.require_same_account", _nothing),
    ),
    Defence("reconnect_of_another_clients_login", "the login's client", _reconnects_are_anybodys),
    Defence("reconnect_made_up", "the tag of the handle", _reconnects_are_not_authenticated),
    Defence("providers_token_for_any_client", "the client's own list", _exchange_is_for_everybody),
    *(
        Defence(attack, mistake, _replaced("broker.grants.token_exchange._subject_token", _any_subject_token))
        for attack, mistake in (
            ("providers_token_for_a_token_of_another_client", "the subject token's client"),
            ("providers_token_for_a_stolen_bound_token", "the proof of the key"),
        )
    ),
    Defence(
        "api_called_by_any_client",
        "the client's own list",
        _replaced("broker.endpoints.proxy._provider_for", _proxy_is_for_everybody),
    ),
    Defence(
        "api_called_beyond_what_is_allowed",
        "the provider's list",
        _replaced("broker.endpoints.proxy.is_allowed", lambda *_: True),
    ),
    Defence("api_called_around_the_list", "the rules for paths", _replaced("broker.endpoints.proxy._call", _any_path)),
    Defence("api_told_another_method_or_sender", "the headers that stay here", _everything_goes_on),
    Defence(
        "brokers_token_told_to_the_provider",
        "the parameter that is taken out",
        _replaced("broker.upstream.api._query", lambda _, query: query),
    ),
    Defence("provider_acts_on_the_brokers_origin", "the headers that do not come back", _everything_comes_back),
    Defence(
        "provider_acts_on_the_brokers_origin", "the answer's sandbox", _replaced("broker.endpoints.proxy._HARMLESS", {})
    ),
    Defence(
        "provider_redirects_to_the_attacker",
        "the end of a redirect that leads elsewhere",
        _replaced("broker.upstream.api._mapped", lambda *arguments: arguments[-1]),
    ),
    Defence(
        "provider_repeats_its_token",
        "the search for the token",
        _replaced("broker.upstream.api.quotes", lambda *_: False),
    ),
    Defence(
        "providers_token_in_two_parts",
        "the look at the ends of a part",
        _replaced("broker.upstream.api.is_cut_out_of", lambda *_, **__: False),
    ),
    Defence("provider_contradicts_itself", "the refusal of repeated parameters", _the_last_of_two_counts),
    Defence("callback_used_again", "the state that is used up", _code_callback_again),
    Defence("cookie_planted_behind_a_space", "what may stand between cookies", _any_white_space_between_cookies),
    Defence("cookie_planted_by_a_neighbour", "the prefix __Host-", lambda patch: patch.setattr(cookies, "_PREFIX", "")),
    Defence(
        "refresh_cookie_from_a_foreign_page",
        "the check of the origin",
        _replaced("broker.endpoints.refresh.require_own_origin", _nothing),
    ),
    Defence(
        "refresh_cookie_of_the_attacker",
        "the check of the origin",
        _replaced("broker.endpoints.token.require_own_origin", _nothing),
    ),
    Defence("issuer_named_by_a_header", "the ignored X-Forwarded-Host", _headers_name_the_issuer("x-forwarded-host")),
    Defence("issuer_named_by_a_header", "the ignored Forwarded", _headers_name_the_issuer("forwarded")),
    Defence("issuer_named_by_a_header", "the ignored Host", _headers_name_the_issuer("host")),
    Defence("answer_read_by_a_foreign_page", "the client's origins", _every_origin_is_answered),
    Defence(
        "request_of_a_foreign_page",
        "the listed origins",
        _replaced("broker.client_directory.ClientDirectory.origin_is_listed", lambda *_: True),
    ),
    Defence("credentials_for_every_origin", "the exact origin", _every_origin_at_once),
    Defence("markup_in_a_clients_name", "escaping", _unescaped("inert")),
    Defence("markup_in_a_parameter", "escaping", _unescaped("page")),
    Defence(
        "page_in_a_frame_or_with_a_script",
        "the page's headers",
        _replaced("broker.pages.page.headers", lambda *_, **__: {"content-type": "text/html; charset=utf-8"}),
    ),
)

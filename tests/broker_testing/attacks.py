"""Attacks on OAuth servers and token brokers, each as an attacker would carry it out over HTTP (RFC 9700, published advisories).

An attack raises Breach when it got what it was after, and returns when it got nothing. It never looks inside the broker, so
that it can be carried out also against a broker whose defence was taken out (broker_testing/defences.py).
"""

from __future__ import annotations

import base64
import secrets
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import requests

from broker.runtime import runtime
from broker_testing.browser import Browser, forms
from broker_testing.device import GRANT_TYPE, Device
from broker_testing.journey import (
    CALLBACK,
    Login,
    TestClient,
    pkce_pair,
    post_form,
    refresh,
    register,
    revoke,
    userinfo,
)
from broker_testing.providers import provider_set
from broker_testing.proxy import ALLOWED, EXCHANGING, REACHING, call, exchange, provider_with
from broker_testing.registration import OPEN, ask_to_register, log_in, manage, metadata, policy_is, registered, visitor
from broker_testing.sandbox import end_at_provider, order_fault, start_counting
from broker_testing.signing import DPoPKey
from broker_testing.trouble import pass_time

EVIL = "evil.example"
TIMEOUT = 30
MARKUP = '"><img src=x onerror=alert(1)>'
AFTER_LOGOUT = "https://app.example/bye"

DIALECTS = {
    "infolobby": "/api/oauth/authorize",
    "lockitnetwork": "/oauth/authorize",
    "phpapi": "/api/authorize.php",
    "redbooth": "/oauth2/authorize",
    "iternio": "/oauth/auth",
}
FREE_QUERY = ("redbooth",)
"""Dialects in which a redirect URI may have any query."""

URL_TRICKS: tuple[str, ...] = (
    f"https://{EVIL}/callback",
    f"//{EVIL}/callback",
    f"/\\{EVIL}/callback",
    f"https://app.example.{EVIL}/callback",
    f"https://app.example@{EVIL}/callback",
    f"https://app.example%40{EVIL}/callback",
    f"https://app.example\\@{EVIL}/callback",
    f"https://{EVIL}\\@app.example/callback",
    f"https://{EVIL}#@app.example/callback",
    f"https://{EVIL}?https://app.example/callback",
    f"https://{EVIL}/https://app.example/callback",
    f"{CALLBACK}.{EVIL}",
    f"{CALLBACK}@{EVIL}",
    f"{CALLBACK}#@{EVIL}",
    f"{CALLBACK}#",
    f"{CALLBACK}/",
    f"{CALLBACK}/../elsewhere",
    f"{CALLBACK}/%2e%2e/elsewhere",
    f"{CALLBACK}?next=https://{EVIL}",
    f"{CALLBACK};x",
    f"{CALLBACK}%0d%0aset-cookie:a=b",
    f"{CALLBACK}\r\nset-cookie: a=b",
    f"{CALLBACK}\t",
    f" {CALLBACK}",
    f"{CALLBACK}\0",
    "https:\n//app.example/callback",
    "https://app\u3002example/callback",
    "https://\uff41pp.example/callback",
    "https://app.example./callback",
    "https://app.example:443/callback",
    "https://app.example/./callback",
    "https://app.example/x/../callback",
    "https://app.example//callback",
    "https://app.example/%63allback",
    "https://app.example/CALLBACK",
    "HTTPS://app.example/callback",
    "https://sub.app.example/callback",
    "http://app.example/callback",
    "app.example/callback",
    "javascript:alert(1)//https://app.example/callback",
    "data:text/html,https://app.example/callback",
)
"""Addresses that some parser or some browser takes for CALLBACK, or that differ from it in what some server forgives."""


class Breach(AssertionError):
    """The attacker got what he was after."""


Attack = Callable[[str], None]
ATTACKS: dict[str, Attack] = {}
"""By name. Each is given the broker's URL."""


def attack(function: Attack) -> Attack:
    """Add an attack."""
    ATTACKS[function.__name__] = function
    return function


def breach_if(succeeded: bool, what: str) -> None:
    """Errors: Breach."""
    if succeeded:
        raise Breach(what)


def _client(base: str, **attributes: Any) -> TestClient:
    return register(base, **{"providers": ("openid",)} | attributes)


def _location(response: requests.Response) -> str:
    return response.headers.get("location", "")


def _goes_on(login: Login, response: requests.Response) -> bool:
    """Whether the browser is sent to the provider."""
    return _location(response).startswith(f"{login.client.base}/sandbox/")


def _is_alive(client: TestClient, tokens: dict[str, Any]) -> bool:
    """Whether a login's access token and refresh token both still work."""
    return (
        userinfo(client.base, tokens["access_token"]).status_code == 200
        and refresh(client, tokens["refresh_token"]).status_code == 200
    )


@contextmanager
def _issuer_is(url: str) -> Iterator[None]:
    broker = runtime()
    before = broker.settings
    broker.settings = replace(before, issuer=url)
    try:
        yield
    finally:
        broker.settings = before


# -- where answers are sent ----------------------------------------------------------------------------------------


@attack
def redirect_to_the_attacker(base: str) -> None:
    """A code or an error to an address that is not the client's (RFC 9700 section 4.1, open redirect section 4.11)."""
    login = Login(_client(base))
    for trick in URL_TRICKS:
        for changes in ({}, {"scope": "unknown"}):
            response = Browser().get(login.authorize_url(**changes, redirect_uri=trick))
            breach_if(response.status_code != 400 or "location" in response.headers, f"authorize accepts {trick!r}")
            login.parameters["scope"] = "openid"


@attack
def redirect_to_the_attacker_by_a_pushed_request(base: str) -> None:
    """The same, pushed (RFC 9126 section 2.1)."""
    login = Login(_client(base, secret=True))
    for trick in URL_TRICKS:
        form = login.parameters | login.client.credentials() | {"redirect_uri": trick}
        breach_if(post_form(f"{base}/par", form).status_code != 400, f"par accepts {trick!r}")


@attack
def redirect_to_the_attacker_at_a_dialects_path(base: str) -> None:
    """The same where applications that were written for a provider's guide arrive, which is more forgiving."""
    for dialect, path in DIALECTS.items():
        login = Login(_client(base, secret=True, dialect=dialect))
        for trick in URL_TRICKS:
            if dialect in FREE_QUERY and trick.startswith(f"{CALLBACK}?"):
                continue
            sent = urlencode(login.parameters | {"redirect_uri": trick})
            response = Browser().get(f"{base}{path}?{sent}")
            breach_if(response.status_code != 400, f"{path} accepts {trick!r}")


@attack
def challenge_stripped_at_a_dialects_path(base: str) -> None:
    """A standard client's request sent where PKCE is not asked for (RFC 9700 section 2.1.1)."""
    login = Login(_client(base, secret=True))
    login.authorize_url(code_challenge=None, code_challenge_method=None)
    for path in DIALECTS.values():
        response = Browser().get(f"{base}{path}?{urlencode(login.parameters)}")
        breach_if(_goes_on(login, response), f"{path} lets a client of no dialect in")


@attack
def redirect_to_the_attacker_after_logout(base: str) -> None:
    """An open redirector at the sign-out page (OpenID Connect RP-Initiated Logout section 6)."""
    client = _client(base, post_logout_redirect_uris=(AFTER_LOGOUT,))
    hint = Login(client).tokens()["id_token"]
    for trick in (one.replace("callback", "bye") for one in URL_TRICKS):
        sent = {"id_token_hint": hint, "post_logout_redirect_uri": trick}
        response = requests.get(f"{base}/logout", params=sent, allow_redirects=False, timeout=TIMEOUT)
        breach_if("location" in response.headers, f"logout accepts {trick!r}")


@attack
def parameters_smuggled_in_the_state(base: str) -> None:
    """A state that brings a code of the attacker's, another issuer or a header into the client's answer."""
    for state in (f"x&code=injected&iss=https://{EVIL}", "x#code=injected", "x\r\nset-cookie: a=b"):
        login = Login(_client(base))
        location = _location(login.browser.get(login.callback_url(state=state)))
        sent = parse_qs(urlsplit(location).query)
        kept = sent.get("state") == [state] and len(sent.get("code", ())) == 1 and len(sent.get("iss", ())) == 1
        breach_if(not kept, f"the state {state!r} changed the answer")


@attack
def form_sent_on_by_a_redirect(base: str) -> None:
    """A redirect that makes the browser send the form, with what is in it, to the next server (RFC 9700 section 4.12)."""
    login = Login(_client(base, first_party=False))
    login.authorize_url()
    started = login.browser.post(f"{base}/authorize", login.parameters)
    breach_if(started.status_code in (307, 308), "authorize repeats the form at the provider")
    page = login.browser.follow(login.browser.get(login.at_provider(started)))
    decided = login.browser.submit(page, {"decision": "allow"})
    breach_if(decided.status_code in (307, 308), "consent repeats the form at the client")


# -- codes and PKCE ------------------------------------------------------------------------------------------------


@attack
def challenge_stripped(base: str) -> None:
    """The attacker takes the challenge out of a public client's request (RFC 9700 section 4.8)."""
    login = Login(_client(base))
    response = login.start(code_challenge=None, code_challenge_method=None)
    breach_if(_goes_on(login, response), "a public client logs in without PKCE")


@attack
def challenge_weakened(base: str) -> None:
    """The attacker makes the challenge one that shows its verifier (RFC 9700 section 2.1.1)."""
    verifier, _ = pkce_pair()
    login = Login(_client(base))
    for method in ("plain", "none", "s256"):
        response = login.start(code_challenge=verifier[:43], code_challenge_method=method)
        breach_if(_goes_on(login, response), f"the method {method} is accepted")


@attack
def challenge_weakened_by_its_default(base: str) -> None:
    """The same by leaving the method out, which means plain (RFC 7636 section 4.3)."""
    login = Login(_client(base))
    breach_if(_goes_on(login, login.start(code_challenge_method=None)), "a request without a method is accepted")


@attack
def verifier_without_a_challenge(base: str) -> None:
    """The challenge was stripped on the way, and the client, which has a verifier, does not notice (RFC 9700 section 4.8.2)."""
    login = Login(_client(base, secret=True, require_pkce=False))
    login.run(code_challenge=None, code_challenge_method=None)
    breach_if(login.redeem().status_code == 200, "a verifier is not missed in the request")


@attack
def code_injected(base: str) -> None:
    """A stolen code put into a login of the attacker's own at the same client (RFC 9700 section 4.5)."""
    client = _client(base)
    victim, attacker = Login(client), Login(client)
    victim.run()
    attacker.run(username="zoe")
    attacker.answer["code"] = victim.answer["code"]
    breach_if(attacker.redeem().status_code == 200, "the verifier of another login redeems the code")


@attack
def code_of_another_client(base: str) -> None:
    """A client redeems a code that was issued to another (RFC 6749 section 4.1.3)."""
    victim, attacker = Login(_client(base)), _client(base)
    victim.run()
    breach_if(victim.redeem(**attacker.credentials()).status_code == 200, "another client redeems the code")


@attack
def code_used_again(base: str) -> None:
    """A code that was redeemed before: the tokens of whoever was first must not outlive it (RFC 6749 section 4.1.2)."""
    login = Login(_client(base))
    tokens = login.tokens()
    breach_if(login.redeem().status_code == 200, "a code is redeemed twice")
    breach_if(userinfo(base, tokens["access_token"]).status_code == 200, "the first tokens live on after a replay")


@attack
def verifier_guessed(base: str) -> None:
    """Many verifiers for one code."""
    login = Login(_client(base))
    login.run()
    for _ in range(10):
        login.redeem(code_verifier=pkce_pair()[0])
    breach_if(login.redeem().status_code == 200, "a code survives ten wrong verifiers")


@attack
def forged_code_ends_a_login(base: str) -> None:
    """A code with the victim's grant id and a made-up secret, sent as if replayed, to sign the victim out."""
    login = Login(_client(base))
    tokens = login.tokens()
    prefix, text = login.answer["code"][:4], login.answer["code"][4:]
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    kept = len(raw) - 32 - 16
    forged = base64.urlsafe_b64encode(raw[:kept] + secrets.token_bytes(48)).rstrip(b"=").decode()
    for _ in range(2):
        login.redeem(code=prefix + forged)
    breach_if(not _is_alive(login.client, tokens), "a forged code ends a login")


# -- refresh tokens, revocation ------------------------------------------------------------------------------------


@attack
def refresh_token_of_another_client(base: str) -> None:
    """A client uses a refresh token that was issued to another (RFC 6749 section 10.4)."""
    tokens = Login(_client(base)).tokens()
    breach_if(refresh(_client(base), tokens["refresh_token"]).status_code == 200, "another client refreshes")


@attack
def refresh_token_stolen_before_use(base: str) -> None:
    """A thief copies a refresh token, its owner uses it; whoever comes second, the theft must end the login (RFC 9700 4.14)."""
    client = _client(base)
    stolen = Login(client).tokens()["refresh_token"]
    newest = refresh(client, stolen).json()
    newest = refresh(client, newest["refresh_token"]).json()
    breach_if(refresh(client, stolen).status_code == 200, "a refresh token two generations old is accepted")
    breach_if(_is_alive(client, newest), "the login lives on after the reuse of a refresh token")


@attack
def refresh_token_used_after_the_window(base: str) -> None:
    """The same one generation old, after the time in which the owner may repeat a lost request."""
    client = _client(base)
    stolen = Login(client).tokens()["refresh_token"]
    refresh(client, stolen)
    pass_time(120)
    breach_if(refresh(client, stolen).status_code == 200, "the predecessor is accepted after the window")


@attack
def scope_widened_at_refresh(base: str) -> None:
    """More than the person granted (RFC 6749 section 6)."""
    client = _client(base)
    tokens = Login(client).tokens(scope="openid")
    breach_if(refresh(client, tokens["refresh_token"], scope="openid email").status_code == 200, "the scope grew")


@attack
def revocation_of_another_clients_login(base: str) -> None:
    """A client signs out another client's people (RFC 7009 section 2.1)."""
    victim, attacker = _client(base), _client(base)
    tokens = Login(victim).tokens()
    revoke(attacker, tokens["refresh_token"])
    breach_if(not _is_alive(victim, tokens), "a foreign client revokes")


@attack
def client_without_its_secret(base: str) -> None:
    """Somebody who knows a confidential client's id alone (RFC 6749 section 3.2.1)."""
    login = Login(_client(base, secret=True))
    login.run()
    for secret in (None, "", "wrong", "undefined"):
        breach_if(login.redeem(client_secret=secret).status_code == 200, f"the secret {secret!r} is accepted")


@attack
def pushed_request_of_another_client(base: str) -> None:
    """A client uses the request_uri that another was given (RFC 9126 section 4)."""
    victim, attacker = Login(_client(base)), _client(base)
    form = victim.parameters | victim.client.credentials()
    request_uri = post_form(f"{base}/par", form).json()["request_uri"]
    sent = urlencode({"client_id": attacker.client_id, "request_uri": request_uri})
    breach_if(_goes_on(victim, Browser().get(f"{base}/authorize?{sent}")), "another client uses the request")


@attack
def client_registered_with_a_dangerous_address(base: str) -> None:
    """A stranger registers where codes or scripts would end up (RFC 7591 section 5)."""
    with policy_is(OPEN):
        for uri in (
            "javascript:alert(1)",
            "data:text/html,x",
            f"http://{EVIL}/cb",
            f"https://*.{EVIL}/",
            f"{CALLBACK}#x",
        ):
            response = ask_to_register(base, metadata(redirect_uris=[uri]))
            breach_if(response.status_code == 201, f"{uri} is registered")


@attack
def device_let_in_by_a_foreign_page(base: str) -> None:
    """The victim's browser is made to let the attacker's device in (CSRF, RFC 8628 section 5.4)."""
    device = Device(_client(base, grant_types=(GRANT_TYPE,), redirect_uris=())).begin()
    victim = Browser()
    victim.get(f"{base}/device")
    for token in ("", "x" * 43):
        sent = {"user_code": device.user_code, "token": token, "decision": "allow"}
        breach_if(victim.post(f"{base}/device", sent).status_code == 303, "a form that the page did not make counts")


@attack
def device_let_in_by_a_form_of_a_neighbour(base: str) -> None:
    """A host of the same site has planted the attacker's cookie somehow, and its page sends the attacker's own form."""
    device = Device(_client(base, grant_types=(GRANT_TYPE,), redirect_uris=())).begin()
    attacker = Browser()
    entered = attacker.submit(attacker.get(f"{base}/device"), {"user_code": device.user_code})
    (form,) = forms(entered)
    cookies = "; ".join(f"{name}={value}" for name, value in attacker.session.cookies.items())
    for site in ("same-site", "cross-site"):
        sent = {"cookie": cookies, "sec-fetch-site": site}
        response = Browser().post(f"{base}/device", form.fields | {"decision": "allow"}, sent)
        breach_if(response.status_code == 303, f"a {site} form with the attacker's cookie counts")


# -- access tokens -------------------------------------------------------------------------------------------------


@attack
def refresh_token_as_access_token(base: str) -> None:
    """A long-lived token at the resource (RFC 6750 section 5.2)."""
    tokens = Login(_client(base)).tokens()
    breach_if(userinfo(base, tokens["refresh_token"]).status_code == 200, "userinfo takes a refresh token")


@attack
def id_token_as_access_token(base: str) -> None:
    """A token that says who somebody is, where one is needed that says what may be done (RFC 9068 section 4)."""
    tokens = Login(_client(base)).tokens()
    breach_if(userinfo(base, tokens["id_token"]).status_code == 200, "userinfo takes an ID token")


@attack
def access_token_in_the_query(base: str) -> None:
    """Tokens in addresses end up in logs and histories (RFC 9700 section 4.3.2)."""
    token = Login(_client(base)).tokens()["access_token"]
    response = requests.get(f"{base}/userinfo", params={"access_token": token}, timeout=TIMEOUT)
    breach_if(response.status_code == 200, "userinfo takes a token from the query")


@attack
def credentials_in_the_query(base: str) -> None:
    """The same for what the token endpoint is sent (RFC 6749 section 2.3.1)."""
    client = _client(base, secret=True)
    tokens = Login(client).tokens()
    sent = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]} | client.credentials()
    response = post_form(f"{base}/token?{urlencode(sent)}", {"x": "y"})
    breach_if(response.status_code == 200, "the token endpoint reads the query")


@attack
def access_token_tried_out_by_a_stranger(base: str) -> None:
    """A server that the token is not for asks what it says (RFC 7662 section 4)."""
    tokens = Login(_client(base)).tokens()
    stranger = _client(base, secret=True)
    answer = post_form(f"{base}/introspect", {"token": tokens["access_token"]} | stranger.credentials())
    breach_if(answer.json() != {"active": False}, "introspection tells a stranger about a token")


@attack
def bound_token_without_its_key(base: str) -> None:
    """A stolen DPoP-bound token as a bearer token (RFC 9449 section 7.2)."""
    client, key = _client(base, dpop_bound=True), DPoPKey()
    key.learn_nonce(base)
    login = Login(client)
    login.run()
    form = login.code_form()
    response = key.post(f"{base}/token", form | client.credentials())
    assert response.status_code == 200, response.text
    token = response.json()["access_token"]
    breach_if(userinfo(base, token).status_code == 200, "userinfo takes a bound token without a proof")


# -- consent -------------------------------------------------------------------------------------------------------


def _third_party(base: str, **attributes: Any) -> TestClient:
    return _client(base, first_party=False, **attributes)


def _asked(login: Login, **changes: str) -> requests.Response:
    """The consent page of a login."""
    page = login.browser.follow(login.browser.get(login.callback_url(**changes)), stop=(login.client.redirect_uri,))
    assert page.status_code == 200, (page.status_code, page.text)
    return page


def _agree(login: Login, **changes: str) -> None:
    login.read_answer(login.browser.submit(_asked(login, **changes), {"decision": "allow"}))


def _is_let_in_silently(login: Login, **changes: str) -> bool:
    response = login.browser.get(login.callback_url(**changes))
    return "code=" in _location(response) and _location(response).startswith(login.client.redirect_uri)


@attack
def client_without_consent(base: str) -> None:
    """The provider approves the broker silently, so a stranger's client would get a login unasked (the confused deputy)."""
    breach_if(_is_let_in_silently(Login(_third_party(base))), "a third-party client is let in unasked")


@attack
def consent_given_to_another_client(base: str) -> None:
    """A client that nobody agreed to lives on the answer that another was given."""
    _agree(Login(_third_party(base)))
    breach_if(_is_let_in_silently(Login(_third_party(base))), "one client's consent counts for another")


@attack
def consent_given_to_less(base: str) -> None:
    """A client that a person gave a little takes more."""
    client = _third_party(base)
    _agree(Login(client), scope="openid")
    breach_if(_is_let_in_silently(Login(client), scope="openid email"), "an answer counts for a wider scope")


@attack
def consent_in_another_browser(base: str) -> None:
    """The attacker sends the address of his own login's question to the victim, or answers the victim's."""
    login, other = Login(_third_party(base)), Browser()
    page = _asked(login)
    breach_if(other.get(page.url).status_code == 200, "another browser sees the question")
    (form,) = forms(page)
    response = other.post(f"{base}/consent", form.fields | {"decision": "allow"})
    breach_if(response.status_code == 303, "another browser answers the question")


@attack
def consent_taken_to_another_host(base: str) -> None:
    """Who has stolen a client's registration access token lets its answers go to a host of his: the people who once agreed
    are not asked again, and send him their codes."""
    with policy_is(OPEN):
        client = registered(base)
        log_in(visitor(base, client))
        stolen = manage(client, "PUT", metadata(client_id=client["client_id"], redirect_uris=[f"https://{EVIL}/cb"]))
        runtime().forget()
        login = Login(visitor(base, stolen.json()))
        response = login.browser.get(login.callback_url())
        manage(stolen.json(), "DELETE")
        breach_if(EVIL in urlsplit(_location(response)).netloc, "the code goes to the new host, unasked")


@attack
def consent_form_forged(base: str) -> None:
    """A foreign page makes the victim's browser agree (CSRF)."""
    login = Login(_third_party(base))
    (form,) = forms(_asked(login))
    for token in ("", "x" * len(form.fields["token"])):
        response = login.browser.post(f"{base}/consent", form.fields | {"token": token, "decision": "allow"})
        breach_if(response.status_code == 303, "a form that the page did not make is accepted")


# -- the way back from the provider --------------------------------------------------------------------------------


@attack
def login_of_the_attacker_in_the_victims_browser(base: str) -> None:
    """The victim ends up in the attacker's account (login CSRF, RFC 9700 section 4.7)."""
    client = _client(base)
    attacker, victim = Login(client), Login(client)
    victim.start()
    response = victim.browser.get(attacker.callback_url())
    breach_if(response.status_code == 303, "another browser's login is completed")


@attack
def login_returned_by_another_provider(base: str) -> None:
    """A code of one provider at another provider's token endpoint (mix-up, RFC 9700 section 4.4)."""
    login = Login(_client(base, providers=("openid", "infolobby")))
    back = login.callback_url(provider="openid").replace("/callback/openid", "/callback/infolobby")
    breach_if(login.browser.get(back).status_code != 400, "the callback of another provider takes the login")


@attack
def login_returned_by_another_issuer(base: str) -> None:
    """The answer names an issuer that is not the provider's (mix-up, RFC 9207 section 2.4)."""
    with provider_set("infolobby", {"issuer": "https://honest.example"}):
        login = Login(_client(base, providers=("infolobby",)))
        response = login.browser.get(f"{login.callback_url()}&iss=https%3A%2F%2F{EVIL}")
        breach_if("code" in login.read_answer(response), "the answer of another issuer is taken")


def _reconnect(client: TestClient, tokens: dict[str, Any]) -> str:
    """What a client is given to reconnect a login whose provider has just ended it."""
    end_at_provider(client.base, "openid", "grant", "johndoe")
    pass_time(3600)
    answer = refresh(client, tokens["refresh_token"])
    return parse_qs(urlsplit(str(answer.json()["reconnect_url"])).query)["reconnect"][0]


@attack
def reconnect_with_another_account(base: str) -> None:
    """The attacker lets the victim reconnect, and puts his own account in the place of the victim's (RFC 9700 section 4.7)."""
    client = _client(base)
    reconnect = _reconnect(client, Login(client).tokens())
    login = Login(client)
    answer = login.run(username="zoe", reconnect=reconnect)
    breach_if("code" in answer, "another account takes the place of the one that was linked")


@attack
def reconnect_of_another_clients_login(base: str) -> None:
    """A client makes a login of its own pass for the recovery of another client's."""
    client, stranger = _client(base), _client(base)
    login = Login(stranger)
    started = login.start(reconnect=_reconnect(client, Login(client).tokens()))
    breach_if(_goes_on(login, started), "a client reconnects a login that is not its own")


@attack
def reconnect_made_up(base: str) -> None:
    """A login's id is in its ID tokens, so whoever sees one could name the login if the handle were no more than that."""
    client = _client(base)
    tokens = Login(client).tokens()
    sid = jwt.decode(tokens["id_token"], options={"verify_signature": False})["sid"]
    raw = struct.pack(">BH16sII", 1, 1, base64.urlsafe_b64decode(sid + "=="), 0, 0) + bytes(16)
    login = Login(client)
    started = login.start(reconnect="tbn_" + base64.urlsafe_b64encode(raw).rstrip(b"=").decode())
    breach_if(_goes_on(login, started), "a reconnect that nobody issued counts")


@attack
def provider_contradicts_itself(base: str) -> None:
    """Two codes in one answer: the sign of one put there by somebody else."""
    login = Login(_client(base))
    response = login.browser.get(login.callback_url().replace("?", "?code=injected&"))
    breach_if("code" in login.read_answer(response), "one of two codes is chosen")


@attack
def callback_used_again(base: str) -> None:
    """The same answer of the provider twice (RFC 9700 section 4.5)."""
    login = Login(_client(base))
    back = login.start()
    cookies = {cookie.name: cookie.value or "" for cookie in login.browser.session.cookies}
    back_url = login.at_provider(back)
    login.browser.get(back_url)
    again = requests.get(back_url, cookies=cookies, allow_redirects=False, timeout=TIMEOUT)
    breach_if(again.status_code == 303, "a callback counts twice")


@attack
def cookie_planted_by_a_neighbour(base: str) -> None:
    """A host of the same site plants the cookie of the attacker's login (cookie tossing, RFC 6265bis section 4.1.3.2).

    Browsers let it plant no cookie whose name begins with __Host-, so one without that prefix must not count.
    """
    attacker = Login(_client(base))
    with _issuer_is("https://broker.example"):
        started = attacker.start()
        name, _, value = started.headers["set-cookie"].partition(";")[0].partition("=")
        state = parse_qs(urlsplit(_location(started)).query)["state"][0]
        planted = {"cookie": f"{name.removeprefix('__Host-')}={value}"}
        sent = urlencode({"state": state, "error": "access_denied"})
        response = Browser().get(f"{base}/callback/openid?{sent}", planted)
    breach_if(response.status_code == 303, "a cookie that a neighbour can plant counts")


@attack
def cookie_planted_behind_a_space(base: str) -> None:
    """The same, with a character before __Host- that the browser takes for a part of the name, and the server for white space."""
    attacker = Login(_client(base))
    with _issuer_is("https://broker.example"):
        started = attacker.start()
        cookie = started.headers["set-cookie"].partition(";")[0]
        state = parse_qs(urlsplit(_location(started)).query)["state"][0]
        sent = urlencode({"state": state, "error": "access_denied"})
        for space in ("\x85", "\xa0", "\x1f", "\x0b"):
            response = Browser().get(f"{base}/callback/openid?{sent}", {"cookie": f"other=1;{space}{cookie}"})
            breach_if(response.status_code == 303, f"a cookie behind {space!r} counts")


@attack
def refresh_cookie_from_a_foreign_page(base: str) -> None:
    """A foreign page uses the cookie that the browser sends along (CSRF)."""
    client = _client(base, refresh_cookie=True)
    cookie = _redeemed_from(client, client.registered.origins[0]).headers["set-cookie"].partition(";")[0]
    for origin in (f"https://{EVIL}", "null", f"{client.registered.origins[0]}.{EVIL}"):
        headers = {"origin": origin, "cookie": cookie, "x-requested-with": "fetch"}
        response = post_form(f"{base}/refresh", {"client_id": client.client_id}, headers=headers)
        breach_if(response.status_code == 200, f"a page of {origin} refreshes")


@attack
def refresh_cookie_of_the_attacker(base: str) -> None:
    """A foreign page logs the victim's browser in as the attacker, by a code of his (login CSRF)."""
    client = _client(base, refresh_cookie=True)
    response = _redeemed_from(client, f"https://{EVIL}")
    breach_if("set-cookie" in response.headers, "a foreign page has a cookie set")


def _redeemed_from(client: TestClient, origin: str) -> requests.Response:
    """The answer to a code that a page of this origin exchanges."""
    login = Login(client)
    login.run()
    form = login.code_form()
    return post_form(f"{client.base}/token", form | client.credentials(), headers={"origin": origin})


# -- the provider's token and its API ------------------------------------------------------------------------------


def _of_redbooth(base: str, **attributes: Any) -> tuple[TestClient, str]:
    """A client and an access token of it, of a login at the provider that has an API."""
    client = register(base, **{"providers": ("redbooth",)} | attributes)
    return client, Login(client, "redbooth").tokens()["access_token"]


def _is_the_providers(response: requests.Response) -> bool:
    """Whether the provider was called, and its answer passed on."""
    return "received-status" in response.headers.get("proxy-status", "")


@attack
def providers_token_for_any_client(base: str) -> None:
    """A client that the operator did not choose asks for the provider's token (RFC 8693 section 5)."""
    client, token = _of_redbooth(base, **EXCHANGING | {"token_exchange": ("infolobby",)})
    breach_if(exchange(client, token).status_code == 200, "whoever asks gets the provider's token")


@attack
def providers_token_for_a_token_of_another_client(base: str) -> None:
    """A client that may have the provider's tokens has them for logins that were never its own."""
    _, token = _of_redbooth(base)
    client, _ = _of_redbooth(base, **EXCHANGING)
    breach_if(exchange(client, token).status_code == 200, "another client's token is as good")


@attack
def providers_token_for_a_stolen_bound_token(base: str) -> None:
    """A bound token, found without its key, is exchanged for one that needs no key (RFC 9449 section 11.4)."""
    client, key = register(base, **EXCHANGING), DPoPKey()
    key.learn_nonce(base)
    login = Login(client)
    login.run()
    form = login.code_form()
    token = key.post(f"{base}/token", form | client.credentials()).json()["access_token"]
    breach_if(exchange(client, token).status_code == 200, "the key is not asked for")


@attack
def api_called_by_any_client(base: str) -> None:
    """A client that may not use the proxy uses it."""
    client, token = _of_redbooth(base, proxy=())
    with provider_with(api_allow=list(ALLOWED)):
        breach_if(_is_the_providers(call(client, token, "echo")), "whoever has a token calls the API")


@attack
def api_called_beyond_what_is_allowed(base: str) -> None:
    """Other methods and paths than those that the operator lists."""
    client, token = _of_redbooth(base, **REACHING)
    with provider_with(api_allow=["GET /echo"]):
        for method, path in (("DELETE", "echo"), ("GET", "me"), ("GET", "echo/")):
            breach_if(_is_the_providers(call(client, token, path, method)), f"{method} {path} goes through")


@attack
def api_called_around_the_list(base: str) -> None:
    """Paths that the broker reads in one way and the provider in another (path traversal)."""
    client, token = _of_redbooth(base, **REACHING)
    with provider_with(api_allow=["GET /echo/**"]):
        for path in ("echo/../me", "echo/%2e%2e/me", "echo/..%2fme", "echo/%252e%252e/me", "echo/..;/me", "echo//me"):
            breach_if(_is_the_providers(call(client, token, path)), f"{path} goes through")


@attack
def api_told_another_method_or_sender(base: str) -> None:
    """Headers that a provider believes: another method, another path, another sender, another person's cookie."""
    client, token = _of_redbooth(base, **REACHING)
    sent = {"cookie": "session=1", "x-http-method-override": "DELETE", "x-original-url": "/", "x-forwarded-host": EVIL}
    with provider_with(api_allow=list(ALLOWED)):
        seen = call(client, token, "echo", "POST", headers=sent).json()["headers"]
    breach_if(bool(set(sent.items()) & set(seen.items())), "the provider gets what the client made up")


@attack
def brokers_token_told_to_the_provider(base: str) -> None:
    """A client that writes its token into the URL, as some libraries do, shows it to the provider."""
    client, token = _of_redbooth(base, **REACHING)
    start_counting(base, "redbooth")
    with provider_with(api_allow=list(ALLOWED)):
        call(client, token, f"echo?access_token={token}")
    (seen,) = requests.get(f"{base}/sandbox/_calls?provider=redbooth", timeout=TIMEOUT).json()["calls"]
    breach_if("access_token" in seen["parameters"], "the provider gets a token of the broker's")


@attack
def provider_acts_on_the_brokers_origin(base: str) -> None:
    """Cookies, wiped storage, pages with scripts: what an API sends, a browser takes as the broker's (session fixation)."""
    client, token = _of_redbooth(base, **REACHING)
    with provider_with(api_allow=list(ALLOWED)):
        answers = [call(client, token, path) for path in ("echo", "files/2/download")]
    for answer in answers:
        planted = {"set-cookie", "clear-site-data", "refresh"} & {name.lower() for name in answer.headers}
        breach_if(bool(planted), f"the answer has {planted}")
        sandboxed = "sandbox" in answer.headers.get("content-security-policy", "")
        breach_if(not sandboxed, "a page of the provider's is one of the broker's origin")


@attack
def provider_redirects_to_the_attacker(base: str) -> None:
    """A client that follows takes its token along, to wherever the provider says."""
    client, token = _of_redbooth(base, **REACHING)
    with provider_with(api_allow=list(ALLOWED)):
        order_fault(base, "redbooth", "api", "redirect", f"https://{EVIL}/")
        answer = call(client, token, "echo")
    breach_if(EVIL in _location(answer), "the redirect goes to the attacker")


@attack
def provider_repeats_its_token(base: str) -> None:
    """An API that quotes what it was sent: the client sees the token that it must not see."""
    client, token = _of_redbooth(base, **REACHING)
    with provider_with(api_allow=list(ALLOWED)):
        breach_if(_is_the_providers(call(client, token, "indiscreet")), "the provider's token comes back")


@attack
def providers_token_in_two_parts(base: str) -> None:
    """The same API, asked for a part of its answer and for the rest: neither has the whole token."""
    client, token = _of_redbooth(base, **REACHING)
    ranges = ("bytes=0-23", "bytes=24-9999")
    with provider_with(api_allow=list(ALLOWED)):
        parts = [call(client, token, "indiscreet", headers={"range": part}) for part in ranges]
    breach_if(all(_is_the_providers(part) for part in parts), "the provider's token comes back in parts")


# -- what browsers and pages are told ------------------------------------------------------------------------------


@attack
def issuer_named_by_a_header(base: str) -> None:
    """Headers that a client or a careless proxy sets decide where people and answers go (RFC 9700 section 4.13)."""
    login = Login(_client(base))
    for headers in (
        {"x-forwarded-host": EVIL, "x-forwarded-proto": "https"},
        {"forwarded": f"host={EVIL};proto=https"},
        {"host": EVIL},
    ):
        for path in ("/.well-known/openid-configuration", "/authorize?client_id=nobody", "/userinfo"):
            response = requests.get(base + path, headers=headers, allow_redirects=False, timeout=TIMEOUT)
            breach_if(EVIL in response.text + str(response.headers), f"{path} believes {headers}")
        started = Browser().get(login.authorize_url(), headers)
        breach_if(EVIL in _location(started), f"the redirect URI at the provider believes {headers}")


@attack
def answer_read_by_a_foreign_page(base: str) -> None:
    """Tokens and profiles for scripts of other origins (RFC 9700 section 2.6)."""
    client = _client(base)
    tokens = Login(client).tokens()
    own = client.registered.origins[0]
    for origin in (f"https://{EVIL}", "null", f"{own}.{EVIL}", own.replace("https", "http"), f"{own}:8443", "*"):
        bearer = {"origin": origin, "authorization": f"Bearer {tokens['access_token']}"}
        answers = (
            post_form(f"{base}/token", {"grant_type": "refresh_token"} | client.credentials(), headers=bearer),
            requests.get(f"{base}/userinfo", headers=bearer, timeout=TIMEOUT),
        )
        for answer in answers:
            breach_if("access-control-allow-origin" in answer.headers, f"a page of {origin} reads {answer.url}")


@attack
def request_of_a_foreign_page(base: str) -> None:
    """The same, asked for beforehand (Fetch, CORS-preflight)."""
    _client(base)
    for path in ("/token", "/refresh", "/revoke", "/userinfo"):
        for origin in (f"https://{EVIL}", "null", f"https://app.example.{EVIL}", "http://app.example"):
            headers = {"origin": origin, "access-control-request-method": "POST"}
            answer = requests.options(base + path, headers=headers, timeout=TIMEOUT)
            breach_if("access-control-allow-origin" in answer.headers, f"{path} lets a page of {origin} ask")


@attack
def credentials_for_every_origin(base: str) -> None:
    """A wildcard where cookies count (Fetch section 3.3.5)."""
    client = _client(base, refresh_cookie=True)
    own = client.registered.origins[0]
    headers = {"origin": own, "access-control-request-method": "POST"}
    for answer in (requests.options(f"{base}/refresh", headers=headers, timeout=TIMEOUT), _redeemed_from(client, own)):
        breach_if(answer.headers.get("access-control-allow-origin") != own, "another origin than the asking one")


@attack
def markup_in_a_clients_name(base: str) -> None:
    """Script in the page that asks the person, by the name of a client."""
    page = _asked(Login(_third_party(base, name=MARKUP)))
    breach_if("<img" in page.text, "the consent page has the attacker's markup")


@attack
def markup_in_a_parameter(base: str) -> None:
    """Script in a page of the broker's, by the parameters of a link."""
    login = Login(_client(base, providers=("openid", "infolobby")))
    chooser = login.start(state=MARKUP)
    assert chooser.status_code == 200, chooser.text
    breach_if("<img" in chooser.text, "the choice of providers has the attacker's markup")
    posted = Login(_client(base))
    page = posted.browser.get(posted.callback_url(response_mode="form_post", state=MARKUP))
    breach_if("<img" in page.text, "the form that brings the answer back has the attacker's markup")


@attack
def page_in_a_frame_or_with_a_script(base: str) -> None:
    """Clickjacking (RFC 9700 section 4.16), and what an injected script could do if there were one."""
    pages = (Browser().get(f"{base}/authorize"), _asked(Login(_third_party(base))), Browser().get(f"{base}/device"))
    for page in pages:
        policy = page.headers.get("content-security-policy", "")
        framed = "frame-ancestors 'none'" not in policy or page.headers.get("x-frame-options") != "DENY"
        breach_if(framed, f"{page.url} can be framed")
        breach_if("default-src 'none'" not in policy or "unsafe" in policy, f"{page.url} runs scripts")

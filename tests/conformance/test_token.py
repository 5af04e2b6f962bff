"""The token endpoint and the authorization code grant: RFC 6749 sections 3.2, 4.1.3 and 5, RFC 7636, OAuth 2.1."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from typing import Any
from urllib.parse import quote_plus

import jwt
import pytest
import requests

from broker.runtime import runtime
from broker_testing.conformance import Clients
from broker_testing.journey import (
    Login,
    TestClient,
    pkce_pair,
    post_form,
    refresh,
    userinfo,
)
from broker_testing.parallel import at_once
from broker_testing.trouble import pass_time, store_refuses
from conformance.wire import (
    assert_alive,
    assert_dead,
    assert_error,
    assert_goes_on,
    assert_invalid_client,
    assert_invalid_token,
    assert_method_not_allowed,
    assert_tokens,
    assert_unavailable,
    verified,
)

FORM = "application/x-www-form-urlencoded"


def with_code(client: TestClient, **parameters: Any) -> Login:
    """A login that has just got its code. `parameters`: of the authorization request; None removes one."""
    login = Login(client)
    login.run(**parameters)
    assert "code" in login.answer, login.answer
    return login


def basic(client_id: str, secret: str) -> dict[str, str]:
    """HTTP Basic as RFC 6749 section 2.3.1 has it: both values form-urlencoded first."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def post_raw(client: TestClient, body: str, content_type: str | None = FORM) -> requests.Response:
    """POST /token with a body written out."""
    headers = {} if content_type is None else {"content-type": content_type}
    return requests.post(f"{client.base}/token", data=body.encode(), headers=headers, timeout=30)


def encoded(form: dict[str, str]) -> str:
    """A form body."""
    return "&".join(f"{name}={quote_plus(value)}" for name, value in form.items())


# -- the request and the answer -----------------------------------------------------------------------------------


@pytest.mark.spec("TOK-61", "RFC 6749 5.1")
def test_success_has_the_members_and_headers_of_rfc_6749(clients: Clients) -> None:
    login = with_code(clients.public, scope="openid profile")
    tokens = assert_tokens(login.redeem())
    assert set(tokens) == {"access_token", "token_type", "expires_in", "scope", "refresh_token", "id_token"}
    assert tokens["scope"] == "openid profile"
    assert_alive(login.client, tokens["access_token"])
    assert_goes_on(login.client, tokens["refresh_token"])


@pytest.mark.spec("TOK-61", "RFC 6749 3.3")
def test_the_default_scope_is_named_in_the_answer(clients: Clients) -> None:
    tokens = assert_tokens(with_code(clients.public, scope=None).redeem())
    assert "openid" in tokens["scope"].split()


@pytest.mark.spec("TOK-62", "RFC 6749 3.2")
def test_only_post(clients: Clients) -> None:
    login = with_code(clients.public)
    form = login.code_form() | login.client.credentials()
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        response = requests.request(method, f"{login.client.base}/token", params=form, timeout=30)
        assert_method_not_allowed(response, "POST")
    assert_tokens(login.redeem())


@pytest.mark.spec("TOK-62", "RFC 6749 2.3.1")
def test_parameters_in_the_query_are_not_read(clients: Clients) -> None:
    login = with_code(clients.public)
    url = f"{login.client.base}/token"
    all_in_query = requests.post(
        url, params=login.code_form() | login.client.credentials(), data={"a": "b"}, timeout=30
    )
    assert_invalid_client(all_in_query)
    code_in_query = requests.post(
        url,
        params={"code": login.answer["code"]},
        data={k: v for k, v in login.code_form().items() if k != "code"} | login.client.credentials(),
        timeout=30,
    )
    assert_error(code_in_query, 400, "invalid_request")
    assert_tokens(login.redeem())


@pytest.mark.spec("TOK-63", "RFC 6749 4.1.3")
def test_other_content_types_are_not_parsed(clients: Clients) -> None:
    login = with_code(clients.public)
    form = login.code_form() | login.client.credentials()
    for content_type in (None, "application/json", "text/plain", "multipart/form-data; boundary=x"):
        assert_error(post_raw(login.client, encoded(form), content_type), 400, "invalid_request")
    assert_error(requests.post(f"{login.client.base}/token", json=form, timeout=30), 400, "invalid_request")
    assert_tokens(login.redeem())


@pytest.mark.spec("TOK-63", "RFC 6749 B")
def test_the_content_type_may_have_a_charset_and_any_case(clients: Clients) -> None:
    login = with_code(clients.public)
    body = encoded(login.code_form() | login.client.credentials())
    assert_tokens(post_raw(login.client, body, "Application/X-WWW-Form-URLencoded; charset=UTF-8"))


@pytest.mark.spec("TOK-64", "RFC 6749 3.2")
def test_a_repeated_parameter_is_refused(clients: Clients) -> None:
    """Also when both are equal, when one is empty, and when nobody needs it."""
    login = with_code(clients.public)
    form = login.code_form() | login.client.credentials()
    same = [encoded({name: value}) for name, value in form.items()]
    for again in (*same, "code=", "client_id=", "client_id=other", "scope=a&scope=a", "scope=a&scope="):
        for body in (f"{encoded(form)}&{again}", f"{again}&{encoded(form)}"):
            assert_error(post_raw(login.client, body), 400, "invalid_request")
    assert_tokens(login.redeem())


@pytest.mark.spec("TOK-65", "RFC 6749 3.2")
def test_unknown_parameters_are_ignored_and_empty_ones_are_omitted(clients: Clients) -> None:
    login = with_code(clients.public)
    empty = {"scope": "", "client_secret": "", "client_assertion": "", "client_assertion_type": "", "resource": ""}
    tokens = assert_tokens(login.redeem(foo="bar", **{"__proto__": "x", "scope[]": "y"}, **empty))
    assert_alive(login.client, tokens["access_token"])


@pytest.mark.spec("TOK-65", "RFC 6749 3.2")
def test_an_empty_required_parameter_is_missing(clients: Clients) -> None:
    login = with_code(clients.public)
    assert_error(login.redeem(grant_type=""), 400, "invalid_request")
    assert_error(login.redeem(code=""), 400, "invalid_request")
    assert_tokens(login.redeem())


@pytest.mark.spec("TOK-66", "RFC 9700 2.4")
def test_grant_type_missing_or_unsupported(clients: Clients) -> None:
    login = with_code(clients.public)
    assert_error(login.redeem(grant_type=None), 400, "invalid_request")
    for grant_type in ("password", "implicit", "Authorization_Code", "authorization_code ", "nonsense"):
        response = login.redeem(grant_type=grant_type, username="johndoe", password="sandbox")
        assert_error(response, 400, "unsupported_grant_type")
    assert_tokens(login.redeem())


@pytest.mark.spec("TOK-66", "RFC 6749 5.2")
def test_grant_type_not_for_this_client(clients: Clients) -> None:
    """A client without the refresh_token grant gets no refresh token, and may not use another client's either."""
    tokens = assert_tokens(with_code(clients.no_refresh).redeem())
    assert "refresh_token" not in tokens
    others = assert_tokens(with_code(clients.public).redeem())
    assert_error(refresh(clients.no_refresh, others["refresh_token"]), 400, "unauthorized_client")
    form = {"refresh_token": others["refresh_token"]} | clients.no_refresh.credentials()
    assert_error(post_form(f"{clients.base}/refresh", form), 400, "unauthorized_client")
    assert_goes_on(clients.public, others["refresh_token"])


# -- client authentication ----------------------------------------------------------------------------------------


@pytest.mark.spec("TOK-67", "RFC 6749 5.2")
def test_wrong_secret_by_basic(clients: Clients) -> None:
    login = with_code(clients.confidential)
    headers = basic(login.client.client_id, "wrong")
    assert_invalid_client(post_form(f"{login.client.base}/token", login.code_form(), headers=headers))
    assert_tokens(login.redeem())


@pytest.mark.spec("TOK-67", "RFC 6749 2.3.1")
def test_right_secret_by_basic_in_any_case_of_the_scheme(clients: Clients) -> None:
    login = with_code(clients.confidential)
    assert login.client.secret is not None
    url, headers = f"{login.client.base}/token", basic(login.client.client_id, login.client.secret)
    for scheme in ("basic", "BASIC"):
        again = {"authorization": headers["authorization"].replace("Basic", scheme)}
        # The code is what is wrong, no longer the client.
        assert_error(post_form(url, login.code_form(), {"code": "x"}, headers=again), 400, "invalid_grant")
    assert_tokens(post_form(url, login.code_form(), headers=headers))


@pytest.mark.spec("TOK-68", "RFC 6749 5.2")
def test_an_unknown_client_and_a_wrong_secret_look_the_same(clients: Clients) -> None:
    login = with_code(clients.confidential)
    wrong = login.redeem(client_secret="wrong")
    unknown = login.redeem(client_id=f"nobody-{secrets.token_hex(4)}", client_secret="wrong")
    unknown_public = login.redeem(client_id=f"nobody-{secrets.token_hex(4)}", client_secret=None)
    disabled = post_form(f"{login.client.base}/token", login.code_form() | clients.disabled.credentials())
    for response in (wrong, unknown, unknown_public, disabled):
        assert_invalid_client(response)
        assert response.content == wrong.content
        assert set(response.headers) == set(wrong.headers)
    assert_tokens(login.redeem())


@pytest.mark.spec("TOK-69", "RFC 6749 2.3")
@pytest.mark.parametrize("second", ["client_secret", "client_assertion", "client_assertion_type"])
def test_two_ways_of_authentication(clients: Clients, second: str) -> None:
    login = with_code(clients.confidential)
    assert login.client.secret is not None
    values = {"client_secret": login.client.secret, "client_assertion": "e30.e30.e30"}
    form = login.code_form() | {second: values.get(second, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")}
    headers = basic(login.client.client_id, login.client.secret)
    assert_error(post_form(f"{login.client.base}/token", form, headers=headers), 400, "invalid_request")
    if second != "client_secret":
        assert_error(login.redeem(**{second: form[second]}), 400, "invalid_request")
    assert_tokens(login.redeem())


@pytest.mark.spec("TOK-70", "RFC 6749 2.3")
def test_basic_and_body_name_different_clients(clients: Clients) -> None:
    login = with_code(clients.confidential)
    assert login.client.secret is not None
    headers = basic(login.client.client_id, login.client.secret)
    url = f"{login.client.base}/token"
    other = post_form(url, login.code_form() | {"client_id": clients.public.client_id}, headers=headers)
    assert_error(other, 400, "invalid_request")
    same = post_form(url, login.code_form() | {"client_id": login.client.client_id}, headers=headers)
    assert_tokens(same)


@pytest.mark.spec("TOK-71", "RFC 6749 2.3.1")
def test_basic_values_are_form_urlencoded(clients: Clients) -> None:
    """This client's id and secret have every character that the encoding is about."""
    client = clients.odd_credentials
    assert client.secret is not None
    login = with_code(client)
    url = f"{client.base}/token"
    assert_invalid_client(post_form(url, login.code_form(), headers=basic(client.client_id, client.secret + "x")))
    tokens = assert_tokens(post_form(url, login.code_form(), headers=basic(client.client_id, client.secret)))
    assert_alive(client, tokens["access_token"])
    assert_goes_on(client, tokens["refresh_token"])


@pytest.mark.spec("TOK-71", "RFC 6749 5.2")
def test_basic_that_cannot_be_read(clients: Clients) -> None:
    """Not base64, not UTF-8, without a colon, without a client id."""
    login = with_code(clients.confidential)
    for credentials in ("", "!!!", "YTpi=", "YTpi YTpi", "/w==", "YWJj", "OnNlY3JldA==", "%%%%"):
        headers = {"authorization": f"Basic {credentials}"}
        assert_invalid_client(post_form(f"{login.client.base}/token", login.code_form(), headers=headers))
    assert_tokens(login.redeem())


@pytest.mark.spec("TOK-72", "RFC 6749 3.2.1")
def test_a_confidential_client_must_authenticate(clients: Clients) -> None:
    login = with_code(clients.confidential)
    assert_invalid_client(login.redeem(client_secret=None))
    assert_invalid_client(login.redeem(client_secret=""))
    assert_invalid_client(post_form(f"{login.client.base}/token", login.code_form()))
    assert_tokens(login.redeem())


@pytest.mark.spec("TOK-72", "RFC 6749 2.3")
def test_other_schemes_than_basic_are_no_client_authentication(clients: Clients) -> None:
    login = with_code(clients.confidential)
    headers = {"authorization": f"Bearer {login.client.secret}"}
    form = login.code_form() | {"client_id": login.client.client_id}
    assert_invalid_client(post_form(f"{login.client.base}/token", form, headers=headers))
    assert_tokens(login.redeem())


@pytest.mark.spec("TOK-72", "OpenID Connect Core 9")
def test_only_the_method_that_was_registered(clients: Clients) -> None:
    by_basic, by_post = clients.confidential_basic, clients.confidential_post
    assert by_basic.secret is not None
    assert by_post.secret is not None
    url = f"{by_basic.base}/token"
    login = with_code(by_basic)
    assert_invalid_client(login.redeem())
    assert_tokens(post_form(url, login.code_form(), headers=basic(by_basic.client_id, by_basic.secret)))
    login = with_code(by_post)
    headers = basic(by_post.client_id, by_post.secret)
    assert_invalid_client(post_form(url, login.code_form(), headers=headers))
    assert_tokens(login.redeem())


@pytest.mark.spec("TOK-72", "RFC 6749 2.1")
def test_a_public_client_has_no_secret(clients: Clients) -> None:
    login = with_code(clients.public)
    assert_invalid_client(login.redeem(client_secret="anything"))
    headers = basic(login.client.client_id, "anything")
    assert_invalid_client(post_form(f"{login.client.base}/token", login.code_form(), headers=headers))
    assert_tokens(login.redeem())


# -- the code -----------------------------------------------------------------------------------------------------


@pytest.mark.spec("TOK-74", "RFC 6749 5.2")
def test_code_missing(clients: Clients) -> None:
    login = with_code(clients.public)
    assert_error(login.redeem(code=None), 400, "invalid_request")
    assert_tokens(login.redeem())


@pytest.mark.spec("TOK-74", "RFC 6749 5.2")
def test_unknown_codes(clients: Clients) -> None:
    login = with_code(clients.public)
    code = login.answer["code"]
    forged = [
        code[:position] + ("A" if code[position] != "A" else "B") + code[position + 1 :]
        for position in range(0, len(code), 7)
    ]
    for unknown in ("x", "tbc_", "tbc_" + "A" * 100, code[:-1], code + "A", code.swapcase(), "tbc_é\0", *forged):
        assert_error(login.redeem(code=unknown), 400, "invalid_grant")
    assert_tokens(login.redeem())


@pytest.mark.local_only
@pytest.mark.spec("TOK-74", "RFC 6749 4.1.2")
def test_a_code_lives_sixty_seconds(clients: Clients) -> None:
    early, late = with_code(clients.public), with_code(clients.public)
    pass_time(55)
    assert_tokens(early.redeem())
    pass_time(6)
    assert_error(late.redeem(), 400, "invalid_grant")


@pytest.mark.spec("TOK-75", "RFC 6749 4.1.3")
def test_a_code_of_another_client(clients: Clients) -> None:
    """Refused, and not burnt: its own client can still redeem it."""
    login = with_code(clients.public)
    for other in (clients.other_public, clients.confidential):
        response = post_form(f"{other.base}/token", login.code_form() | other.credentials())
        assert_error(response, 400, "invalid_grant")
    tokens = assert_tokens(login.redeem())
    assert_alive(login.client, tokens["access_token"])


@pytest.mark.spec("TOK-76", "RFC 6749 4.1.3")
def test_another_redirect_uri(clients: Clients) -> None:
    client = clients.two_redirects
    first, second = client.registered.redirect_uris[:2]
    login = with_code(client, redirect_uri=first)
    for other in (second, first + "/", first.upper(), "https://evil.example/callback"):
        assert_error(login.redeem(redirect_uri=other), 400, "invalid_grant")
    tokens = assert_tokens(login.redeem(redirect_uri=first))
    assert_alive(client, tokens["access_token"])


@pytest.mark.spec("TOK-76", "OAuth 2.1 4.1.3")
def test_the_redirect_uri_may_be_left_out(clients: Clients) -> None:
    tokens = assert_tokens(with_code(clients.public).redeem(redirect_uri=None))
    assert_alive(clients.public, tokens["access_token"])


@pytest.mark.spec("TOK-76", "RFC 6749 4.1.3")
def test_a_client_of_oauth_2_0_must_repeat_the_redirect_uri(clients: Clients) -> None:
    """It is required if, and only if, the authorization request had it."""
    client = clients.redirect_uri_required
    login = with_code(client)
    assert_error(login.redeem(redirect_uri=None), 400, "invalid_grant")
    assert_tokens(login.redeem())
    assert_tokens(with_code(client, redirect_uri=None).redeem(redirect_uri=None))


@pytest.mark.spec("TOK-77", "RFC 7636 4.6")
def test_a_wrong_verifier(clients: Clients) -> None:
    """Missing, of another login, or the challenge itself, which everybody can read in the URL; then the right one."""
    login = with_code(clients.public)
    for verifier in (None, "", pkce_pair()[0], login.parameters["code_challenge"]):
        refused = login.redeem(code_verifier=verifier)
        assert_error(refused, 400, "invalid_grant")
        why = "does not match the code_challenge" if verifier else "is missing"
        assert refused.json()["error_description"] == f"code_verifier {why}"
    tokens = assert_tokens(login.redeem())
    assert_alive(login.client, tokens["access_token"])


@pytest.mark.spec("TOK-77", "RFC 7636 4.1")
def test_a_verifier_that_breaks_the_rules(clients: Clients) -> None:
    login = with_code(clients.public)
    stem = "a" * 42
    for verifier in (
        "short",
        stem,
        "a" * 129,
        f"{stem}+",
        f"{stem} ",
        f"{stem}=",
        "é" * 43,
        f"{stem}a\0",
        f"{stem}a\n",
    ):
        assert_error(login.redeem(code_verifier=verifier), 400, "invalid_grant")
    assert_tokens(login.redeem())


@pytest.mark.spec("TOK-77", "RFC 7636 7.1")
def test_guessing_verifiers_ends_a_code(clients: Clients) -> None:
    """Who has the right verifier is told so; whoever guesses never learns that it is of no use any more."""
    for wrong in ({"code_verifier": pkce_pair()[0]}, {"redirect_uri": "https://evil.example/callback"}):
        login = with_code(clients.public)
        answers = [login.redeem(**wrong) for _ in range(7)]
        for answer in answers:
            assert_error(answer, 400, "invalid_grant")
        assert len({answer.text for answer in answers}) == 1
        late = login.redeem()
        assert_error(late, 400, "invalid_grant")
        assert "tried too often" in late.json()["error_description"]


@pytest.mark.spec("TOK-77", "RFC 7636 4.1")
@pytest.mark.parametrize("length", [43, 128])
def test_verifiers_of_extreme_length(clients: Clients, length: int) -> None:
    verifier = ("a-._~Z09" * 16)[:length]
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    login = with_code(clients.public, code_challenge=challenge)
    assert_tokens(login.redeem(code_verifier=verifier))


@pytest.mark.spec("TOK-78", "RFC 9700 4.8.2")
def test_a_verifier_without_a_challenge(clients: Clients) -> None:
    client = clients.without_pkce
    login = with_code(client, code_challenge=None, code_challenge_method=None)
    assert_error(login.redeem(), 400, "invalid_request")
    tokens = assert_tokens(login.redeem(code_verifier=None))
    assert_alive(client, tokens["access_token"])


@pytest.mark.spec("TOK-79", "RFC 6749 4.1.2")
def test_a_code_used_twice_ends_the_login(clients: Clients) -> None:
    login = with_code(clients.public)
    tokens = assert_tokens(login.redeem())
    renewed = assert_goes_on(login.client, tokens["refresh_token"])
    assert_error(login.redeem(), 400, "invalid_grant")
    assert_dead(login.client, tokens)
    assert_dead(login.client, renewed)


@pytest.mark.local_only
@pytest.mark.spec("TOK-79", "RFC 6749 4.1.2")
def test_a_code_used_twice_ends_the_login_also_after_the_codes_lifetime(clients: Clients) -> None:
    login = with_code(clients.public)
    tokens = assert_tokens(login.redeem())
    pass_time(300)
    assert_alive(login.client, tokens["access_token"])
    assert_error(login.redeem(), 400, "invalid_grant")
    assert_dead(login.client, tokens)


@pytest.mark.spec("TOK-80", "OAuth 2.1 4.1.3")
def test_a_replay_that_proves_nothing_ends_nothing(clients: Clients) -> None:
    """Who replays a code without its verifier, its client or its redirect URI may be a thief: he must not log anybody out."""
    login = with_code(clients.confidential)
    tokens = assert_tokens(login.redeem())
    assert_error(login.redeem(code_verifier=pkce_pair()[0]), 400, "invalid_grant")
    assert_error(login.redeem(code_verifier=None), 400, "invalid_grant")
    assert_error(login.redeem(redirect_uri="https://evil.example/callback"), 400, "invalid_grant")
    assert_invalid_client(login.redeem(client_secret="wrong"))
    other = post_form(f"{login.client.base}/token", login.code_form() | clients.public.credentials())
    assert_error(other, 400, "invalid_grant")
    assert_alive(login.client, tokens["access_token"])
    assert_goes_on(login.client, tokens["refresh_token"])


@pytest.mark.spec("TOK-80", "RFC 6749 4.1.2")
def test_a_forged_code_of_a_live_login_ends_nothing(clients: Clients) -> None:
    login = with_code(clients.public)
    tokens = assert_tokens(login.redeem())
    code = login.answer["code"]
    for position in range(5, len(code), 11):
        forged = code[:position] + ("A" if code[position] != "A" else "B") + code[position + 1 :]
        assert_error(login.redeem(code=forged), 400, "invalid_grant")
    assert_goes_on(login.client, tokens["refresh_token"])


@pytest.mark.spec("TOK-81", "RFC 6749 4.1.2")
def test_twenty_redemptions_at_once(clients: Clients) -> None:
    """One succeeds; as the others were replays in every respect, the login is over afterwards."""
    login = with_code(clients.public)
    answers = at_once([login.redeem] * 20)
    won = [answer for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    for answer in answers:
        if answer is not won[0]:
            assert_error(answer, 400, "invalid_grant")
    assert_dead(login.client, assert_tokens(won[0]))


# -- what is issued -----------------------------------------------------------------------------------------------


@pytest.mark.spec("TOK-82", "RFC 8707 2.2")
def test_resource_at_the_token_endpoint(clients: Clients) -> None:
    client, base = clients.resources, clients.base
    api = client.registered.resources[0]
    login = with_code(client, resource=api)
    for wrong in (f"{api}/more", "https://unknown.example/", f"{api}#fragment", "relative"):
        assert_error(login.redeem(resource=wrong), 400, "invalid_target")
    tokens = assert_tokens(login.redeem(resource=api))
    assert verified(base, tokens["access_token"], audience=api, typ="at+jwt")["aud"] == api
    # A token for another resource is not one for userinfo (RFC 9068 section 4).
    assert_invalid_token(userinfo(base, tokens["access_token"]))
    own = assert_tokens(refresh(client, tokens["refresh_token"], resource=base))
    assert_alive(client, own["access_token"])
    assert_error(refresh(client, own["refresh_token"], resource=f"{api}/more"), 400, "invalid_target")
    again = assert_tokens(refresh(client, own["refresh_token"]))
    assert verified(base, again["access_token"], audience=api, typ="at+jwt")["aud"] == api


@pytest.mark.spec("TOK-82", "RFC 8707 2.2")
def test_a_resource_that_was_not_authorized(clients: Clients) -> None:
    """The client may ask for it, but did not when the person logged in."""
    client = clients.resources
    login = with_code(client)
    assert_error(login.redeem(resource=client.registered.resources[0]), 400, "invalid_target")
    tokens = assert_tokens(login.redeem())
    assert verified(client.base, tokens["access_token"], audience=client.base, typ="at+jwt")["aud"] == client.base


@pytest.mark.spec("TOK-83", "OpenID Connect Core 2")
def test_id_token(clients: Clients) -> None:
    login = with_code(clients.public, max_age="300")
    tokens = assert_tokens(login.redeem())
    base = login.client.base
    claims = verified(base, tokens["id_token"], audience=login.client.client_id, typ="JWT")
    assert claims["aud"] == login.client.client_id
    assert claims["nonce"] == login.parameters["nonce"]
    digest = hashlib.sha256(tokens["access_token"].encode()).digest()
    assert claims["at_hash"] == base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()
    assert type(claims["auth_time"]) is int
    assert claims["auth_time"] <= claims["iat"] < claims["exp"]
    assert claims["exp"] - claims["iat"] <= 3600
    assert assert_alive(login.client, tokens["access_token"])["sub"] == claims["sub"]
    renewed = assert_tokens(refresh(login.client, tokens["refresh_token"]))
    later = verified(base, renewed["id_token"], audience=login.client.client_id, typ="JWT")
    # OpenID Connect Core section 12.2.
    assert {name: later[name] for name in ("iss", "sub", "aud", "auth_time")} == {
        name: claims[name] for name in ("iss", "sub", "aud", "auth_time")
    }
    assert "nonce" not in later


@pytest.mark.spec("TOK-83", "OpenID Connect Core 3.1.2.1")
def test_no_id_token_without_openid(clients: Clients) -> None:
    tokens = assert_tokens(with_code(clients.public, scope="profile email").redeem())
    assert "id_token" not in tokens
    assert "id_token" not in assert_tokens(refresh(clients.public, tokens["refresh_token"]))


@pytest.mark.spec("TOK-87", "RFC 9068 2")
def test_access_token_is_a_jwt_of_rfc_9068(clients: Clients) -> None:
    login = with_code(clients.public, scope="openid profile")
    tokens = assert_tokens(login.redeem())
    claims = verified(login.client.base, tokens["access_token"], audience=login.client.base, typ="at+jwt")
    assert claims["client_id"] == login.client.client_id
    assert claims["scope"] == "openid profile"
    assert claims["exp"] - claims["iat"] == tokens["expires_in"]
    assert claims["sub"] == assert_alive(login.client, tokens["access_token"])["sub"]
    again = assert_tokens(refresh(login.client, tokens["refresh_token"]))
    other = jwt.decode(again["access_token"], options={"verify_signature": False})
    assert claims["jti"] != other["jti"]


@pytest.mark.spec("TOK-87", "RFC 9068 2.2.3")
def test_an_access_token_tells_nothing_about_the_person(clients: Clients) -> None:
    """It goes to every resource server; name and e-mail address are for the client alone, in the ID token."""
    tokens = assert_tokens(with_code(clients.public).redeem())
    claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    assert not {"name", "email", "preferred_username", "given_name", "picture"} & set(claims)


# -- CORS ---------------------------------------------------------------------------------------------------------


@pytest.mark.spec("TOK-85", "RFC 9700 2.6")
def test_cors_for_the_clients_own_origin(clients: Clients) -> None:
    login = with_code(clients.public)
    origin = clients.public.registered.origins[0]
    headers = {"origin": origin}
    form = login.code_form() | login.client.credentials()
    url = f"{login.client.base}/token"
    refused = post_form(url, form, {"code_verifier": "a" * 43}, headers=headers)
    assert_error(refused, 400, "invalid_grant")
    unknown = post_form(url, form, {"client_id": "nobody"}, headers=headers)
    assert_invalid_client(unknown)
    granted = post_form(url, form, headers=headers)
    assert_tokens(granted)
    for response in (refused, unknown, granted):
        assert response.headers["access-control-allow-origin"] == origin
        assert "origin" in re.split(r",\s*", response.headers["vary"].lower())
    assert "access-control-allow-credentials" not in granted.headers


@pytest.mark.spec("TOK-85", "RFC 9700 2.6")
@pytest.mark.parametrize("path", ["/token", "/refresh"])
@pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example.evil.example"])
def test_a_page_of_another_origin_uses_nothing_up(clients: Clients, origin: str, path: str) -> None:
    """It could not read the answer, so the code or token would be gone."""
    login = with_code(clients.public)
    url, form = f"{login.client.base}/token", login.code_form() | login.client.credentials()
    if path == "/refresh":
        token = assert_tokens(post_form(url, form))["refresh_token"]
        url, form = f"{login.client.base}/refresh", {"refresh_token": token} | login.client.credentials()
    assert_error(post_form(url, form, headers={"origin": origin}), 400, "invalid_request")
    assert_tokens(post_form(url, form))


@pytest.mark.spec("TOK-85", "RFC 9700 2.6")
@pytest.mark.parametrize("origin", ["chrome-extension://abcdefghijklmnop", "app://localhost", "null"])
def test_an_extension_or_app_has_an_origin_of_its_own_kind(clients: Clients, origin: str) -> None:
    """Which may read all answers, so nothing is lost there."""
    login = with_code(clients.public)
    form = login.code_form() | login.client.credentials()
    assert_tokens(post_form(f"{login.client.base}/token", form, headers={"origin": origin}))


@pytest.mark.spec("TOK-85", "RFC 9700 2.6")
def test_a_confidential_client_may_pass_on_an_origin(clients: Clients) -> None:
    """A backend may send what a browser sent it."""
    login = with_code(clients.confidential)
    form = login.code_form() | login.client.credentials()
    assert_tokens(post_form(f"{login.client.base}/token", form, headers={"origin": "https://elsewhere.example"}))


@pytest.mark.spec("TOK-85", "RFC 9700 2.6")
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://app.example.evil.example"])
def test_no_cors_for_other_origins(clients: Clients, origin: str) -> None:
    login = with_code(clients.public)
    response = post_form(
        f"{login.client.base}/token", login.code_form() | login.client.credentials(), headers={"origin": origin}
    )
    assert response.status_code == (200 if origin == "null" else 400), response.text
    preflight = preflight_of(login.client, "/token", origin)
    for answer in (response, preflight):
        assert not [name for name in answer.headers if name.lower().startswith("access-control-allow-")]
        assert "origin" in answer.headers["vary"].lower()


@pytest.mark.spec("TOK-85", "RFC 9700 2.6")
@pytest.mark.parametrize("path", ["/token", "/refresh", "/revoke", "/userinfo"])
def test_preflight(clients: Clients, path: str) -> None:
    origin = clients.public.registered.origins[0]
    response = preflight_of(clients.public, path, origin)
    assert response.status_code in (200, 204)
    assert response.headers["access-control-allow-origin"] == origin
    allowed = {name.lower() for name in re.split(r",\s*", response.headers["access-control-allow-headers"])}
    assert {"content-type", "authorization", "dpop"} <= allowed
    assert {"traceparent", "tracestate", "baggage", "sentry-trace"} <= allowed, "an SDK that traces calls adds them"
    methods = set(re.split(r",\s*", response.headers["access-control-allow-methods"]))
    assert methods == ({"GET", "POST"} if path == "/userinfo" else {"POST"})
    assert "origin" in response.headers["vary"].lower()


@pytest.mark.spec("TOK-85", "RFC 9110 15.5.6")
@pytest.mark.parametrize(
    "path", ["/token", "/refresh", "/revoke", "/par", "/introspect", "/device_authorization", "/userinfo"]
)
def test_a_page_can_read_that_the_method_is_wrong(clients: Clients, path: str) -> None:
    """`fetch(url)` is a GET, which needs no preflight."""
    origin = clients.public.registered.origins[0]
    method = "PUT" if path == "/userinfo" else "GET"
    response = requests.request(method, f"{clients.base}{path}", headers={"origin": origin}, timeout=30)
    assert_method_not_allowed(response, *(("GET", "POST") if path == "/userinfo" else ("POST",)))
    assert response.headers["access-control-allow-origin"] == origin
    stranger = requests.request(method, f"{clients.base}{path}", headers={"origin": "https://evil.example"}, timeout=30)
    assert_method_not_allowed(stranger, *(("GET", "POST") if path == "/userinfo" else ("POST",)))
    assert "access-control-allow-origin" not in stranger.headers


def preflight_of(client: TestClient, path: str, origin: str) -> requests.Response:
    """What a browser asks before it sends a request that a plain form could not make."""
    headers = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "dpop"}
    return requests.options(f"{client.base}{path}", headers=headers, timeout=30)


# -- the store is down --------------------------------------------------------------------------------------------


@pytest.mark.local_only
@pytest.mark.spec("TOK-86", "RFC 9110 15.6.4")
@pytest.mark.parametrize(
    "code", ["ProvisionedThroughputExceededException", "InternalServerError", "AccessDeniedException"]
)
def test_a_store_that_is_down_consumes_nothing(clients: Clients, code: str) -> None:
    login = with_code(clients.public)
    with store_refuses("UpdateItem", code):
        down = login.redeem()
    assert_unavailable(down)
    tokens = assert_tokens(login.redeem())
    with store_refuses("UpdateItem", code):
        down = refresh(login.client, tokens["refresh_token"])
    assert_unavailable(down)
    assert_goes_on(login.client, tokens["refresh_token"])


@pytest.mark.local_only
@pytest.mark.spec("TOK-86", "RFC 9110 15.6.4")
def test_a_registry_that_is_down_is_no_wrong_client(clients: Clients) -> None:
    login = with_code(clients.public)
    runtime().forget()
    with store_refuses("GetItem", "ThrottlingException"):
        down = login.redeem()
    assert_unavailable(down)
    assert_tokens(login.redeem())

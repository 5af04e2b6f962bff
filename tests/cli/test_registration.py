"""The pure rules of a client's registration."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from broker.protocol.clients import Client, ClientSecret
from broker.protocol.registration import InvalidRegistration, default_origins, redirect_uri_fault, validate_client
from broker.settings import LIMITS

PUBLIC = Client(client_id="app", name="App", redirect_uris=("https://app.example/cb",))
SECRET = ClientSecret("0" * 64, 1)
CONFIDENTIAL = replace(PUBLIC, auth_methods=("client_secret_basic",), secrets=(SECRET,))


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/callback",
        "https://app.example",
        "https://app.example:8443/cb?tenant=1&x=%20",
        "https://[2001:db8::1]/cb",
        "http://127.0.0.1/cb",
        "http://127.0.0.1:53211/cb",
        "http://[::1]:8000/cb",
        "http://localhost:3000/",
        "com.example.app:/oauth2redirect",
        "com.example.app://cb",
    ],
)
def test_redirect_uri_is_accepted(uri: str) -> None:
    assert redirect_uri_fault(uri) is None
    validate_client(replace(PUBLIC, redirect_uris=(uri,)), LIMITS)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("/callback", "not absolute"),
        ("app.example/callback", "not absolute"),
        ("https:///callback", "names no host"),
        ("https:callback", "names no host"),
        ("http://app.example/cb", "must use https"),
        ("http://127.0.0.1.evil.example/cb", "must use https"),
        ("http://localhost.evil.example/cb", "must use https"),
        ("http:/cb", "must use https"),
        ("https://app.example/cb#part", "fragment"),
        ("https://app.example/cb#", "fragment"),
        ("https://user@app.example/cb", "user name"),
        ("https://app.example@evil.example/cb", "user name"),
        ("https://*.app.example/cb", "wildcard"),
        ("https://app.example/*", "wildcard"),
        ("javascript:alert(1)", "must use https"),
        ("data:text/html,x", "must use https"),
        ("file:///etc/passwd", "must use https"),
        ("vbscript:x", "must use https"),
        ("myapp:/cb", "a dot in it"),
        ("com.example.app:", "a dot in it"),
        ("https://app.example/a b", "percent-encode"),
        ("https://app.example/\u00e9", "percent-encode"),
        ("https://app.example\\@evil.example/", "percent-encode"),
        ("https://app.example/cb\r\nSet-Cookie: x=y", "percent-encode"),
        ("https://app.example/%zz", "percent-encode"),
        ("", "percent-encode"),
        ("https://app.example:99999/cb", "cannot be read"),
        ("https://[::1/cb", "cannot be read"),
        ("https://app.example/cb?code=1", "query parameter code"),
        ("https://app.example/cb?a=b&iss=x", "query parameter iss"),
        ("https://app.example/" + "a" * 2000, "longer than 2000"),
    ],
)
def test_redirect_uri_is_refused(uri: str, words: str) -> None:
    assert words in (redirect_uri_fault(uri) or "")
    with pytest.raises(InvalidRegistration, match=words) as refused:
        validate_client(replace(PUBLIC, redirect_uris=(uri,)), LIMITS)
    assert refused.value.field == "redirect_uris"
    assert refused.value.rule.isprintable()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"client_id": ""}, "client_id"),
        ({"client_id": "-x"}, "client_id"),
        ({"client_id": "a b"}, "client_id"),
        ({"client_id": "a#b"}, "client_id"),
        ({"name": " "}, "name"),
        ({"name": "a\x1b[2J"}, "name"),
        ({"name": "a" * 101}, "name"),
        ({"redirect_uris": ()}, "redirect_uris"),
        ({"redirect_uris": ("https://a.example/",) * 2}, "redirect_uris"),
        ({"redirect_uris": tuple(f"https://a.example/{n}" for n in range(51))}, "redirect_uris"),
        ({"grant_types": ()}, "grant_types"),
        ({"grant_types": ("password",)}, "grant_types"),
        ({"grant_types": ("refresh_token",)}, "grant_types"),
        ({"require_pkce": False}, "require_pkce"),
        ({"secrets": (SECRET,)}, "secrets"),
        ({"auth_methods": ("client_secret_basic",)}, "secrets"),
        ({"auth_methods": ("client_secret_basic",), "secrets": (SECRET,) * 3}, "secrets"),
        ({"auth_methods": ("none", "client_secret_basic"), "secrets": (SECRET,)}, "auth_methods"),
        ({"auth_methods": ()}, "auth_methods"),
        ({"refresh_cookie": True}, "refresh_cookie"),
        (
            {"refresh_cookie": True, "origins": ("https://a.example",), "grant_types": ("authorization_code",)},
            "refresh_cookie",
        ),
        ({"origins": ("https://app.example/",)}, "origins"),
        ({"origins": ("https://App.example",)}, "origins"),
        ({"origins": ("https://app.example:443",)}, "origins"),
        ({"origins": ("http://app.example",)}, "origins"),
        ({"origins": ("https://*.example",)}, "origins"),
        ({"origins": ("*",)}, "origins"),
        ({"origins": ("null",)}, "origins"),
        ({"origins": ("https://[::1",)}, "origins"),
        ({"scope": ()}, "scope"),
        ({"scope": ("a b",)}, "scope"),
        ({"scope": ('a"',)}, "scope"),
        ({"scope": ("a\\",)}, "scope"),
        ({"scope": ("",)}, "scope"),
        ({"resources": ("api",)}, "resources"),
        ({"resources": ("https://api.example/#x",)}, "resources"),
        ({"resources": ("https://[api",)}, "resources"),
        ({"id_token_alg": "none"}, "id_token_alg"),
        ({"access_token_format": "saml"}, "access_token_format"),
        ({"access_token_lifetime": 59}, "access_token_lifetime"),
        ({"retry_window": 61}, "retry_window"),
        ({"idle_lifetime": 0}, "idle_lifetime"),
        ({"absolute_lifetime": 10**9}, "absolute_lifetime"),
    ],
)
def test_client_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRegistration) as refused:
        validate_client(replace(PUBLIC, **changes), LIMITS)
    assert refused.value.field == field
    assert str(refused.value) == f"{field}: {refused.value.rule}"


def test_clients_are_accepted() -> None:
    validate_client(PUBLIC, LIMITS)
    validate_client(replace(PUBLIC, refresh_cookie=True, origins=("http://localhost:3000",)), LIMITS)
    validate_client(replace(CONFIDENTIAL, require_pkce=False, retry_window=0), LIMITS)
    validate_client(replace(CONFIDENTIAL, secrets=(SECRET, ClientSecret("1" * 64, 2)), client_id="a:b"), LIMITS)


def test_a_confidential_client_gets_no_refresh_cookie() -> None:
    with pytest.raises(InvalidRegistration, match="refresh_cookie: is for public clients"):
        validate_client(replace(CONFIDENTIAL, refresh_cookie=True, origins=("https://app.example",)), LIMITS)


def test_origins_follow_from_redirect_uris_as_browsers_spell_them() -> None:
    uris = (
        "https://App.example:443/cb",
        "https://app.example/other",
        "http://localhost:3000/",
        "http://127.0.0.1:80/cb",
        "com.example.app:/cb",
    )
    client = replace(PUBLIC, redirect_uris=uris)
    assert default_origins(client) == ("https://app.example", "http://localhost:3000", "http://127.0.0.1")
    validate_client(replace(client, origins=default_origins(client)), LIMITS)
    assert default_origins(replace(CONFIDENTIAL, redirect_uris=uris)) == ()


@pytest.mark.parametrize("name", ["می\u200cخواهم", "👩\u200d👧", "Où\u00a0?", "1\u202f000"])
def test_names_of_all_languages(name: str) -> None:
    validate_client(replace(PUBLIC, name=name, software_id=name, contacts=(name,)), LIMITS)


@pytest.mark.parametrize("name", ["", " ", "\u200d", "a\u202eb", "a\u2028b", "a\0"])
def test_a_name_that_is_refused(name: str) -> None:
    refused = {
        "name": replace(PUBLIC, name=name),
        "software_id": replace(PUBLIC, software_id=name),
        "contacts": replace(PUBLIC, contacts=(name,)),
    }
    for field, client in refused.items():
        with pytest.raises(InvalidRegistration) as refusal:
            validate_client(client, LIMITS)
        assert refusal.value.field == field

"""How answers look on the wire, whatever they say: exact status, headers and body, as the RFCs have them.

Works on HTTP answers alone, so that the same assertions hold for a deployed broker.
"""

from __future__ import annotations

import http.client
import re
import select
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt
import requests

from broker_testing.journey import TestClient, refresh, userinfo

_ERROR_TEXT = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")
_CHALLENGE_PARAMETER = re.compile(r'([a-z_]+)="([^"]*)"')


def assert_error(response: requests.Response, status: int, code: str) -> None:
    """A JSON error as RFC 6749 section 5.2 has it, that no cache keeps."""
    assert response.status_code == status, (response.status_code, response.text)
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    document = response.json()
    assert document["error"] == code, document
    members = {"error", "error_description", "error_uri"}
    if code in ("invalid_grant", "invalid_token"):  # what only the person can give back (docs/links.md)
        members.add("reconnect_url")
    assert set(document) <= members
    assert _ERROR_TEXT.fullmatch(document.get("error_description", "")), document


def assert_invalid_client(response: requests.Response) -> None:
    """Client authentication failed: 401 with a challenge (RFC 6749 section 5.2)."""
    assert_error(response, 401, "invalid_client")
    assert re.fullmatch(r'Basic realm="[^"]+"', response.headers["www-authenticate"])


def assert_method_not_allowed(response: requests.Response, *allowed: str) -> None:
    """405 that names the methods there are (RFC 9110 section 15.5.6)."""
    assert_error(response, 405, "invalid_request")
    assert {method.strip() for method in response.headers["allow"].split(",")} == set(allowed)


def assert_unavailable(response: requests.Response) -> None:
    """503: nothing happened, and the same request may succeed later (RFC 9110 section 15.6.4)."""
    assert_error(response, 503, "temporarily_unavailable")
    assert int(response.headers["retry-after"]) >= 1


def assert_tokens(response: requests.Response) -> dict[str, Any]:
    """A successful token answer (RFC 6749 section 5.1); returns its members."""
    assert response.status_code == 200, (response.status_code, response.text)
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["pragma"] == "no-cache"
    document: dict[str, Any] = response.json()
    assert document["access_token"]
    assert document["token_type"] == "Bearer"
    assert type(document["expires_in"]) is int
    assert document["expires_in"] > 0
    return document


def challenge_of(response: requests.Response) -> dict[str, str]:
    """The parameters of a Bearer challenge, each there at most once (RFC 6750 section 3).

    It may be followed by the challenge of another scheme, DPoP (RFC 9449 section 7.1).
    """
    scheme, _, rest = response.headers["www-authenticate"].partition(" ")
    rest = rest.partition(", DPoP ")[0]
    assert scheme == "Bearer"
    pairs = _CHALLENGE_PARAMETER.findall(rest)
    assert ", ".join(f'{name}="{value}"' for name, value in pairs) == rest, "not a list of quoted parameters"
    assert len(dict(pairs)) == len(pairs), "a parameter is there twice"
    return dict(pairs)


def assert_invalid_token(response: requests.Response) -> None:
    """401 with the error that tells the client to get another token (RFC 6750 section 3.1)."""
    assert_error(response, 401, "invalid_token")
    assert challenge_of(response)["error"] == "invalid_token"


def assert_alive(client: TestClient, access_token: str) -> dict[str, Any]:
    """The access token is good: userinfo answers. Returns the claims."""
    response = userinfo(client.base, access_token)
    assert response.status_code == 200, (response.status_code, response.text)
    claims: dict[str, Any] = response.json()
    return claims


def assert_dead(client: TestClient, tokens: dict[str, Any]) -> None:
    """Both tokens of a token answer are refused: the login has ended."""
    assert_invalid_token(userinfo(client.base, tokens["access_token"]))
    assert_error(refresh(client, tokens["refresh_token"]), 400, "invalid_grant")


def assert_goes_on(client: TestClient, refresh_token: str) -> dict[str, Any]:
    """The refresh token is good, and so is what it gives. Returns the new token answer."""
    tokens = assert_tokens(refresh(client, refresh_token))
    assert_alive(client, tokens["access_token"])
    return tokens


def send_and_hang_up(url: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None) -> None:
    """POST a form, and close the connection when the answer arrives, without reading it: the network lost it."""
    parts = urlsplit(url)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(str(parts.hostname), parts.port, timeout=30)
    sent = {"content-type": "application/x-www-form-urlencoded"} | dict(headers or {})
    connection.request("POST", parts.path, urlencode(form), sent)
    arrived, _, _ = select.select([connection.sock], [], [], 30)
    assert arrived, "no answer within 30 s"
    connection.close()


def verified(base: str, token: str, *, audience: str, typ: str) -> dict[str, Any]:
    """The claims of a JWT of the broker, verified as a stranger would: by the keys that the metadata points to."""
    metadata = requests.get(f"{base}/.well-known/oauth-authorization-server", timeout=30).json()
    keys = jwt.PyJWKSet.from_dict(requests.get(metadata["jwks_uri"], timeout=30).json())
    header = jwt.get_unverified_header(token)
    assert header["typ"] == typ
    assert header["alg"] in ("RS256", "ES256")
    required = ["iss", "sub", "aud", "exp", "iat"]
    claims: dict[str, Any] = jwt.decode(
        token,
        keys[header["kid"]].key,
        algorithms=[header["alg"]],
        audience=audience,
        issuer=metadata["issuer"],
        options={"require": required, "verify_exp": False, "verify_iat": False},
    )
    return claims

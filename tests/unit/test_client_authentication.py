"""Client authentication: one way at a time, the same answer for every failure, and Basic in both spellings."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.protocol import client_authentication
from broker.protocol.clients import Client, ClientSecret, hash_secret
from broker.protocol.errors import OAuthError
from broker.protocol.parameters import parse

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
SECRET = "p%w+d é"


def a_client(client_id: str = "a:b", secret: str = SECRET) -> Client:
    return Client(
        client_id=client_id,
        name="c",
        redirect_uris=(),
        auth_methods=("client_secret_basic", "client_secret_post"),
        secrets=(ClientSecret(hash_secret(secret), 1),),
    )


def basic(client_id: str, secret: str, *, encoded: bool = True) -> str:
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}" if encoded else f"{client_id}:{secret}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def code_of(authorization: str | None, form: dict[str, str], client: Client | None) -> str:
    """The error code of an authentication, empty when it succeeds."""
    try:
        presented = client_authentication.read(authorization, parse(urlencode(form)))
        client_authentication.verify(presented, client)
    except OAuthError as error:
        return error.kind.code
    return ""


@given(TEXT, TEXT)
def test_form_encoded_basic_carries_every_id_and_secret(client_id: str, secret: str) -> None:
    """RFC 6749 section 2.3.1."""
    presented = client_authentication.read(basic(client_id, secret), parse(""))
    assert (presented.method, presented.client_id) == ("client_secret_basic", client_id)
    assert client_authentication.verify(presented, a_client(client_id, secret)).client_id == client_id


def test_raw_basic_is_taken_too() -> None:
    """Many clients leave out the encoding."""
    client = a_client("c1")
    assert code_of(basic("c1", SECRET, encoded=False), {}, client) == ""
    assert code_of(basic("c1", SECRET), {"client_id": "c1"}, client) == ""
    assert code_of(basic("c1", SECRET).replace("Basic", "bAsIc"), {}, client) == ""


def test_the_secret_in_the_body_is_taken() -> None:
    assert code_of(None, {"client_id": "a:b", "client_secret": SECRET}, a_client()) == ""


@pytest.mark.parametrize(
    ("authorization", "form"),
    [
        (basic("a:b", SECRET), {"client_secret": SECRET}),
        (basic("a:b", SECRET), {"client_id": "a:b", "client_secret": SECRET}),
        (basic("a:b", SECRET), {"client_id": "another"}),
    ],
)
def test_two_ways_at_once_are_refused(authorization: str, form: dict[str, str]) -> None:
    """RFC 6749 section 2.3, also when both are right."""
    assert code_of(authorization, form, a_client()) == "invalid_request"


@pytest.mark.parametrize(
    ("authorization", "form"),
    [
        (None, {}),
        (None, {"client_secret": SECRET}),
        (None, {"client_id": "a:b"}),
        (None, {"client_id": "a:b", "client_secret": "wrong"}),
        (basic("a:b", "wrong"), {}),
        (basic("a:b", ""), {}),
        (basic("", SECRET), {}),
        ("Basic", {"client_id": "a:b"}),
        ("Basic !!!", {"client_id": "a:b"}),
        ("Basic " + base64.b64encode(b"no colon").decode(), {}),
        ("Basic " + base64.b64encode(b"\xff:\xfe").decode(), {}),
        ("Digest x", {"client_id": "a:b"}),
        ("", {"client_id": "a:b"}),
    ],
)
def test_every_failure_is_invalid_client(authorization: str | None, form: dict[str, str]) -> None:
    assert code_of(authorization, form, a_client()) == "invalid_client"


def test_unknown_disabled_wrong_method_and_wrong_secret_cannot_be_told_apart() -> None:
    """Or anybody could find out which clients exist."""
    client = a_client()
    right = client_authentication.read(basic("a:b", SECRET), parse(""))
    wrong = client_authentication.read(basic("a:b", "wrong"), parse(""))
    refused = (
        (right, None),
        (right, replace(client, disabled=True)),
        (right, replace(client, auth_methods=("client_secret_post",))),
        (right, replace(client, auth_methods=("none",), secrets=())),
        (wrong, client),
        (wrong, None),
    )
    shown = set()
    for presented, known in refused:
        with pytest.raises(OAuthError) as error:
            client_authentication.verify(presented, known)
        shown.add((error.value.kind, error.value.description))
    assert len(shown) == 1
    assert client_authentication.verify(right, client) is client


def test_a_public_client_names_itself_and_sends_no_secret() -> None:
    public = Client(client_id="p", name="p", redirect_uris=())
    assert code_of(None, {"client_id": "p"}, public) == ""
    assert code_of(None, {"client_id": "p", "client_secret": "x"}, public) == "invalid_client"
    assert code_of(basic("p", "x"), {}, public) == "invalid_client"
    assert code_of(None, {"client_id": "a:b"}, a_client()) == "invalid_client"


def test_two_secrets_are_good_while_one_is_replaced() -> None:
    client = a_client()
    both = replace(client, secrets=(*client.secrets, ClientSecret(hash_secret("new"), 2)))
    for secret, expected in ((SECRET, ""), ("new", ""), ("old", "invalid_client")):
        assert code_of(None, {"client_id": "a:b", "client_secret": secret}, both) == expected


def test_no_secret_is_shown() -> None:
    presented = client_authentication.read(basic("a:b", SECRET), parse(""))
    assert SECRET not in repr(presented)
    assert hash_secret(SECRET) not in repr(a_client())


@given(st.text(max_size=60), st.text(max_size=20))
def test_no_header_raises_anything_else(credentials: str, client_id: str) -> None:
    for header in (credentials, f"Basic {credentials}", f"Basic {_encoded(credentials)}"):
        assert code_of(header, {"client_id": client_id}, None) in ("invalid_client", "invalid_request")


def _encoded(text: str) -> str:
    return binascii.b2a_base64(text.encode("utf-8", "surrogatepass"), newline=False).decode()

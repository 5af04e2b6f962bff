"""docs/verify-tokens.md: the sample for Python backends is run as it is written, against real tokens and wrong ones."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import requests

from broker.crypto import tokens
from broker.runtime import runtime
from broker_local.server import PROJECT
from broker_testing.journey import Login, register
from broker_testing.ports import free_port
from broker_testing.signing import DPoPKey, new_key

RESOURCE = "https://api.example/v1"


def sample(base: str, name: str = "verify") -> Callable[[str], Any]:
    """This function of the document's Python sample, aimed at this broker."""
    text = (PROJECT / "docs" / "verify-tokens.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code.replace("https://login.example.com", base), names)  # noqa: S102 - our own document
    function: Callable[[str], Any] = names[name]
    return function


def tokens_for(base: str, **attributes: Any) -> dict[str, Any]:
    """Tokens for the sample's resource."""
    login = Login(register(base, resources=(RESOURCE,), **attributes))
    login.parameters["resource"] = RESOURCE
    return login.tokens()


def test_a_good_token(base: str) -> None:
    answer = tokens_for(base)
    claims = sample(base)(answer["access_token"])
    assert claims["aud"] == RESOURCE
    assert claims["sub"] == jwt.decode(answer["id_token"], options={"verify_signature": False})["sub"]


def test_what_is_refused(base: str) -> None:
    verify = sample(base)
    answer = tokens_for(base)
    good = answer["access_token"]
    claims, header = jwt.decode(good, options={"verify_signature": False}), jwt.get_unverified_header(good)
    forged = jwt.encode(claims, new_key("ES256"), algorithm="ES256", headers=header)
    rsa = next(
        key["kid"] for key in requests.get(f"{base}/.well-known/jwks.json").json()["keys"] if key["kty"] == "RSA"
    )
    confused = jwt.encode(claims, new_key("ES256"), algorithm="ES256", headers=header | {"kid": rsa})
    unsigned = jwt.encode(claims, "", algorithm="none", headers={"typ": "at+jwt", "kid": header["kid"]})
    for_userinfo = Login(register(base)).tokens()["access_token"]
    for token in (
        answer["id_token"],
        answer["refresh_token"],
        forged,
        confused,
        unsigned,
        for_userinfo,
        f"{good[:-4]}AAAA",
    ):
        with pytest.raises(jwt.PyJWTError):
            verify(token)
        assert sample(base, "answer")(token) == (401, {"error": "invalid_token"})


def test_keys_that_cannot_be_fetched_say_nothing_about_the_token(base: str) -> None:
    token = tokens_for(base)["access_token"]
    assert sample(base, "answer")(token)[0] == 200
    nobody = f"http://127.0.0.1:{free_port()}"
    for place in (nobody, f"{base}/nowhere"):
        assert sample(place, "answer")(token) == (503, {"error": "temporarily_unavailable"})


def test_a_bound_token_is_not_taken_as_bearer(base: str) -> None:
    client, key = register(base, resources=(RESOURCE,)), DPoPKey()
    key.learn_nonce(base)
    login = Login(client)
    login.run(resource=RESOURCE)
    form = login.code_form() | client.credentials()
    with pytest.raises(jwt.InvalidTokenError, match="bound to a key"):
        sample(base)(key.post(f"{base}/token", form).json()["access_token"])


def test_an_expired_token(base: str) -> None:
    """Signed by the broker's own key, and over for longer than clocks may differ."""
    claims = jwt.decode(tokens_for(base)["access_token"], options={"verify_signature": False})
    ring = runtime().keys.ring()
    for seconds, expected in ((30, "good"), (90, "expired")):
        token = tokens.sign(claims | {"exp": int(time.time()) - seconds}, ring, "ES256", "at+jwt")
        if expected == "good":
            assert sample(base)(token)["sub"] == claims["sub"]
        else:
            with pytest.raises(jwt.ExpiredSignatureError):
                sample(base)(token)

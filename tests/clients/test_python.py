"""Authlib and requests-oauthlib: login, profile, refresh and revocation."""

from __future__ import annotations

import pytest

from clients.conftest import RunScript
from clients.test_node import assert_lived, assert_reconnects, registered

METHODS = ["none", "client_secret_basic", "client_secret_post"]


@pytest.mark.parametrize("auth", METHODS)
def test_authlib(run_python: RunScript, base: str, auth: str) -> None:
    report = run_python("authlib_client", **registered(base, auth))
    assert_lived(report)
    assert report["revoked"] == 200
    if auth != "none":
        assert (report["introspected"]["active"], report["introspected"]["sub"]) == (True, report["sub"])


def test_authlib_with_es256(run_python: RunScript, base: str) -> None:
    client = registered(base, "none", id_token_alg="ES256")
    assert_lived(run_python("authlib_client", id_token_alg="ES256", **client))


@pytest.mark.parametrize("auth", ["none", "client_secret_post"])
def test_requests_oauthlib(run_python: RunScript, base: str, auth: str) -> None:
    report = run_python("requests_oauthlib_client", **registered(base, auth))
    assert_lived(report)
    assert report["revoked"] == 200


@pytest.mark.parametrize("library", ["authlib", "requests_oauthlib"])
def test_reconnect(run_python: RunScript, base: str, library: str) -> None:
    assert_reconnects(run_python("reconnecting_client", library=library, **registered(base, "none")), base)

"""What a client may be registered with for introspection and sign-out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from broker.protocol.clients import Client, ClientSecret
from broker.protocol.registration import InvalidRegistration, validate_client
from broker.settings import LIMITS

BASE = Client(
    client_id="orders",
    name="Orders",
    redirect_uris=("https://app.example/cb",),
    auth_methods=("client_secret_basic",),
    secrets=(ClientSecret("00" * 32, 1),),
)
PUBLIC: dict[str, Any] = {"auth_methods": ("none",), "secrets": ()}


@pytest.mark.parametrize(
    "changes",
    [
        {"served_resources": ("https://api.example/v1", "urn:example:orders")},
        {
            "post_logout_redirect_uris": (
                "https://app.example/bye?x=1",
                "http://localhost:3000/",
                "com.example.app:/bye",
            )
        },
        {"backchannel_logout_uri": "https://app.example/ended?x=1"},
        {**PUBLIC, "post_logout_redirect_uris": ("https://app.example/",)},
    ],
)
def test_accepted(changes: dict[str, Any]) -> None:
    validate_client(replace(BASE, **changes), LIMITS)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"served_resources": ("api",)}, "served_resources"),
        ({"served_resources": ("https://api.example/#x",)}, "served_resources"),
        ({"served_resources": ("https://api.example/",) * 2}, "served_resources"),
        ({**PUBLIC, "served_resources": ("https://api.example/",)}, "served_resources"),
        ({"post_logout_redirect_uris": ("https://app.example/#x",)}, "post_logout_redirect_uris"),
        ({"post_logout_redirect_uris": ("javascript:alert(1)",)}, "post_logout_redirect_uris"),
        ({"post_logout_redirect_uris": ("https://*.example/",)}, "post_logout_redirect_uris"),
        ({"post_logout_redirect_uris": ("https://app.example/?state=x",)}, "post_logout_redirect_uris"),
        ({"post_logout_redirect_uris": ("https://app.example/",) * 2}, "post_logout_redirect_uris"),
        ({"backchannel_logout_uri": "http://app.example/ended"}, "backchannel_logout_uri"),
        ({"backchannel_logout_uri": "https://app.example/#x"}, "backchannel_logout_uri"),
        ({"backchannel_logout_uri": "https://u:p@app.example/"}, "backchannel_logout_uri"),
    ],
)
def test_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRegistration) as refused:
        validate_client(replace(BASE, **changes), LIMITS)
    assert refused.value.field == field

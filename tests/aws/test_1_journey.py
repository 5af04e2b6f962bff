"""The deployed stack, from outside: logins by every provider, and every step of a login, over HTTPS."""

from __future__ import annotations

import jwt
import pytest
import requests

from aws.deployment import Deployment
from broker_local.seed import PROVIDERS
from broker_testing.journey import Login, TestClient, refresh, revoke, userinfo

AFTER_LOGOUT = "https://app.example/bye"
WITHOUT_REFRESH = ("iternio", "iternio-live")


@pytest.fixture(scope="module")
def public(deployment: Deployment) -> TestClient:
    """A public client of all providers."""
    return deployment.add_client("Public", "--post-logout-redirect-uri", AFTER_LOGOUT)


@pytest.fixture(scope="module")
def confidential(deployment: Deployment) -> TestClient:
    """A confidential client of all providers."""
    return deployment.add_client("Confidential", "--confidential")


def test_the_metadata_names_the_deployed_issuer(deployment: Deployment) -> None:
    """RFC 8414 section 3.3, at the address that CloudFormation's outputs say."""
    response = requests.get(f"{deployment.base}/.well-known/oauth-authorization-server", timeout=30)
    assert response.status_code == 200
    metadata = response.json()
    assert metadata["issuer"] == deployment.base == deployment.outputs["ApiUrl"]
    keys = requests.get(metadata["jwks_uri"], timeout=30).json()["keys"]
    assert {key["alg"] for key in keys} == {"ES256", "RS256"}


def test_expired_logins_are_deleted_by_the_table(deployment: Deployment) -> None:
    described = deployment.client("dynamodb").describe_time_to_live(TableName=deployment.outputs["GrantsTable"])
    assert described["TimeToLiveDescription"] == {"TimeToLiveStatus": "ENABLED", "AttributeName": "delete_at"}


@pytest.mark.parametrize("kind", ["public", "confidential"])
@pytest.mark.parametrize("provider", [provider.name for provider in PROVIDERS])
def test_a_login_from_the_first_request_to_the_last(
    request: pytest.FixtureRequest, deployment: Deployment, provider: str, kind: str
) -> None:
    client: TestClient = request.getfixturevalue(kind)
    login = Login(client, provider)
    tokens = login.tokens()
    claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    assert (claims["iss"], claims["aud"]) == (deployment.base, client.client_id)
    profile = userinfo(deployment.base, tokens["access_token"])
    assert profile.status_code == 200, profile.text
    assert profile.json()["sub"] == claims["sub"]

    refreshed = refresh(client, tokens["refresh_token"])
    assert refreshed.status_code == 200, refreshed.text
    assert userinfo(deployment.base, refreshed.json()["access_token"]).status_code == 200

    assert revoke(client, refreshed.json()["refresh_token"]).status_code == 200
    assert userinfo(deployment.base, refreshed.json()["access_token"]).status_code == 401
    again = refresh(client, refreshed.json()["refresh_token"])
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


def test_signing_out_ends_the_login_and_leads_back(deployment: Deployment, public: TestClient) -> None:
    """OpenID Connect RP-Initiated Logout 1.0 section 3."""
    tokens = Login(public, "openid").tokens()
    parameters = {"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": AFTER_LOGOUT}
    response = requests.get(f"{deployment.base}/logout", params=parameters, timeout=30, allow_redirects=False)
    assert response.status_code == 303, response.text
    assert response.headers["location"] == AFTER_LOGOUT
    assert userinfo(deployment.base, tokens["access_token"]).status_code == 401


def test_the_operator_sees_why_somebody_was_logged_out(deployment: Deployment, public: TestClient) -> None:
    tokens = Login(public, "redbooth").tokens(username="zoe")
    subject = jwt.decode(tokens["id_token"], options={"verify_signature": False})["sub"]
    (held,) = deployment.broker("grant", "list", "--client", public.client_id, "--subject", subject)
    assert deployment.broker("grant", "show", held["grant_id"])["stage"] == "active"
    assert deployment.broker("grant", "revoke", held["grant_id"], "--yes")["revoked"] is True
    assert userinfo(deployment.base, tokens["access_token"]).status_code == 401
    assert deployment.broker("grant", "show", held["grant_id"])["end_reason"] == "operator"

"""The broker as `sam local` runs it: whole logins through its API, and every sample event."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest

from aws.deployment import PROJECT
from aws.sam_local.conftest import HOST, SamLocal
from broker.protocol.redirects import origin_of
from broker_local.seed import playground_clients
from broker_testing.journey import CALLBACK, Login, TestClient, change, refresh, register, revoke, userinfo

EXPECTED: Mapping[str, tuple[int, str]] = {
    "authorize": (303, f"https://{HOST}/sandbox/"),
    "callback": (400, "text/html"),
    "consent": (400, "text/html"),
    "device": (200, "text/html"),
    "introspect": (401, "invalid_client"),
    "logout": (400, "text/html"),
    "metadata": (200, "authorization_endpoint"),
    "par": (201, "request_uri"),
    "proxy": (401, "invalid_token"),
    "refresh": (400, "invalid_grant"),
    "register": (403, "access_denied"),
    "revoke": (200, ""),
    "rotate": (0, "this function rotates another secret"),
    "sandbox": (400, "text/html"),
    "token": (400, "invalid_grant"),
    "userinfo": (401, "invalid_token"),
}
"""Of each sample event: the status (0: the function failed, as it must), and words of the answer. The samples' tokens and codes
are made up, so refusals are right answers.
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("provider", ["openid", "redbooth", "phpapi"])
def test_a_login_from_the_first_request_to_the_last(base: str, provider: str) -> None:
    client = register(base, providers=(provider,), redirect_uris=(CALLBACK,))
    tokens = Login(client, provider).tokens()
    subject = jwt.decode(tokens["id_token"], options={"verify_signature": False})["sub"]
    assert userinfo(base, tokens["access_token"]).json()["sub"] == subject
    refreshed = refresh(client, tokens["refresh_token"])
    assert refreshed.status_code == 200, refreshed.text
    assert userinfo(base, refreshed.json()["access_token"]).status_code == 200
    assert revoke(client, refreshed.json()["refresh_token"]).status_code == 200
    assert userinfo(base, refreshed.json()["access_token"]).status_code == 401


@pytest.fixture(scope="module")
def answers(sam_local: SamLocal) -> Mapping[str, Mapping[str, Any]]:
    """What `sam local invoke` of each function answers to its sample event, the file that is named after it."""
    # The samples' client is the playground's, with another redirect URI, and its origin.
    playground = next(client for client in playground_clients(sam_local.base) if client.client_id == "playground")
    change(TestClient(sam_local.base, playground), redirect_uris=(CALLBACK,), origins=(origin_of(CALLBACK),))
    with ThreadPoolExecutor(2) as pool:
        files = sorted((PROJECT / "events").glob("*.json"))
        return dict(zip([file.stem for file in files], pool.map(partial(invoke, sam_local), files), strict=True))


@pytest.mark.timeout(900)
def test_every_sample_event_is_tried(answers: Mapping[str, Mapping[str, Any]]) -> None:
    assert answers.keys() == EXPECTED.keys()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", EXPECTED)
def test_a_sample_event_is_answered(answers: Mapping[str, Mapping[str, Any]], name: str) -> None:
    status, words = EXPECTED[name]
    answer = answers[name]
    assert answer.get("statusCode", 0) == status, answer
    assert words in json.dumps(answer)


def invoke(sam_local: SamLocal, event: Path) -> Mapping[str, Any]:
    """What the function returned, or the runtime's word for its failure."""
    words = sam_local.words("invoke", f"{event.stem.title()}Function", "--event", str(event))
    done = subprocess.run(
        words, cwd=sam_local.build, env=sam_local.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer: Mapping[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer

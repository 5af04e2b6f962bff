"""docs/openapi.yaml: a valid description of the routes that are deployed, in step with what the code supports."""

from __future__ import annotations

from typing import Any

import pytest
from openapi_spec_validator import validate

from broker.protocol import authorization_request, capabilities, errors
from broker_local.api_gateway import HttpResponse
from broker_local.server import PROJECT
from broker_local.template import Template
from broker_testing.openapi import METHODS, description, difference, resolved

SANDBOX = "/sandbox/"


def test_it_is_a_valid_description() -> None:
    validate(description())


def test_every_route_is_described_and_nothing_else() -> None:
    template = Template.load(PROJECT / "template.yaml", stack="example", overrides={})
    deployed = {route.path.replace("+}", "}") for function in template.functions() for route in function.routes}
    assert {path for path in deployed if not path.startswith(SANDBOX)} == set(description()["paths"])


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for _, operation in _operations()]
    assert len(names) > 30
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("schema", "member", "expected"),
    [
        ("TokenRequest", "grant_type", set(capabilities.GRANT_TYPES)),
        (
            "Error",
            "error",
            {kind.code for kind in vars(errors).values() if isinstance(kind, errors.ErrorKind)} | {"not_found"},
        ),
    ],
)
def test_values_are_those_that_the_code_knows(schema: str, member: str, expected: set[str]) -> None:
    assert set(description()["components"]["schemas"][schema]["properties"][member]["enum"]) == expected


def test_parameters_are_those_that_the_code_knows() -> None:
    parameters = description()["components"]["parameters"]
    assert parameters["response_type"]["schema"]["enum"] == list(authorization_request.RESPONSE_TYPES)
    assert parameters["response_mode"]["schema"]["enum"] == list(authorization_request.RESPONSE_MODES)
    assert all(f"`{prompt}`" in parameters["prompt"]["description"] for prompt in authorization_request.PROMPTS)


def test_every_endpoint_of_the_metadata_is_described() -> None:
    issuer = "https://broker.example"
    document = capabilities.metadata(issuer, registration=True)
    endpoints = {value for name, value in document.items() if name.endswith(("_endpoint", "jwks_uri"))}
    assert {str(url).removeprefix(issuer) for url in endpoints} <= set(description()["paths"])
    known = description()["components"]["schemas"]["ServerMetadata"]["properties"]
    assert {name for name in document if name.endswith("_endpoint")} <= set(known)


def test_every_answer_says_how_long_it_may_be_kept() -> None:
    for path, operation in _operations():
        for status, answer in operation["responses"].items():
            assert "Cache-Control" in resolved(answer)["headers"], (path, status)


@pytest.mark.parametrize(
    ("method", "target", "status", "headers", "body"),
    [
        ("GET", "/nowhere", 200, {}, b""),
        ("POST", "/token", 418, {}, b""),
        ("PUT", "/token", 200, {}, b""),
        ("PUT", "/token", 405, {}, b""),
        ("POST", "/token?x=y", 200, {"content-type": "text/html"}, b"{}"),
        ("POST", "/token", 200, {"content-type": "application/json"}, b'{"access_token": 1}'),
        ("POST", "/token", 400, {"content-type": "application/json"}, b'{"error": "made_up", "error_description": ""}'),
        ("POST", "/token", 400, {"location": "https://app.example/"}, b""),
        ("GET", "/userinfo", 200, {"set-cookie": "a=b"}, b""),
        ("GET", "/userinfo", 200, {"www-authenticate": "Bearer"}, b""),
        ("POST", "/revoke", 200, {"retry-after": "1"}, b""),
        ("GET", "/authorize", 303, {"access-control-allow-origin": "https://app.example"}, b""),
        (
            "GET",
            "/.well-known/jwks.json",
            200,
            {"content-type": "application/json"},
            b'{"keys": [{"kty": "EC", "kid": "1", "d": ""}]}',
        ),
    ],
)
def test_an_answer_that_is_not_described_is_noticed(
    method: str, target: str, status: int, headers: dict[str, str], body: bytes
) -> None:
    assert difference(method, target, HttpResponse(status, tuple(headers.items()), body)) is not None


def _operations() -> list[tuple[str, dict[str, Any]]]:
    return [
        (path, operation)
        for path, methods in description()["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    ]

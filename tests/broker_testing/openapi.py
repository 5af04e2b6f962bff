"""docs/openapi.yaml, and whether an answer of the broker is one that it describes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from broker_local.api_gateway import HttpResponse, match_route
from broker_local.server import PROJECT
from broker_local.template import Route

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
TELLING = ("location", "set-cookie", "www-authenticate", "dpop-nonce", "allow", "retry-after", "access-control-")
"""Headers, or beginnings of their names, that no answer has unless it is described with them."""
ANY_TYPE = "*/*"
BY_THE_GATEWAY = (400, 404, 413, 414, 431)
"""What the gateway answers by itself, with a message and nothing else."""
ANSWERED_WITH_A_PAGE = ("/callback/{provider}", "/consent")
"""Where a method that is not served gets 400 and a page."""


@cache
def description() -> dict[str, Any]:
    """The document."""
    document: dict[str, Any] = yaml.safe_load((PROJECT / "docs" / "openapi.yaml").read_text("utf-8"))
    return document


def resolved(value: dict[str, Any]) -> dict[str, Any]:
    """What a reference stands for, or the value itself."""
    if "$ref" not in value:
        return value
    found: Any = description()
    for part in str(value["$ref"]).removeprefix("#/").split("/"):
        found = found[part]
    return resolved(found)


def path_of(target: str) -> str | None:
    """The described path that a request target is for, None when there is none."""
    routes = [Route("ANY", _pattern(path)) for path in description()["paths"]]
    match = match_route(routes, "GET", target.partition("?")[0])
    return match.route.path.replace("+}", "}") if match else None


def difference(method: str, target: str, response: HttpResponse) -> str | None:
    """What about an answer is not as it is described; None when all is."""
    headers = {name.lower(): value for name, value in response.headers}
    path = path_of(target)
    if response.status in BY_THE_GATEWAY and _is_the_gateways(response):
        return None
    if path is None:
        return f"{target} is no described path and is answered with {response.status}"
    methods = description()["paths"][path]
    described_as = "get" if method == "HEAD" and "get" in methods else method.lower()
    if described_as not in methods or (response.status == 405 and method == "HEAD"):
        return _of_another_method(path, response.status, headers)
    responses = methods[described_as]["responses"]
    answer = responses.get(str(response.status), responses.get("default"))
    if answer is None:
        return f"{method} {path} is answered with {response.status}"
    problem = _of_content(resolved(answer), headers, response.body)
    return f"{method} {path} {response.status}: {problem}" if problem else None


def _of_another_method(path: str, status: int, headers: Mapping[str, str]) -> str | None:
    if status == 400 and path in ANSWERED_WITH_A_PAGE:
        return None
    return None if status == 405 and headers.get("allow") else f"another method at {path} is answered with {status}"


def _of_content(answer: dict[str, Any], headers: Mapping[str, str], body: bytes) -> str | None:
    known = {name.lower() for name in answer.get("headers", {})}
    undescribed = [name for name in headers if name.startswith(TELLING) and name not in known]
    if undescribed:
        return f"it has the header {undescribed[0]}"
    if not body:
        return None
    media_type = headers.get("content-type", "").partition(";")[0]
    content = answer.get("content", {})
    if ANY_TYPE in content:
        return None
    if media_type not in content:
        return f"it is {media_type or 'without a type'}"
    if media_type != "application/json":
        return None
    schema = {**content[media_type]["schema"], "components": description()["components"]}
    errors = [error.message for error in Draft202012Validator(schema).iter_errors(json.loads(body))]
    return errors[0] if errors else None


def _is_the_gateways(response: HttpResponse) -> bool:
    try:
        document = json.loads(response.body)
    except ValueError:
        return False
    return isinstance(document, dict) and set(document) == {"message"}


def _pattern(path: str) -> str:
    return path.replace("{path}", "{path+}")

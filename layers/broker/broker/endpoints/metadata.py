"""The server's public documents: RFC 8414 and OpenID Connect Discovery metadata, and the JWK Set; and one script."""

from urllib.parse import urlsplit

from broker.endpoints.entry import json_response, method_not_allowed
from broker.gateway import Request, Response
from broker.pages import form_post
from broker.protocol import capabilities, protected_resource
from broker.runtime import Runtime

CACHE_SECONDS = 300
JWKS_PATH = "/.well-known/jwks.json"
_PUBLIC = {"access-control-allow-origin": "*", "cache-control": f"public, max-age={CACHE_SECONDS}", "pragma": ""}


def respond(request: Request, runtime: Runtime) -> Response:
    """GET of one of the documents; any origin may read them."""
    if request.method == "OPTIONS":
        return Response(
            204,
            headers=_PUBLIC
            | {"access-control-allow-methods": "GET, HEAD", "access-control-allow-headers": "*", "allow": "GET, HEAD"},
        )
    if request.method not in ("GET", "HEAD"):
        return method_not_allowed("GET", "HEAD", headers={"access-control-allow-origin": "*"})
    if request.path == form_post.SCRIPT_PATH:
        return Response(200, form_post.SCRIPT, _PUBLIC | {"content-type": "text/javascript; charset=utf-8"})
    if request.path == JWKS_PATH:
        return json_response(runtime.keys.ring().jwks(), headers=_PUBLIC)
    return _metadata(request, runtime)


def _metadata(request: Request, runtime: Runtime) -> Response:
    """A metadata document. Of an issuer with a path it is also where that path follows the well-known one (RFC 8414
    section 3.1, RFC 9728 section 3.1), if the host's own well-known paths lead here. Nobody else's."""
    well_known, of_path = _split(request.path)
    if of_path not in ("", urlsplit(request.issuer).path):
        return json_response({"error": "not_found", "error_description": "there is no such issuer here"}, 404)
    if well_known == protected_resource.PROTECTED_RESOURCE_PATH:
        return json_response(protected_resource.protected_resource_metadata(request.issuer), headers=_PUBLIC)
    policy = runtime.registrations.policy()
    document = capabilities.metadata(
        request.issuer, registration=policy.lets_register(), client_documents=policy.documents
    )
    return json_response(document, headers=_PUBLIC)


def _split(path: str) -> tuple[str, str]:
    """("/.well-known/<name>", what follows it)."""
    _, root, name, *rest = path.split("/")
    return f"/{root}/{name}", "".join(f"/{part}" for part in rest)

"""The server's public documents: RFC 8414 and OpenID Connect Discovery metadata, and the JWK Set; and one script."""

from broker.endpoints.entry import json_response, method_not_allowed
from broker.gateway import Request, Response
from broker.pages import form_post
from broker.protocol import capabilities
from broker.runtime import Runtime

CACHE_SECONDS = 300
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
        return method_not_allowed("GET", "HEAD")
    if request.path.endswith(form_post.SCRIPT_PATH):
        return Response(200, form_post.SCRIPT, _PUBLIC | {"content-type": "text/javascript; charset=utf-8"})
    if request.path.endswith("/jwks.json"):
        return json_response(runtime.keys.ring().jwks(), headers=_PUBLIC)
    return json_response(capabilities.metadata(request.issuer), headers=_PUBLIC)

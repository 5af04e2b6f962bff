"""Lambda entry of the sandbox: fake providers to sign in at while trying the broker out.

Thin on purpose: the event goes in, the answer comes out. It must never import anything of the broker, for the sandbox
is the independent counterpart that the broker is proved against.
"""

from __future__ import annotations

from typing import Any

from sandbox_provider import router, wire


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answer one API Gateway HTTP API event (payload format 2.0)."""
    return router.answer(wire.Request.from_event(event)).to_event()

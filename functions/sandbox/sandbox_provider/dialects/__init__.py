"""The dialects, one module each. A provider that is not in DIALECTS does not exist."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox_provider.dialects import infolobby, iternio, lockitnetwork, oidc, openid, phpapi, redbooth
from sandbox_provider.dialects.dialect import Dialect

DIALECTS: Mapping[str, Dialect] = {
    dialect.provider: dialect
    for dialect in (
        infolobby.DIALECT,
        lockitnetwork.DIALECT,
        phpapi.DIALECT,
        redbooth.DIALECT,
        iternio.GUIDE,
        iternio.LIVE,
        openid.DIALECT,
        oidc.DIALECT,
    )
}

"""How long the broker's keys are needed: from the upper limits of every lifetime that a deployment, a client or a dialect
may have, so that no setting can ever make a key retire before what it made.
"""

from functools import cache

from broker.crypto.rotation import Lives
from broker.settings import LIMITS
from broker.upstream import serve

LEAD = 86400
"""Seconds from the publication of a key to its first use. Instances read the keys again every 5 minutes, and the JWK Set may be
cached for 5 (Cache-Control); but verifiers keep it for as long as they like, and a day covers what libraries do by default."""
MOST_DELAY = 3600
"""Seconds of the lead that the steps of a rotation may take, as Secrets Manager repeats one that failed: keys are not published
before its last step."""
SLACK = 3600
"""Seconds for clocks that differ, and for instances that have not yet seen the newest document."""


@cache
def lives() -> Lives:
    """The longest lives that anything may have."""
    longest_login = LIMITS["absolute_lifetime"][1] + SLACK
    # A dialect may say how long its access tokens live, and a client may overrule it; an opaque token is not signed.
    of_dialects = [dialect.token for dialect in serve.dialects().values() if not dialect.token.opaque]
    signed = [LIMITS["access_token_lifetime"][1], *(token.lifetime or longest_login for token in of_dialects)]
    return Lives(
        lead=LEAD,
        handle=longest_login,  # a used refresh token must be known again until the end of its login: its reuse is theft
        sealing=longest_login,  # an opaque access token may live as long as the login
        signing=max(signed) + SLACK,
        hint=longest_login,
    )

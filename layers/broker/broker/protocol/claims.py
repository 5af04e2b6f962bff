"""Which claims about a person a scope stands for."""

CLAIMS_BY_SCOPE = {
    "profile": (
        "name",
        "family_name",
        "given_name",
        "middle_name",
        "nickname",
        "preferred_username",
        "profile",
        "picture",
        "website",
        "gender",
        "birthdate",
        "zoneinfo",
        "locale",
        "updated_at",
    ),
    "email": ("email", "email_verified"),
}
"""OpenID Connect Core section 5.4."""


def claims_for(scope: tuple[str, ...], claims: dict[str, object]) -> dict[str, object]:
    """The claims that a scope lets a client see. Claims that OpenID Connect has no scope for go with `profile`."""
    in_email = CLAIMS_BY_SCOPE["email"]
    visible: dict[str, object] = {}
    for name, value in claims.items():
        needed = "email" if name in in_email else "profile"
        if needed in scope and name != "sub":
            visible[name] = value
    return visible

"""The few pictures of the pages, drawn in place so that nothing is loaded. All are decoration: no screen reader sees them."""


def _drawn(path: str) -> str:
    return (
        '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round"'
        f' stroke-linejoin="round" aria-hidden="true" focusable="false"><path d="{path}"/></svg>'
    )


SHIELD = _drawn("M12 3l7 3v5c0 4.5-3 8.2-7 10-4-1.8-7-5.5-7-10V6zM9 12l2.2 2.2L15.2 10")
CHECK = _drawn("M5 12.5l4.5 4.5L19 7.5")
CHEVRON = _drawn("M9 5l7 7-7 7")
ALERT = _drawn("M12 8v5M12 16.5v.1M12 3a9 9 0 100 18 9 9 0 000-18z")
DONE = _drawn("M12 3a9 9 0 100 18 9 9 0 000-18zM8 12.3l2.8 2.8L16 9.9")
DEVICE = _drawn("M4 5h16v10H4zM9 19h6M12 15v4")
LEAVE = _drawn("M10 4H5v16h5M14 8l4 4-4 4M18 12H9")


def sign(icon: str) -> str:
    """An icon as the sign at the head of a page."""
    return f'<div class="sign">{icon}</div>'

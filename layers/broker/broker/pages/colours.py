"""Colours that can be read: what goes on and beside the operator's own (WCAG 2.2, 1.4.3 and 1.4.11)."""

TEXT = 4.5
"""Least contrast of text with what is behind it."""
PARTS = 3.0
"""Least contrast of what is not text: the edge of a button, the focus ring."""

Rgb = tuple[int, int, int]

_BLACK: Rgb = (0, 0, 0)
_NEAR_BLACK: Rgb = (17, 20, 26)
_WHITE: Rgb = (255, 255, 255)


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours (#rrggbb), 1 to 21 (WCAG 2.2, definition of contrast ratio)."""
    return _contrast(_rgb(one), _rgb(other))


def readable_on(background: str) -> str:
    """Near-black, white or at worst black, whichever can be read on `background`. One always can: 4.58 is the least."""
    behind = _rgb(background)
    readable = [colour for colour in (_NEAR_BLACK, _WHITE) if _contrast(colour, behind) >= TEXT]
    return _hex(max(readable or (_BLACK, _WHITE), key=lambda colour: _contrast(colour, behind)))


def adjusted(colour: str, *backgrounds: str, least: float = TEXT) -> str:
    """`colour`, or what is nearest to it with at least that contrast with all `backgrounds`.

    It goes towards black or white, whichever the backgrounds leave room for.
    """
    start, behind = _rgb(colour), [_rgb(background) for background in backgrounds]
    end = max((_WHITE, _BLACK), key=lambda shade: min(_contrast(shade, one) for one in behind))
    for step in range(33):
        mixed = _mixed(start, end, step / 32)
        if all(_contrast(mixed, one) >= least for one in behind):
            return _hex(mixed)
    return _hex(end)


def _rgb(colour: str) -> Rgb:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _hex(colour: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _mixed(start: Rgb, end: Rgb, share: float) -> Rgb:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(start, end, strict=True))
    return red, green, blue


def _luminance(colour: Rgb) -> float:
    channels = [value / 255 for value in colour]
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: Rgb, other: Rgb) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)

"""The brand and the texts of the page that is being made."""

from html import escape

from broker.brand import Brand
from broker.pages import texts
from broker.runtime import runtime


def current() -> Brand:
    """The operator's brand, remembered by this function instance; the default one while it cannot be read."""
    return runtime().brand()


def say(key: str, **values: str) -> str:
    """HTML of a text. `values` are HTML for its placeholders: the caller has escaped them."""
    brand = current()
    return texts.filled(escape(brand.text(key)), {"brand": f"<bdi>{escape(brand.name)}</bdi>", **values})

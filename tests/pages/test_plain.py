"""Text of others on the pages: no sign of it is Markdown, a link, an icon or a dash."""

from __future__ import annotations

import re

import pytest

from pages.parts.shared import WORD_JOINER, plain


@pytest.mark.parametrize(
    "text",
    [
        "![x](http://198.51.100.1/x.png)",
        ":material_home: :material/home: :smile: :+1: 12:30:15 :red[x]",
        "www.example.org WWW.example.org",
        "a -- b -> c <- d <-> e >= f ~= g",
        "ada@example.org",
        "<img src=x> $x$ `x` ~~x~~ | x",
    ],
)
def test_nothing_of_it_is_left(text: str) -> None:
    """By the patterns of the page's own renderer: links of any kind, icons, and what it turns into other signs."""
    shown = plain(text)
    assert re.sub(rf"\\(.)|{WORD_JOINER}", r"\1", shown) == text, "what is read is what was written"
    unescaped = re.sub(r"\\(.)", r"\1", shown)  # links are sought after the signs have been unescaped
    assert not re.search(r"https?://|www\.|[\w.]@\w", unescaped, re.IGNORECASE)
    assert not re.search(r":(material/\w+|[\w+-]+):", unescaped)
    assert not re.search(r"(^|\s)(<->|<-|->|--|>=|<=|~=)(\s|$)", unescaped)
    assert not re.search(r"(?<!\\)[!\[\](){}<>:`*_$~|#]", shown)

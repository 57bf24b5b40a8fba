"""HTML that cannot be broken by what it shows."""

from __future__ import annotations

from cephmonfs.files.render.html import Html, el, join


def test_text_is_escaped_and_html_is_not() -> None:
    assert el("p", "<b>", Html("<b>"), class_='a"b') == '<p class="a&quot;b">&lt;b&gt;<b></p>'
    assert el("br") == "<br>"
    assert el("path", d=1, stroke_width=2, fill=None) == '<path d="1" stroke-width="2"></path>'
    assert isinstance(join("a", el("i")), Html)

"""Self-contained pages of HTML: a skeleton, tables and inlined figures. Every text is escaped.

A page asks for nothing from anywhere: its policy forbids scripts, and everything but inlined pictures and styles.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PIXELS = 110
"""Largest width of a figure's inch on a screen."""


class Html(str):
    """Text that is HTML already; any other text is escaped."""


def tag(name: str, *content: object, **attributes: str) -> Html:
    """Return an element. `class_` stands for the attribute ``class``."""
    given = "".join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{given}>{''.join(map(_html, content))}</{name}>")


def table(head: Sequence[object], rows: Iterable[Sequence[object]], *, texts: int = 1, caption: str = "") -> Html:
    """Return a table, whose first `texts` columns hold texts, aligned to the left; the others hold numbers."""

    def cells(name: str, row: Sequence[object]) -> Html:
        return tag("tr", *(tag(name, cell, class_="text" if at < texts else "number") for at, cell in enumerate(row)))

    body = tag("tbody", *(cells("td", row) for row in rows))
    parts = ([tag("caption", caption)] if caption else []) + [tag("thead", cells("th", head)), body]
    return tag("div", tag("table", *parts), class_="scroll")


def tiles(numbers: Iterable[tuple[str, str, str]]) -> Html:
    """Return large numbers side by side: each a name, a value and a remark."""
    parts = (
        tag("div", tag("span", name), tag("strong", value), tag("small", remark), class_="tile")
        for name, value, remark in numbers
    )
    return tag("div", *parts, class_="tiles")


def figure(drawing: Figure, *, alt: str, caption: str = "") -> Html:
    """Inline a figure as an SVG picture; `alt` says what it shows, for those who do not see it."""
    stream = io.BytesIO()
    drawing.savefig(stream, format="svg", metadata={"Date": None})
    source = f"data:image/svg+xml;base64,{base64.b64encode(stream.getvalue()).decode()}"
    # No larger than it was drawn for, so that all texts of a page have one size.
    width = f"max-width:{drawing.get_figwidth() * _PIXELS:.0f}px"
    image = Html(f'<img src="{source}" alt="{escape(alt)}" style="{width}">')
    return tag("figure", image, *([tag("figcaption", caption)] if caption else []))


def columns(*parts: Html) -> Html:
    """Put parts side by side where there is room."""
    return tag("div", *parts, class_="columns")


def items(texts: Iterable[object], *, class_: str = "") -> Html:
    """Return a list."""
    return tag("ul", *(tag("li", text) for text in texts), **({"class_": class_} if class_ else {}))


def details(summary: str, *content: Html) -> Html:
    """Return what is shown on a click."""
    return tag("details", tag("summary", summary), *content)


def section(title: str, *content: Html) -> Html:
    """Return a part of the page under a heading."""
    return tag("section", tag("h2", title), *content)


def swatch(colour: str) -> Html:
    """Return a dot in the colour of a curve."""
    return tag("span", class_="swatch", style=f"background:{colour}")


def html_page(title: str, *content: Html, lead: str = "") -> str:
    """Return a whole page."""
    return _PAGE.substitute(
        title=escape(title), lead=tag("p", lead, class_="lead") if lead else "", content="\n".join(content)
    )


def _html(part: object) -> str:
    return part if isinstance(part, Html) else escape(str(part))


_PAGE = Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="only light">
<title>$title</title>
<style>
:root { color-scheme: only light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 66rem; background: #fff; color: #1a1a1a;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { margin: 0; font-size: 2rem; line-height: 1.2; letter-spacing: -0.02em; }
h2 { margin: 0 0 .75rem; font-size: 1.35rem; line-height: 1.3; letter-spacing: -0.01em; }
h3 { margin: 1.5rem 0 .5rem; font-size: 1rem; }
.lead { margin: .5rem 0 0; max-width: 46rem; color: #555; font-size: 1.05rem; }
section { margin-top: 2.5rem; padding-top: 1.5rem; border-top: 2px solid #1a1a1a; }
.tiles { display: flex; flex-wrap: wrap; gap: .5rem 2.5rem; margin: 0 0 1.25rem; }
.tile { display: flex; flex-direction: column; max-width: 22rem; }
.tile span { color: #555; font-size: .8rem; }
.tile strong { font-size: 1.7rem; line-height: 1.25; font-variant-numeric: tabular-nums; letter-spacing: -0.01em; }
.tile small { color: #555; font-size: .8rem; }
.scroll { overflow-x: auto; }
table { width: 100%; margin: .5rem 0 1rem; border-collapse: collapse; font-size: .87rem; }
caption { padding: .3rem 0; color: #555; text-align: left; }
th { padding: .35rem .6rem; border-bottom: 1px solid #1a1a1a; font-weight: 600; vertical-align: bottom; }
td { padding: .4rem .6rem; border-bottom: 1px solid #e3e3e3; vertical-align: top; }
th:first-child, td:first-child { min-width: 11rem; padding-left: 0; }
.text { min-width: 8rem; text-align: left; overflow-wrap: anywhere; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.swatch { display: inline-block; width: .7rem; height: .7rem; margin-right: .5rem; border-radius: 50%; }
.muted { color: #666; }
.bad, .warnings { color: #a4262c; }
.warnings { margin: 0 0 1rem; padding: .6rem 1rem .6rem 2rem; border-left: 4px solid #a4262c; background: #fdf3f3; }
.verdict { margin: 1.5rem 0 2rem; padding: 1.25rem 1.5rem .25rem; border-left: 6px solid #1a1a1a; background: #f6f6f6; }
.verdict > strong { font-size: 1.35rem; line-height: 1.3; }
.verdict.alarming { border-color: #a4262c; background: #fdf3f3; }
pre { overflow-x: auto; font-size: .78rem; line-height: 1.35; }
figure { margin: 0 0 1rem; }
figure img { display: block; width: 100%; height: auto; }
figcaption { max-width: 46rem; color: #555; font-size: .85rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 0 1.5rem; }
details { margin: 1rem 0; }
summary { cursor: pointer; font-weight: 600; }
footer, .note { color: #555; font-size: .85rem; }
@media print { section { break-inside: avoid; } body { padding: 0; max-width: none; } }
</style>
</head>
<body>
<header>
<h1>$title</h1>
$lead
</header>
$content
</body>
</html>
"""
)

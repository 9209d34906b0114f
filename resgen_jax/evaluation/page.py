"""HTML of one page: escaped, self-contained, readable by day and by night."""

import base64
import html
import io
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from PIL import Image

STYLE = """
:root { --ink:#1b1f24; --faint:#57606a; --line:#d8dee4; --paper:#ffffff; --soft:#f4f6f8;
  --good:#1a7f37; --bad:#b35900; --accent:#2f6fdb; color-scheme:light dark; }
@media (prefers-color-scheme:dark) { :root { --ink:#e6edf3; --faint:#9aa5b1; --line:#323a44;
  --paper:#12161c; --soft:#1b2129; --good:#4ac26b; --bad:#e3a04f; --accent:#7aa7ff; } }
* { box-sizing:border-box; }
body { margin:0 auto; max-width:980px; padding:28px 20px 60px; background:var(--paper);
  color:var(--ink);
  font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif; }
h1 { font-size:1.9rem; line-height:1.2; margin:.2em 0 .3em; }
h2 { font-size:1.25rem; margin:2.2em 0 .6em; padding-bottom:.25em;
  border-bottom:1px solid var(--line); }
.lead { font-size:1.1rem; color:var(--faint); margin:0 0 1.2em; }
table { border-collapse:collapse; width:100%; font-size:.95rem; }
th,td { text-align:left; vertical-align:top; padding:.55em .7em;
  border-bottom:1px solid var(--line); }
th { font-weight:600; color:var(--faint); font-size:.85rem; }
td.value { font-weight:700; white-space:nowrap; font-variant-numeric:tabular-nums; }
td.number,th.number { text-align:right; white-space:nowrap; font-variant-numeric:tabular-nums; }
td.name { font-weight:600; white-space:nowrap; }
td small { color:var(--faint); font-size:.88rem; }
tr.total td { font-weight:700; border-bottom:none; }
.good { color:var(--good); } .bad { color:var(--bad); }
.scroll { overflow-x:auto; }
figure { margin:1.4em 0 2em; }
figure img { display:block; max-width:100%; height:auto; margin:0 auto; background:#fff;
  border:1px solid var(--line); border-radius:8px; }
figcaption { color:var(--faint); font-size:.95rem; margin-top:.6em; }
pre { background:var(--soft); border:1px solid var(--line); border-radius:8px; padding:.8em 1em;
  font:13.5px/1.5 ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;
  margin:.3em 0 1.1em; white-space:pre-wrap; overflow-wrap:anywhere; }
.word { display:inline-block; max-width:100%; }
.purpose { margin:0; font-weight:600; }
details { border:1px solid var(--line); border-radius:8px; padding:.5em .9em; margin:.5em 0; }
summary { cursor:pointer; font-weight:600; }
details td:first-child { width:40%; }
details td { overflow-wrap:anywhere; padding:.25em .7em;
  font:13.5px/1.5 ui-monospace,Menlo,Consolas,monospace; }
@media (max-width:640px) { td.name { white-space:normal; } th,td { padding:.5em .4em; } }
"""

PAGE = string.Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
$body
</body>
</html>
""")


class Markup(str):
    """HTML that is already safe; every other string is escaped."""


def page(title: str, parts: Iterable[str]) -> str:
    """A whole document around the parts."""
    return PAGE.substitute(title=html.escape(title), style=STYLE, body="\n".join(parts))


def element(tag: str, *children: object, **attributes: str) -> Markup:
    """`<tag attributes>children</tag>`; an attribute `class_` is written `class`."""
    written = "".join(
        f' {name.rstrip("_")}="{html.escape(value)}"' for name, value in attributes.items() if value
    )
    return Markup(f"<{tag}{written}>{''.join(map(_safe, children))}</{tag}>")


def table(header: Sequence[str], rows: Iterable[Markup], *, numbers: Sequence[int] = ()) -> Markup:
    """A table that scrolls sideways where the screen is narrow."""
    cells = [
        element("th", name, class_="number" if column in numbers else "")
        for column, name in enumerate(header)
    ]
    head = element("thead", element("tr", *cells)) if header else ""
    return element("div", element("table", head, element("tbody", *rows)), class_="scroll")


def picture(title: str, image: Image.Image, caption: str) -> Markup:
    """The image itself, as base64 within the page."""
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    data = base64.b64encode(stream.getvalue()).decode()
    source = Markup(
        f'<img alt="{html.escape(title)}" width="{image.width}" height="{image.height}" '
        f'src="data:image/png;base64,{data}">'
    )
    return element("figure", source, element("figcaption", caption))


def settings(name: str, values: Mapping[str, Any]) -> Markup:
    """One group of settings, folded away; nested names are joined by dots."""
    rows = [
        element("tr", element("td", key), element("td", str(value))) for key, value in flat(values)
    ]
    return element("details", element("summary", name), table((), rows))


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """(dotted name, value) of every leaf of a nested mapping, in its order."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _safe(child: object) -> str:
    return child if isinstance(child, Markup) else html.escape(str(child))

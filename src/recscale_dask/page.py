"""One self-contained HTML page: headings, sentences, tables and charts; it loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 960px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block; overflow-x: auto; }
th, td { padding: 0.2em 0.8em; text-align: left; border-bottom: 1px solid #ddd; vertical-align: top; }
td.number { text-align: right; } th { background: #f4f4f2; }
svg { width: 100%; max-width: 640px; display: block; margin: 1em 0; }
svg text { font: 12px system-ui, sans-serif; fill: #444; } svg text.title { font-weight: 600; fill: #222; }
svg line.grid { stroke: #e6e6e6; } svg line.axis { stroke: #888; }
footer { margin-top: 3em; color: #777; font-size: 0.85em; }
""".strip()


@dataclass(slots=True)
class Page:
    """A page that is written from top to bottom.

    Attributes
    ----------
    title : str
    """

    title: str
    _parts: list[str] = field(default_factory=list)

    def heading(self, text: str) -> None:
        """Begin a section."""
        self._parts.append(f"<h2>{escape(text)}</h2>")

    def sentence(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(f"<p>{escape(text)}</p>")

    def svg(self, chart: str) -> None:
        """Add a chart of `recscale_dask.charts`."""
        self._parts.append(chart)

    def facts(self, facts: Mapping[str, Any]) -> None:
        """Add a table of two columns: names and values."""
        self.table(["", ""], [[name, value] for name, value in facts.items()], header=False)

    def table(self, names: Sequence[str], rows: Sequence[Sequence[Any]], *, header: bool = True) -> None:
        """Add a table; numbers stand on the right."""
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        body = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
        self._parts.append(f"<table>{f'<tr>{head}</tr>' if header else ''}\n{body}\n</table>")

    def html(self, footer: str) -> str:
        """Return the page as text."""
        title = escape(self.title)
        body = "\n".join(self._parts)
        return (
            f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
            f"<style>\n{_STYLE}\n</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}\n"
            f"<footer>{escape(footer)}</footer>\n</body>\n</html>\n"
        )


def _cell(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"<td>{escape('' if value is None else str(value))}</td>"
    text = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    return f'<td class="number">{text}</td>'

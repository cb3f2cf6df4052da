"""Charts as files: SVG, PDF and PNG, at the size of a screen or of a column of a paper."""

from __future__ import annotations

import html
import mmap
import re
import textwrap
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import altair as alt
import vl_convert

from isogloss.arguments import Within, checked
from isogloss.errors import IsoglossError, UsageError, unknown
from isogloss.store import atomic

# The version altair writes, of those that vl-convert carries: "v6.4.1" -> "v6_4".
VEGA_LITE = "_".join(alt.SCHEMA_VERSION.split(".")[:2])
FORMATS = ("svg", "pdf", "png")
WIDTHS = {"column": 84.0, "page": 174.0}
"""Widths of a paper's column and page in millimetres."""

_PIXELS = 96 / 25.4  # of CSS, in a millimetre: text of 10 pixels is 7.5 points
_DPI = 600
_PANEL, _GAP = 95, 40  # pixels: the narrowest panel, and what stands between two at least
_ADDRESSES = 65 * 2**30  # V8 takes 64 GiB at its first drawing, measured; the rest is for its threads
_BREAK = ": |, | · "  # where the name of a panel may go on in the next line


@checked
def width_of(text: str) -> float:
    """Read a width: ``column``, ``page`` or a number of millimetres; return millimetres.

    Raises
    ------
    UsageError
        If it is none of these.

    Examples
    --------
    >>> width_of("column"), width_of("120mm")
    (84.0, 120.0)
    """
    if text in WIDTHS:
        return WIDTHS[text]
    number = re.fullmatch(r"(\d+(?:\.\d+)?) ?(?:mm)?", text)
    if number is None:
        raise unknown("width", text, [*WIDTHS, "84mm"])
    millimetres = float(number[1])
    if not 40 <= millimetres <= 1000:
        raise UsageError(f"A figure of {text} is not readable. Choose a width of 40 to 1000 mm.")
    return millimetres


@cache
def check_room() -> None:
    """Refuse to draw where the process may not have the addresses that V8, the engine of vl-convert, sets aside.

    V8 would end the whole process, with a native backtrace.

    Raises
    ------
    IsoglossError
        If a limit on the size of the process (``ulimit -v``) is in the way.
    """
    try:
        import resource
    except ImportError:  # Windows knows no such limit
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return
    try:
        mmap.mmap(-1, _ADDRESSES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0).close()
    except OSError:
        raise IsoglossError(
            f"Figures and reports cannot be drawn: that needs {_ADDRESSES / 2**30:.0f} GiB of addresses (not of "
            f"memory), and a limit leaves this process {limit / 2**30:.1f} in all. What was computed is written. "
            "Lift the limit (ulimit -v unlimited) and give the same command again."
        ) from None


@checked
def save_charts(
    charts: Mapping[str, Any], folder: str | Path, *, formats: Sequence[str] = ("png", "svg"), **options: Any
) -> list[Path]:
    """Write charts as ``NAME.png`` and so on into a folder; see `write_chart`."""
    written = (write_chart(chart, Path(folder) / name, formats=formats, **options) for name, chart in charts.items())
    return [path for paths in written for path in paths]


@checked
def write_chart(
    chart: alt.TopLevelMixin,
    stem: Path,
    *,
    formats: Sequence[str] = ("png", "svg"),
    width: Annotated[float, Within(40, 1000)] | None = None,
    title: bool = True,
) -> list[Path]:
    """Write one chart as ``STEM.png``, ``STEM.svg`` or ``STEM.pdf``, each atomically; return the paths.

    Parameters
    ----------
    chart : altair.TopLevelMixin
    stem : Path
        Path without its ending.
    formats : sequence of {"svg", "pdf", "png"}
    width : float, optional
        Of the whole figure in millimetres.  The drawing is laid out anew at this width, so text keeps 7 to 9 points;
        panels that do not fit beside each other go below.  PNGs have 600 dots per inch.  Without a width the chart
        has its own size, and PNGs three dots a pixel.
    title : bool
        Whether to keep the title and the line under it; a paper has captions for that.

    Raises
    ------
    UsageError
        If a format is unknown.
    """
    for kind in formats:
        if kind not in FORMATS:
            raise unknown("format", kind, FORMATS)
    # The rows are our own: checking each against the Vega-Lite schema would take most of the time.
    spec = chart.to_dict(validate=False)
    if not title:
        spec.pop("title", None)
    svg = _svg(spec) if width is None else _svg_of_width(spec, width)
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in formats]
    for kind, path in zip(formats, paths, strict=True):
        with atomic(path) as f:
            f.write(_as(kind, svg, scale=3.0 if width is None else _DPI / 96))
    return paths


def _as(kind: str, svg: str, *, scale: float) -> bytes:
    if kind == "svg":
        return svg.encode()
    if kind == "png":
        return bytes(vl_convert.svg_to_png(svg, scale=scale))
    # The converter takes pixels for points; a pixel of CSS is three quarters of one.
    width, height = _size(svg)
    return bytes(vl_convert.svg_to_pdf(_of_size(svg, f"{0.75 * width:.3f}", f"{0.75 * height:.3f}")))


def _svg(spec: dict[str, Any]) -> str:
    check_room()
    drawn = str(vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE))
    # Vega leaves the description to the page around it; a file goes without one.
    return drawn.replace(">", f' role="img"><desc>{html.escape(spec.get("description", ""))}</desc>', 1)


def _svg_of_width(spec: dict[str, Any], width: float) -> str:
    """Return the drawing so many millimetres wide."""
    pixels = width * _PIXELS
    spec = _wrapped(spec, pixels)
    fit = {"width": int(pixels), "autosize": {"type": "fit-x", "contains": "padding"}}
    svg = _svg(_paneled(spec, pixels) if "facet" in spec else spec | fit)
    drawn, height = _size(svg)
    return _of_size(svg, f"{width:g}mm", f"{width * height / drawn:.2f}mm")


_SIZE = re.compile(r'(<svg[^>]*?) width="([\d.]+)(mm)?" height="([\d.]+)(?:mm)?"')


def _size(svg: str) -> tuple[float, float]:
    """Return width and height of a drawing in pixels."""
    sizes = _SIZE.search(svg)
    assert sizes is not None, "Vega writes both sizes"
    unit = _PIXELS if sizes[3] else 1.0
    return float(sizes[2]) * unit, float(sizes[4]) * unit


def _of_size(svg: str, width: str, height: str) -> str:
    """Return a drawing with another size; its view box stays."""
    return _SIZE.sub(rf'\1 width="{width}" height="{height}"', svg, count=1)


def _paneled(spec: dict[str, Any], pixels: float) -> dict[str, Any]:
    """Return the spec of several panels: as many in a row as fit, so wide that the whole fits."""
    spec = deepcopy(spec)
    facet, spacing, panel = spec["facet"], spec["spacing"], spec["spec"]
    names = {str(row.get(facet["field"])) for rows in spec["datasets"].values() for row in rows}
    gap = spacing["column"]
    columns = max(1, min(spec["columns"], len(names), int(pixels // (_PANEL + max(gap, _GAP)))))
    spec["columns"] = columns
    # "MODEL: MEASURE" stands in two lines: a single line would run into the next panel
    header = (facet.get("header") or {}) | {"labelExpr": f"split(datum.label, regexp('{_BREAK}'))"}
    facet["header"] = header
    spacing["row"] += 14 * max(len(re.findall(_BREAK, name)) for name in names)
    panel["width"] = _PANEL
    # without its title, which may be wider than panels of the least width
    around = _size(_svg({**spec, "title": None}))[0] - columns * _PANEL
    panel["width"] = max(20, int((pixels - around) / columns))
    header["labelLimit"] = panel["width"] + min(gap, _GAP)
    return spec


def _wrapped(spec: dict[str, Any], pixels: float) -> dict[str, Any]:
    """Return the spec with its title in lines as long as the figure is wide."""
    title = spec.get("title")
    if not title:
        return spec
    lines = {"text": textwrap.wrap(title["text"], int(pixels / 6.6))}
    if title.get("subtitle"):
        lines["subtitle"] = textwrap.wrap(title["subtitle"], int(pixels / 5))
    return spec | {"title": title | lines}

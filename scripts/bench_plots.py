"""Plots as SVG, by hand: lines over one axis, bars, and a grid of cells. Nothing but the standard library."""

import html
import math

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 80, 190, 40, 56
COLOURS = ["#1f5fa8", "#c4562a", "#2f8f4e", "#8a4fa3", "#b0902a", "#3a9aa5", "#a83c5d", "#666666"]


def number(value):
    """A number as people write it."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def text(x, y, words, anchor="middle", size=12, extra=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" {extra}>{html.escape(str(words))}</text>'


def document(title, parts, width=WIDTH, height=HEIGHT):
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" fill="#222"><rect width="100%" height="100%" fill="#fff"/>'
    )
    return "\n".join([head, text(width / 2, 22, title, size=14, extra='font-weight="bold"'), *parts, "</svg>\n"])


class Axis:
    """One axis over positive values: logarithmic where they span more than a factor of twenty."""

    def __init__(self, values, start, end):
        low, high = min(values), max(values)
        self.log = low > 0 and high / low > 20
        if self.log:
            self.low, self.high = math.floor(math.log10(low)), math.ceil(math.log10(high))
            self.ticks = [10.0**power for power in range(self.low, self.high + 1)]
        else:
            step = 10 ** math.floor(math.log10(high or 1))
            step = next(s for s in (step / 5, step / 2, step, step * 2) if (high or 1) / s <= 10)
            self.low, self.high = 0, math.ceil((high or 1) / step) * step
            self.ticks = [step * n for n in range(round(self.high / step) + 1)]
        if self.low == self.high:
            self.high += 1
        self.start, self.end = start, end

    def at(self, value):
        place = math.log10(value) if self.log else value
        return self.start + (place - self.low) / (self.high - self.low) * (self.end - self.start)


def lines(title, x_name, y_name, series):
    """Lines: `series` is a list of (name, dashed, [(x, y)]); points that cannot be shown are left out."""
    series = [(name, dashed, sorted((x, y) for x, y in points if x > 0 and y > 0)) for name, dashed, points in series]
    series = [entry for entry in series if entry[2]]
    if not series:
        return None
    points = [point for _, _, all_points in series for point in all_points]
    x_axis = Axis([x for x, _ in points], LEFT, WIDTH - RIGHT)
    y_axis = Axis([y for _, y in points], HEIGHT - BOTTOM, TOP)
    parts = []
    for tick in y_axis.ticks:
        y = y_axis.at(tick)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(text(LEFT - 6, y + 4, number(tick), "end"))
    for tick in x_axis.ticks:
        x = x_axis.at(tick)
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#eee"/>')
        parts.append(text(x, HEIGHT - BOTTOM + 18, number(tick)))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_name))
    parts.append(text(0, 0, y_name, extra=f'transform="translate(18 {(TOP + HEIGHT - BOTTOM) / 2:.0f}) rotate(-90)"'))
    colours = {}
    for place, (name, dashed, all_points) in enumerate(series):
        # Lines that differ in the percentile alone have one colour.
        colour = colours.setdefault(name.rsplit(", p", 1)[0], COLOURS[len(colours) % len(COLOURS)])
        dash = ' stroke-dasharray="6 4"' if dashed else ""
        way = " ".join(f"{x_axis.at(x):.1f},{y_axis.at(y):.1f}" for x, y in all_points)
        parts.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        for x, y in all_points:
            parts.append(f'<circle cx="{x_axis.at(x):.1f}" cy="{y_axis.at(y):.1f}" r="3" fill="{colour}"/>')
        y = TOP + 8 + 18 * place
        parts.append(
            f'<line x1="{WIDTH - RIGHT + 10}" y1="{y}" x2="{WIDTH - RIGHT + 34}" y2="{y}" stroke="{colour}" stroke-width="2"{dash}/>'
        )
        parts.append(text(WIDTH - RIGHT + 40, y + 4, name, "start", 11))
    height = max(HEIGHT, TOP + 18 * len(series) + 20)
    return document(title, parts, height=height)


def bars(title, unit, entries):
    """Bars, one below the other: `entries` is a list of (name, value)."""
    entries = [(name, value) for name, value in entries if value > 0]
    if not entries:
        return None
    left, row = 250, 26
    most = max(value for _, value in entries)
    parts = []
    for place, (name, value) in enumerate(entries):
        y = TOP + place * row
        length = value / most * (WIDTH - left - 110)
        parts.append(text(left - 8, y + 15, name, "end"))
        parts.append(f'<rect x="{left}" y="{y + 3}" width="{length:.1f}" height="{row - 8}" fill="{COLOURS[0]}"/>')
        parts.append(text(left + length + 6, y + 15, f"{number(value)} {unit}", "start"))
    return document(title, parts, height=TOP + row * len(entries) + 16)


def grid(title, x_name, y_name, cells, limit, unit):
    """Cells over two sets of values: `cells` is {(x, y): value}; those up to `limit` are inside the envelope."""
    columns, rows = sorted({x for x, _ in cells}), sorted({y for _, y in cells}, reverse=True)
    if not cells:
        return None
    width, height = 92, 40
    parts = []
    for at, x in enumerate(columns):
        parts.append(text(LEFT + 20 + width * (at + 0.5), TOP + height * len(rows) + 22, number(x)))
    for at, y in enumerate(rows):
        parts.append(text(LEFT + 12, TOP + height * (at + 0.5) + 4, number(y), "end"))
    for (x, y), value in cells.items():
        left, top = LEFT + 20 + width * columns.index(x), TOP + height * rows.index(y)
        colour = "#cfe8d4" if value <= limit else "#f3d3c6"
        parts.append(f'<rect x="{left}" y="{top}" width="{width - 3}" height="{height - 3}" fill="{colour}"/>')
        parts.append(text(left + width / 2, top + height / 2 + 4, f"{number(value)} {unit}"))
    total_width = max(LEFT + 20 + width * len(columns) + 40, 420)
    total_height = TOP + height * len(rows) + 60
    parts.append(text(total_width / 2, total_height - 10, x_name))
    parts.append(text(0, 0, y_name, extra=f'transform="translate(18 {TOP + height * len(rows) / 2:.0f}) rotate(-90)"'))
    return document(title, parts, total_width, total_height)

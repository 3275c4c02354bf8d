#!/usr/bin/env python3
"""A flame graph as SVG, of the standard library alone.

    flamegraph.py TITLE FOLDED          `perf script -F comm,ip,sym` on standard input; FOLDED gets one line a stack
    flamegraph.py --callgrind TITLE     a callgrind file on standard input: bars, since it knows calls and no stacks
"""

import collections
import html
import re
import sys

import bench_plots as plots

WIDTH, ROW, LEAST = 1400, 17, 0.4


def short(symbol):
    """A symbol without what only the compiler needs: hashes, and the insides of long lists of types."""
    symbol = re.sub(r"::h[0-9a-f]{16}\b", "", symbol.strip())
    symbol = re.sub(r" \(inlined\)$", "", symbol)
    while len(symbol) > 120 and re.search(r"<[^<>]*>", symbol):
        symbol = re.sub(r"<[^<>]*>", "…", symbol, count=1)
    return symbol.replace(";", ",") or "[unknown]"


def stacks(lines):
    """(stack from the outermost, count): perf writes the innermost first, an empty line behind each."""
    folded = collections.Counter()
    name, stack = None, []
    for line in lines:
        line = line.rstrip("\n")
        if not line.strip():
            if name is not None and stack:
                folded[tuple([name, *reversed(stack)])] += 1
            name, stack = None, []
        elif name is None:
            name = line.strip()
        else:
            stack.append(short(line.strip().partition(" ")[2]))
    if name is not None and stack:
        folded[tuple([name, *reversed(stack)])] += 1
    return folded


class Node:
    def __init__(self):
        self.count, self.under = 0, {}

    def add(self, stack, count):
        node = self
        node.count += count
        for frame in stack:
            node = node.under.setdefault(frame, Node())
            node.count += count

    def depth(self):
        return 1 + max((node.depth() for node in self.under.values()), default=0)


def colour(frame):
    """Ours, other crates, the kernel and the rest are told apart."""
    shade = sum(map(ord, frame)) % 40
    if "tickwire" in frame:
        return f"rgb({215 + shade},{110 + shade},50)"
    if re.match(r"(entry_|do_syscall|__x64|asm_|sys_|ret_from)", frame) or "irq" in frame:
        return f"rgb(120,{150 + shade},{190 + shade})"
    if "::" in frame:
        return f"rgb({225 + shade % 30},{195 + shade},90)"
    return f"rgb({190 + shade},{190 + shade},{190 + shade})"


def draw(title, root):
    depth = root.depth()
    height = 50 + ROW * depth
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="monospace" font-size="11"><rect width="100%" height="100%" fill="#fff"/>',
        plots.text(WIDTH / 2, 20, f"{title} ({root.count} samples)", size=14),
    ]
    scale = (WIDTH - 20) / root.count

    def place(node, left, level):
        for frame, under in sorted(node.under.items()):
            width = under.count * scale
            if width >= LEAST:
                top = height - 12 - ROW * (level + 1)
                share = 100 * under.count / root.count
                words = html.escape(frame)
                parts.append(f"<g><title>{words}: {under.count} samples, {share:.2f} %</title>")
                parts.append(f'<rect x="{left:.1f}" y="{top}" width="{max(width - 0.5, 0.3):.1f}" height="{ROW - 1}" fill="{colour(frame)}"/>')
                letters = int(width / 6.8)
                if letters >= 4:
                    # The end of a path says more than its beginning.
                    tail = frame if len(frame) <= letters else "…" + frame[-(letters - 1) :]
                    parts.append(f'<text x="{left + 3:.1f}" y="{top + 12}">{html.escape(tail)}</text>')
                parts.append("</g>")
                place(under, left, level + 1)
            left += width

    place(root, 10, 0)
    return "\n".join([*parts, "</svg>\n"])


def self_costs(lines):
    """Instructions of each function itself, from callgrind's format: a cost line behind `calls=` belongs to the callee."""
    names, costs, current, of_call = {}, collections.Counter(), None, False
    for line in lines:
        found = re.match(r"(c?)fn=\((\d+)\)(?: (.*))?", line)
        if found:
            if found[3]:
                names[found[2]] = short(found[3])
            if not found[1]:
                current = found[2]
        elif line.startswith("calls="):
            of_call = True
        elif re.match(r"[+*\-\d]", line) and current:
            if not of_call:
                costs[current] += int(line.split()[-1])
            of_call = False
    return [(names.get(key, "?"), cost) for key, cost in costs.most_common(40)]


def main(arguments):
    sys.setrecursionlimit(10_000)
    match arguments:
        case ["--callgrind", title]:
            entries = [(name[-34:], cost) for name, cost in self_costs(sys.stdin)]
            print(plots.bars(title, "instructions", entries) or "")
        case [title, folded]:
            found = stacks(sys.stdin)
            if not found:
                sys.exit("flamegraph: perf wrote no samples")
            with open(folded, "w") as out:
                for stack, count in sorted(found.items()):
                    out.write(";".join(stack) + f" {count}\n")
            root = Node()
            for stack, count in found.items():
                root.add(stack, count)
            print(draw(title, root))
        case _:
            sys.exit(__doc__)


main(sys.argv[1:])

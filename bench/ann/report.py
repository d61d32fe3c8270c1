#!/usr/bin/env python3
"""A table and a plot from what ann_bench --out and peers.py --out wrote about one set.

    bench/ann/report.py RESULTS.jsonl --title TEXT --table docs/FILE.md --plot docs/FILE.svg

Rates at a recall are interpolated on the logarithm of the rate between the two nearest measurements of the library's
best ones; a library that does not get there has none.
"""

import argparse
import json
import math
import pathlib

RECALLS = [0.95, 0.99, 0.995, 0.999]
COLOURS = ["#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#ff7f0e", "#7f7f7f"]
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 760, 460, 70, 50, 40, 170


def front(points):
    """Measurements that no other one beats in both, by rising recall."""
    best, kept = 0.0, []
    for recall, qps in sorted(points, reverse=True):
        if qps > best:
            best = qps
            kept.append((recall, qps))
    return kept[::-1]


def rate_at(points, recall):
    line = front(points)
    if not line or line[-1][0] < recall:
        return None
    for (r0, q0), (r1, q1) in zip(line, line[1:]):
        if r0 <= recall <= r1:
            share = (recall - r0) / (r1 - r0)
            return math.exp(math.log(q0) * (1 - share) + math.log(q1) * share)
    return line[0][1]


def read(path):
    searches, builds = {}, {}
    for text in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if line["what"] == "search":
            searches.setdefault(line["name"], []).append((line["recall"], line["qps"]))
        elif line["what"] == "build":
            builds[line["name"]] = line
    return searches, builds


def table(searches, builds):
    rows = ["| | built in | MiB | " + " | ".join(f"at {r}" for r in RECALLS) + " |",
            "|---|---|---|" + "---|" * len(RECALLS)]
    for name, points in searches.items():
        build = builds.get(name, {"seconds": 0, "mib": 0})
        rates = [rate_at(points, r) for r in RECALLS]
        cells = " | ".join(f"{rate:,.0f}" if rate else "–" for rate in rates)
        rows.append(f"| {name} | {build['seconds']:.0f} s | {build['mib']:.0f} | {cells} |")
    return "\n".join(rows) + "\n"


def plot(searches, title):
    """Recall to the right, its nines stretched; queries a second upwards, logarithmic."""
    def x_of(recall):
        nines = min(4.0, -math.log10(max(1e-4, 1 - recall)))
        return LEFT + (WIDTH - LEFT - RIGHT) * (nines - 1) / 3

    rates = [q for points in searches.values() for r, q in points if r >= 0.9]
    low, high = math.floor(math.log10(min(rates))), math.ceil(math.log10(max(rates)))

    def y_of(qps):
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (math.log10(qps) - low) / (high - low)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/><text x="{LEFT}" y="22" font-size="15">{title}</text>']
    for recall in (0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999):
        out.append(f'<path d="M{x_of(recall):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>'
                   f'<text x="{x_of(recall):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{recall}</text>')
    for power in range(low, high + 1):
        out.append(f'<path d="M{LEFT} {y_of(10**power):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 6}" y="{y_of(10**power) + 4:.1f}" text-anchor="end">{10**power:,}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">recall@10</text>'
               f'<text x="16" y="{HEIGHT / 2}" transform="rotate(-90 16 {HEIGHT / 2})" text-anchor="middle">queries a second, one thread</text>')
    for i, (name, points) in enumerate(searches.items()):
        colour = COLOURS[i % len(COLOURS)]
        line = [(x_of(r), y_of(q)) for r, q in front(points) if r >= 0.9]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in line]
        out.append(f'<text x="{WIDTH - RIGHT + 12}" y="{TOP + 14 + 18 * i}" fill="{colour}">{name}</text>')
    return "\n".join(out) + "\n</svg>\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results")
    parser.add_argument("--title", required=True)
    parser.add_argument("--table", required=True)
    parser.add_argument("--plot", required=True)
    args = parser.parse_args()
    searches, builds = read(args.results)
    pathlib.Path(args.table).write_text(f"# {args.title}\n\n{table(searches, builds)}", encoding="utf-8")
    pathlib.Path(args.plot).write_text(plot(searches, args.title), encoding="utf-8")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Draws what the lab of peers has measured: benches/peers.py RESULTS.json... > benches/peers.svg

Each file is what one run of the lab stores. A bar is the requests/s of a server at 16 connections, in relation to the limit
written by hand in the same run; of several runs it is the median.
"""

import json
import statistics
import sys
from html import escape

CONNECTIONS = 16
LIMIT = "limit"
DATABASES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
WORKLOADS = {
    "q1": "one hero by id",
    "q2": "50 heroes, their teams",
    "q3": "three levels",
    "q4": "1,000 heroes",
    "q5": "filter and order",
    "m1": "createHero, 2 teams",
}
# The first is this project. The others keep their colours whichever of them were measured.
COLOURS = {
    "hero-teams": "#c2410c",
    "mercurius": "#1d4ed8",
    "seaography": "#0f766e",
    "yoga": "#7c3aed",
    "postgraphile": "#0891b2",
    "strawberry": "#a3a3a3",
}
WIDTH, PANEL, TOP, LEFT, GAP = 960, 190, 64, 48, 58


def ratios(files):
    """The ratios of all runs, by database, workload and server."""
    found = {}
    for file in files:
        with open(file, encoding="utf-8") as run:
            samples = json.load(run)["samples"]
        rates = {}
        for sample in samples:
            if sample["conns"] == CONNECTIONS:
                key = (sample["db"], sample["workload"], sample["server"])
                rates.setdefault(key, []).append(sample["rps"])
        for (database, workload, server), values in rates.items():
            limit = rates.get((database, workload, LIMIT))
            if limit and server in COLOURS:
                ratio = statistics.median(values) / statistics.median(limit)
                found.setdefault((database, workload, server), []).append(ratio)
    return {key: statistics.median(values) for key, values in found.items()}


def text(x, y, content, anchor="middle", size=12, colour="#404040", weight="normal"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}" '
        f'font-weight="{weight}">{escape(content)}</text>'
    )


def line(y, colour, dashes=""):
    return f'<line x1="{LEFT}" x2="{WIDTH - 16}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" stroke-dasharray="{dashes}"/>'


def panel(database, top, measured, servers):
    """One database: a group of bars for each workload."""
    highest = max(1.1, *(ratio for (db, _, _), ratio in measured.items() if db == database))
    scale = PANEL / highest
    bottom = top + PANEL
    yield text(LEFT, top - 10, DATABASES[database], "start", 14, "#171717", "bold")
    for step in range(0, int(highest / 0.5) + 1):
        y = bottom - step * 0.5 * scale
        yield line(y, "#e5e5e5")
        yield text(LEFT - 8, y + 4, f"{step * 0.5:g}", "end", 11)
    yield line(bottom - scale, "#171717", "4 3")
    group = (WIDTH - 16 - LEFT) / len(WORKLOADS)
    bar = group * 0.8 / len(servers)
    for place, (workload, label) in enumerate(WORKLOADS.items()):
        left = LEFT + place * group + group * 0.1
        yield text(left + group * 0.4, bottom + 18, label)
        for index, server in enumerate(servers):
            ratio = measured.get((database, workload, server))
            if ratio is None:
                continue
            x, height = left + index * bar, ratio * scale
            yield (
                f'<rect x="{x:.1f}" y="{bottom - height:.1f}" width="{bar - 2:.1f}" height="{height:.1f}" '
                f'fill="{COLOURS[server]}"><title>{server}, {label}: {ratio:.2f}</title></rect>'
            )
            if server == servers[0]:
                yield text(x + bar / 2, bottom - height - 4, f"{ratio:.2f}", size=11, colour=COLOURS[server], weight="bold")


def svg(measured):
    """The picture."""
    servers = [server for server in COLOURS if any(key[2] == server for key in measured)]
    databases = [database for database in DATABASES if any(key[0] == database for key in measured)]
    height = TOP + len(databases) * (PANEL + GAP)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" '
        f'role="img" aria-label="Requests per second in relation to the limit written by hand">'
    )
    yield f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    x = LEFT
    for server in servers:
        yield f'<rect x="{x}" y="12" width="12" height="12" fill="{COLOURS[server]}"/>'
        yield text(x + 18, 22, server, "start")
        x += 34 + 7 * len(server)
    yield text(WIDTH - 16, 22, "requests/s; 1 is the limit written by hand", "end")
    for place, database in enumerate(databases):
        yield from panel(database, TOP + place * (PANEL + GAP), measured, servers)
    yield "</svg>"


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    print("\n".join(svg(ratios(sys.argv[1:]))))

#!/usr/bin/env python3
"""What benchmarks found, as report.md, report.json and plots. Called by scripts/bench; the standard library alone.

    built            cargo's messages on standard input -> lines `NAME PROGRAM`
    machine OUT      what runs here -> OUT/machine.json
    report OUT       OUT/results/*.json and OUT/criterion -> OUT/report.json, OUT/report.md, OUT/*.svg
    compare A B      two reports side by side, on standard output
"""

import json
import os
import pathlib
import platform
import re
import subprocess
import sys

import bench_plots as plots

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What tells how much is asked of a benchmark, and what it is a cost of.
LOADS = ["rate", "rate_hz", "ticks_per_s", "deliveries_per_s"]
SIZES = ["terminals", "symbols", "sources"]
TO_US = {"ns": 1e-3, "us": 1.0, "ms": 1e3, "s": 1e6}


def said(*command):
    """The first line of what a command says, or nothing."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def read(path):
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:
        return ""


def built():
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message.get("executable") and "bench" in message["target"]["kind"]:
            print(message["target"]["name"], message["executable"])


def machine(out, quick):
    cpu = dict(re.findall(r"^(.+?)\s*:\s*(.*)$", read("/proc/cpuinfo"), re.M))
    memory = re.search(r"MemTotal:\s*(\d+) kB", read("/proc/meminfo"))
    governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    facts = {
        "date": pathlib.Path(out).name,
        "cpu": cpu.get("model name", platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory[1]) / 1e6, 1) if memory else None,
        "kernel": platform.release(),
        "virtual": "hypervisor" in cpu.get("flags", ""),
        "governor": governor or "not told by the kernel",
        "load_before": read("/proc/loadavg"),
        "commit": said("git", "rev-parse", "--short=12", "HEAD"),
        "changed_files": len(said("git", "status", "--porcelain").splitlines()),
        "rustc": said("rustc", "--version"),
        "profile": "release",
        "recordings": bool(os.environ.get("TICKWIRE_DATA")),
        "quick": quick,
    }
    (pathlib.Path(out) / "machine.json").write_text(json.dumps(facts, indent=1) + "\n")


def question_of(name):
    """The first paragraph of the benchmark's own description."""
    lines = []
    for line in read(ROOT / "benches" / name / "main.rs").splitlines():
        if not line.startswith("//! "):
            break
        lines.append(line[4:])
    return " ".join(lines)


def criterion_of(folder):
    """The medians below one CRITERION_HOME, an element each where criterion was told how many there are."""
    rows = []
    for path in sorted(folder.glob("*/**/new/estimates.json")):
        estimates, what = json.loads(path.read_text()), json.loads((path.parent / "benchmark.json").read_text())
        elements = (what.get("throughput") or {}).get("Elements") or 1
        median = estimates["median"]
        interval = median["confidence_interval"]
        values = {
            "median_ns": median["point_estimate"] / elements,
            "low_ns": interval["lower_bound"] / elements,
            "high_ns": interval["upper_bound"] / elements,
        }
        rows.append({"case": {"group": what["group_id"], "case": what["function_id"] or ""}, "values": values})
    return rows


def gather(out):
    benchmarks = []
    for folder in sorted((out / "criterion").glob("*")):
        rows = criterion_of(folder)
        if rows:
            benchmarks.append({"name": folder.name, "question": question_of(folder.name), "rows": rows})
    for path in sorted((out / "results").glob("*.json")):
        benchmarks.append(json.loads(path.read_text()))
    return {"machine": json.loads(read(out / "machine.json")), "benchmarks": benchmarks}


def shown(value):
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if value and abs(value) < 0.01:
        return f"{value:.2e}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def place_of(key):
    """Percentiles in their order, the greatest last; everything else keeps its place behind them."""
    found = re.match(r"p([\d.]+)(_|$)", key)
    return float(found[1]) if found else 100.0 if key.startswith("max") else 101.0


def keys_of(rows, part):
    found = []
    for row in rows:
        found += [key for key in row[part] if key not in found]
    return sorted(found, key=place_of)


def tables_of(rows):
    """One table; of criterion's rows one for each group."""
    if all(set(row["case"]) == {"group", "case"} for row in rows):
        lines = []
        for group in dict.fromkeys(row["case"]["group"] for row in rows):
            of = sorted((r for r in rows if r["case"]["group"] == group), key=lambda r: r["values"]["median_ns"])
            cells = [[r["case"]["case"], *(shown(r["values"][k]) for k in ("median_ns", "low_ns", "high_ns"))] for r in of]
            lines += table([group, "median ns", "from", "to (95 %)"], cells)
        return lines
    cases, values = keys_of(rows, "case"), keys_of(rows, "values")
    cells = [[shown(row["case"].get(k, "")) for k in cases] + [shown(row["values"].get(k, "")) for k in values] for row in rows]
    return table(cases + values, cells)


def percentile_of(row, name):
    """A percentile in microseconds, whatever its unit."""
    for key, value in row["values"].items():
        found = re.fullmatch(re.escape(name) + r"_(ns|us|ms|s)", key)
        if found:
            return value * TO_US[found[1]]
    return None


def named(case, without):
    return ", ".join(f"{value}" if key == "side" else f"{key} {value}" for key, value in case.items() if key not in without)


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def series_of(rows, axis, value_of, suffix=""):
    series = {}
    for row in rows:
        x, y = row["case"].get(axis), value_of(row)
        if is_number(x) and is_number(y):
            series.setdefault(named(row["case"], [axis]) + suffix, []).append((x, y))
    return series


def plots_of(benchmark):
    """(file, svg) for each plot that the rows of a benchmark are enough for."""
    name, rows = benchmark["name"], benchmark["rows"]
    for load in LOADS:
        series = []
        for percentile, dashed in (("p50", False), ("p99", True)):
            found = series_of(rows, load, lambda row: percentile_of(row, percentile), f", {percentile}")
            series += [(label.lstrip(", "), dashed, points) for label, points in found.items() if len(points) > 1]
        if series:
            yield f"{name}-latency-by-{load}.svg", plots.lines(f"{name}: latency by load", load, "µs", sorted(series, key=lambda s: s[0]))
    for axis, keys in [("batch", ["per_s"]), *((size, ["cpu", "kb", "mb", "bytes", "us_per", "ns_per", "p50", "p99"]) for size in SIZES)]:
        for key in keys_of(rows, "values"):
            if not any(part in key.lower() for part in keys):
                continue
            found = series_of(rows, axis, lambda row: row["values"].get(key))
            series = [(label, False, points) for label, points in found.items() if len(points) > 1]
            if series:
                kind = "throughput" if axis == "batch" else "cost"
                yield f"{name}-{key}-by-{axis}.svg", plots.lines(f"{name}: {kind} by {axis}", axis, key, series)
    for side in dict.fromkeys(str(row["case"].get("side", "")) for row in rows):
        cells = {}
        for row in rows:
            case, p99 = row["case"], percentile_of(row, "p99")
            if str(case.get("side", "")) == side and is_number(case.get("terminals")) and is_number(case.get("rate")) and p99:
                cells[case["rate"], case["terminals"]] = p99 / 1e3
        if len(cells) > 1:
            title = f"{name}: p99 under 1 ms (green), {side or 'all'}"
            yield f"{name}-envelope{'-' + side if side else ''}.svg", plots.grid(title, "rate", "terminals", cells, 1.0, "ms")
    for group in dict.fromkeys(row["case"].get("group") for row in rows if "median_ns" in row["values"]):
        entries = [(r["case"]["case"], r["values"]["median_ns"]) for r in rows if r["case"].get("group") == group]
        file = re.sub(r"[^a-z0-9]+", "-", f"{name} {group}".lower()).strip("-")
        yield f"{file}.svg", plots.bars(group, "ns", entries)


def report(out):
    out = pathlib.Path(out)
    found = gather(out)
    (out / "report.json").write_text(json.dumps(found, indent=1) + "\n")
    lines = ["# What the benchmarks found", "", *table(["machine", ""], [[k, shown(v)] for k, v in found["machine"].items()])]
    if found["machine"]["quick"]:
        lines += ["Quick: fewer samples, so the figures are rough.", ""]
    for benchmark in found["benchmarks"]:
        lines += [f"## {benchmark['name']}", "", benchmark["question"], "", *tables_of(benchmark["rows"])]
        for file, svg in plots_of(benchmark):
            if svg:
                (out / file).write_text(svg)
                lines += [f"![{file}]({file})", ""]
    (out / "report.md").write_text("\n".join(lines))
    print(f"bench: {out / 'report.md'}")


def load(name):
    for folder in (pathlib.Path(name), ROOT / "target/bench" / name):
        if (folder / "report.json").exists():
            return json.loads((folder / "report.json").read_text())
    sys.exit(f"bench: there is no report {name}, expected a folder with report.json")


def compare(a_name, b_name):
    a, b = load(a_name), load(b_name)
    keys = [key for key in a["machine"] if key in b["machine"]]
    lines = table(["", "A", "B"], [[key, shown(a["machine"][key]), shown(b["machine"][key])] for key in keys])
    rows_of_b = {(x["name"], json.dumps(r["case"], sort_keys=True)): r["values"] for x in b["benchmarks"] for r in x["rows"]}
    for benchmark in a["benchmarks"]:
        rows = []
        for row in benchmark["rows"]:
            other = rows_of_b.pop((benchmark["name"], json.dumps(row["case"], sort_keys=True)), {})
            for key, value in row["values"].items():
                if key in ("low_ns", "high_ns"):
                    continue
                now = other.get(key)
                ratio = f"{now / value:.2f}" if is_number(now) and value else ""
                rows.append([named(row["case"], []), key, shown(value), "" if now is None else shown(now), ratio])
        lines += [f"## {benchmark['name']}", "", *table(["case", "value", "A", "B", "B / A"], rows)]
    if rows_of_b:
        lines += ["Only in B: " + "; ".join(f"{name} {case}" for name, case in rows_of_b), ""]
    print("\n".join(lines))


def main(arguments):
    match arguments:
        case ["built"]:
            built()
        case ["machine", out, *quick]:
            machine(out, quick == ["--quick"])
        case ["report", out]:
            report(out)
        case ["compare", a, b]:
            compare(a, b)
        case _:
            sys.exit(__doc__)


main(sys.argv[1:])

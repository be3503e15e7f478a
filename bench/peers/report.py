#!/usr/bin/env python3
"""Compares the answers of each run with the plain recomputation and makes one table of all.

    report.py INPUT.csv FOLDER RESULTS.json NAME...

In FOLDER are plain.json and plain.txt, and of each run NAME.json and NAME.txt. Fails if answers differ
or a run has left nothing.
"""

import json
import os
import platform
import sys
from pathlib import Path

COLUMNS = [
    ("engine", "engine"),
    ("mode", "mode"),
    ("parallelism", "parallelism"),
    ("version", "version"),
    ("messages_per_second", "messages/s"),
    ("cpu_seconds_per_million", "CPU s/million"),
    ("peak_rss_mib", "peak RSS MiB"),
    ("start_seconds", "start s"),
    ("answers_equal", "answers equal"),
]


def are_equal(path, plain, mode, last_us):
    """Of mode hop every line; of mode continuous, where lists change at any time, those of the end."""
    with open(path) as file:
        if mode == "hop":
            lines = sorted(file)
            path.write_text("".join(lines))
            return lines == plain
        lists = {}
        for line in file:
            _, name, *members = line.rstrip("\n").split(",")
            lists[name] = members
    path.unlink()  # it is large, and nobody compares it
    ended = sorted(f"{last_us},{name},{members[0]}\n" for name, members in lists.items() if members)
    return ended == [line for line in plain if line.startswith(f"{last_us},")]


def result(folder, name, summary, plain):
    """What is said of a run; None if it has failed."""
    try:
        measured = json.loads((folder / f"{name}.json").read_text())
    except (OSError, ValueError):
        return None
    messages = summary["messages"]
    measured["messages_per_second"] = round(messages / measured["seconds"])
    measured["cpu_seconds_per_million"] = round(measured["cpu_seconds"] / messages * 1e6, 2)
    measured["answers_equal"] = are_equal(folder / f"{name}.txt", plain, measured["mode"], summary["last_us"])
    return measured


def machine():
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0].split(":")[1].strip() if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
    }


def print_table(results):
    def text(value):
        return {True: "yes", False: "NO"}.get(value, str(value)) if isinstance(value, bool) else str(value)

    rows = [[title for _, title in COLUMNS]]
    rows += [[text(each.get(key, "")) for key, _ in COLUMNS] for each in results]
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def main():
    source, folder, target, *names = sys.argv[1:]
    folder = Path(folder)
    summary = json.loads((folder / "plain.json").read_text())
    with open(folder / "plain.txt") as file:
        plain = file.readlines()
    results, failed = [], []
    for name in names:
        measured = result(folder, name, summary, plain)
        if measured is None:
            failed.append(name)
        else:
            results.append(measured)
    summary["file"] = Path(source).name
    written = {"input": summary, "machine": machine(), "results": results, "failed": failed}
    Path(target).write_text(json.dumps(written, indent=2) + "\n")

    print_table(results)
    different = [each for each in results if not each["answers_equal"]]
    for name in failed:
        print(f"{name}: failed")
    sys.exit(1 if failed or different else 0)


main()

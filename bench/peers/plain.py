#!/usr/bin/env python3
"""The job `sb`, mode hop, recomputed plainly: what the answers of every engine must equal.

    plain.py INPUT.csv ANSWERS.txt

Prints what the input holds, as JSON: `messages`, `clicks`, and `last_us`, the last minute that is
answered. It is written to be read, not to be fast: no minute uses what another has worked out.
"""

import json
import sys
from collections import Counter, defaultdict

START_US = 1_700_000_000_000_000
MINUTE_US = 60_000_000
WINDOW_MINUTES = 10
K = 10


def read(path):
    """Clicks as minute -> item -> amount, stock as (at, item, units) in order of time, and a summary."""
    clicks, stock, categories = defaultdict(Counter), [], {}
    messages = counted = greatest_us = 0
    with open(path) as lines:
        next(lines)
        for line in lines:
            _arrival, at, kind, item, category, amount = line.split(",")
            at_us, item = int(at), int(item)
            messages += 1
            greatest_us = max(greatest_us, at_us)
            categories[item] = int(category)
            if kind == "click":
                counted += 1
                clicks[at_us // MINUTE_US][item] += int(amount)
            else:
                stock.append((at_us, item, int(amount)))
    stock.sort(key=lambda update: update[0])  # stable: of two at one time the later line holds
    last_us = (greatest_us + MINUTE_US) // MINUTE_US * MINUTE_US
    return clicks, stock, categories, {"messages": messages, "clicks": counted, "last_us": last_us}


def answers(clicks, stock, categories, last_us):
    """Yields the lines."""
    units, updates = {}, 0
    first_us = -(-START_US // MINUTE_US) * MINUTE_US
    for t_us in range(first_us, last_us + 1, MINUTE_US):
        while updates < len(stock) and stock[updates][0] < t_us:
            _, item, count = stock[updates]
            units[item] = count
            updates += 1
        scores = Counter()
        for minute in range(t_us // MINUTE_US - WINDOW_MINUTES, t_us // MINUTE_US):
            scores.update(clicks.get(minute, {}))
        lists = defaultdict(list)
        for item, score in scores.items():
            if units.get(item, 0) > 0:
                lists[str(categories[item])].append((-score, item))
                lists["global"].append((-score, item))
        for name, members in lists.items():
            members.sort()
            ranked = " ".join(f"{item}:{-minus}" for minus, item in members[:K])
            yield f"{t_us},{name},{ranked}\n"


def main():
    clicks, stock, categories, summary = read(sys.argv[1])
    # Sorted as bytes, as `LC_ALL=C sort` does; the text is ASCII.
    with open(sys.argv[2], "w") as out:
        out.writelines(sorted(answers(clicks, stock, categories, summary["last_us"])))
    print(json.dumps(summary))


main()

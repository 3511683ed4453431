# SPDX-License-Identifier: GPL-2.0
"""The peers of scripts/peers in the order of its tables, its workloads, and what
a boot prints of them."""

import re

ORDER = ["state", "et-short", "et", "lt", "lt-fionread", "libevent", "poll", "uring"]
STRONGEST = "et-short"
WASTE = ["eagain", "probes", "ctls", "fionread", "soerror"]
CLOCKED = ["user", "cpu", "all", "p50", "p99", "max"]

WHAT = {
    "answers": "{0} bytes asked and answered, {1} connections",
    "bulk": "{0} bulk senders over 100 Mbit/s and 20 ms",
    "relay": "relay, {0} slow consumers",
    "accepts": "connections accepted, {1} at once",
    "ends": "connections that ask once and end, half of them reset, {1} at once",
    "datagrams": "UDP datagrams of 64 to 8000 bytes, each kept in a buffer of its own, {1} at once",
    "registered": "{0} UNIX sockets registered, {1} of them active, 64 bytes",
    "beside": "{1} connections flood the server beside one that asks for {0} bytes",
}


def title(load):
    name, *numbers = load.split("-")
    return WHAT.get(name, name).format(*numbers)


def read(name, rows, marks):
    """Adds the figures of one boot to rows[workload][peer], a list for each."""
    shift = int((re.search(r"shift-(\d+)", name) or ["", 0])[1])
    release = "?"
    with open(name, encoding="ascii") as lines:
        for line in lines:
            word = line.split()
            if word[0] == "kernel":
                release = word[1]
            elif word[0] == "mark" and shift == 0:
                marks.append(word[1:])
            elif word[0] == "figures":
                values = dict(w.split("=") for w in word[3:])
                unit = values.pop("unit")
                values = {k: int(v) for k, v in values.items()}
                for key in CLOCKED:
                    if key in values:
                        values[key] /= 1 << shift
                values["unit"] = unit
                rows[word[1]].setdefault(word[2], []).append(values)
    return release


def short(value):
    if value >= 1000 or value == round(value):
        return f"{value:.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"

# SPDX-License-Identifier: GPL-2.0
"""The peers of scripts/peers in the order of its tables, and its workloads."""

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

# SPDX-License-Identifier: GPL-2.0
"""What the programs of each suite print, read as {test: result}.  A result is
a word or two, or a number that must come out the same on both kernels."""

import re
import xml.etree.ElementTree


class Results(dict):
    """Keeps tests of the same name apart; how often a complaint comes says
    nothing."""

    def complain(self, text):
        self["complaint: " + text.strip()] = "not ok"

    def note(self, test, result):
        test, n, name = test.strip(), 1, test.strip()
        while name in self:
            n += 1
            name = "%s (%d)" % (test, n)
        self[name] = result


def ktap(lines, results):
    for line in lines:
        point = re.match(r"\s*(# )?(not )?ok \d+\s*(?:- )?(.*)$", line)
        if point and not point[1]:
            name, _, rest = point[3].partition("#")
            skip = re.match(r"\s*SKIP\b", rest, re.I)
            results.note(name, "not ok" if point[2] else "skip" if skip else "ok")


def unittest(lines, results):
    """The report of Python's regrtest, which is one document in the output."""
    text = "\n".join(lines)
    begin, end = text.find("<testsuites"), text.rfind("</testsuites>")
    if begin < 0 or end < 0:
        return
    for case in xml.etree.ElementTree.fromstring(text[begin:end + 13]).iter("testcase"):
        kinds = {child.tag for child in case}
        result = [k for k in ("error", "failure", "skipped") if k in kinds]
        results.note(case.get("name"), result[0] if result else
                     "ok" if case.get("result") == "completed" else case.get("result"))


def stress_ng(lines, results):
    """A stressor that cannot work here says so and makes no operations."""
    for line in lines:
        if re.search(r" (fail|error): ", line):
            results.complain(re.sub(r"\[?\d+\]?", "N", line.split(":", 2)[2]))
        metric = re.search(r"metrc: \[\d+\] ([\w-]+) +(\d+) +[\d.]+ ", line)
        if metric:
            results.note("operations of " + metric[1], "done" if int(metric[2]) else "none")
        if re.search(r"stressor (was )?(will be )?skipped|skipping stressor", line):
            results.note("skipped", "skip")


REDIS = (r"total_error_replies|unexpected_error_replies|rejected_connections"
         r"|evicted_keys|expired_keys|sync_full|blocked_clients|clients_in_timeout_table"
         r"|connected_clients|dbsize|counter|list|keyspace_misses|dump_payload_sanitizations"
         r"|client_query_buffer_limit_disconnections"
         r"|client_output_buffer_limit_disconnections")


def redis(lines, results):
    for line in lines:
        row = re.match(r'"([^"]+)","([\d.]+)"', line)
        value = re.match(r"(%s):(\S*)\s*$" % REDIS, line)
        if row:
            results.note(row[1], "ok" if float(row[2]) > 0 else "none")
        elif value:
            results.note(value[1], value[2])
        elif re.search(r"error|refused|reset", line, re.I) and ":" not in line:
            results.complain(line)


def http(lines, results):
    ktap(lines, results)
    for line in lines:
        ab = re.match(r"(Complete requests|Failed requests|Write errors|Non-2xx responses):\s+(\d+)", line)
        if ab:
            results.note(ab[1], ab[2])
        if re.match(r"\s+\d+ requests in ", line):
            results.note("requests", "done" if int(line.split()[0]) else "none")
        if re.match(r"\s*(Socket errors|Non-2xx or 3xx)", line):
            results.complain(line)


FORMATS = {"selftests": ktap, "python": unittest, "stress-ng": stress_ng,
           "redis": redis, "nginx": http}


def read(suite, path):
    """({program: Results}, did the job come to its end) of a recorded run.
    Of several tries of a program the last one counts."""
    programs, done, name, lines = {}, False, None, []
    with open(path, encoding="utf-8", errors="replace") as f:
        for line in f.read().splitlines():
            mark, _, rest = line.removeprefix("## ").partition(" ")
            if not line.startswith("## ") or mark not in ("begin", "end", "done"):
                lines.append(line)
            elif mark == "begin":
                name, lines = rest, []
            elif mark == "end" and name:
                results = Results()
                FORMATS[suite](lines, results)
                status = int(rest.rsplit(" ", 1)[1])
                results.note("exit status", "ok" if status == 0 else
                             "skip" if status == 4 and suite == "selftests" else str(status))
                programs[name], name = results, None
            elif mark == "done":
                done = True
    return programs, done and name is None

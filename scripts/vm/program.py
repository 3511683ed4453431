# SPDX-License-Identifier: GPL-2.0
"""One kselftest program, by the KTAP that it prints."""

import re

PLAN = re.compile(r"^1\.\.(\d+)(\s*#\s*SKIP.*)?$")
POINT = re.compile(r"^(not )?ok (\d+)\s*(?:- )?(.*)$")
SKIP = re.compile(r"#\s*SKIP\b", re.I)
KSFT_SKIP = 4
CONTEXT = 40


class Program:
    """What one test program has printed so far."""

    def __init__(self, name, before=None):
        self.name, self.plan, self.all_skip = name, None, False
        # What failed in earlier tries, and what passed in one of them.
        self.tries = before.tries + before.names("not ok") if before else []
        self.passed = before.passed + before.names("ok") if before else []
        self.points = []        # (name, "ok" | "not ok" | "skip")
        self.faults = []        # what is wrong beside failed points
        self.recent, self.shown = [], []

    def line(self, text):
        plan, point = PLAN.match(text), POINT.match(text)
        if plan:
            if self.plan is not None:
                self.faults.append("a second plan")
            self.plan, self.all_skip = int(plan[1]), bool(plan[2])
        elif point:
            self.point(bool(point[1]), int(point[2]), point[3])
        elif text.startswith("Bail out!"):
            self.faults.append(text)
        self.recent = (self.recent + [text])[-CONTEXT:]
        if point:
            self.recent = []

    def point(self, bad, number, name):
        if number != len(self.points) + 1:
            self.faults.append("result %d where %d was due" % (number, len(self.points) + 1))
        skip = SKIP.search(name)
        result = "not ok" if bad else "skip" if skip else "ok"
        self.points.append((name[:skip.start()].strip() if skip else name.strip(), result))
        if bad:
            self.shown += self.recent + ["not ok: " + name]

    def end(self, status, seconds):
        self.seconds = seconds
        skipped = self.plan == 0 and self.all_skip
        if self.plan is None or self.plan == 0 and not skipped:
            self.faults.append("no plan")
        elif len(self.points) != self.plan:
            self.faults.append("%d of %d results" % (len(self.points), self.plan))
        if skipped and not self.points:
            self.points = [("(all)", "skip")]
        forgiven = set(self.names("not ok")) & set(self.passed)
        self.points = [(n, "ok" if n in forgiven else r) for n, r in self.points]
        only_skips = all(r == "skip" for _, r in self.points)
        if status in (124, 137, 143):
            self.faults.append("time-out")
        elif status != 0 and not forgiven and not (status == KSFT_SKIP and only_skips) and not self.count("not ok"):
            self.faults.append("exit status %d" % status)
        elif status == 0 and self.count("not ok"):
            self.faults.append("exit status 0 with failures")
        if self.faults:
            self.shown += self.recent

    def names(self, result):
        return [n for n, r in self.points if r == result]

    def count(self, result):
        return len(self.names(result))

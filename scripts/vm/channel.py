# SPDX-License-Identifier: GPL-2.0
"""What a guest says to the host: the end mark on the result channel, and
trouble on the console.  Failure is the default: a run without the end mark,
or with a kernel complaint on the console, has failed whatever else it said."""

import os
import pathlib
import re
import subprocess

END_MARK = re.compile(rb"\x1eepollstate-end status=(\d+)\n")

TROUBLE = re.compile(
    r"\bBUG: |\bWARNING: |\bOops\b|\bCall Trace:|possible recursive locking"
    r"|suspicious RCU|\bKASAN\b|\bUBSAN\b|\bKernel panic\b|^init: "
    r"|general protection fault|possible circular locking|soft lockup"
    r"|rcu_\w+ (self-)?detected stall|unreferenced object|blocked for more than"
    r"|memory leak detector disabled|ODEBUG disabled", re.M)

# Boot messages that merely name a checker.
HARMLESS = re.compile(r"KernelAddressSanitizer initialized|kasan: ", re.I)

# The unpatched kernel has data races of its own.  A report of KCSAN is about
# ours if one of our functions makes a plain access: one that is marked (by
# READ_ONCE() and the like) is meant to meet others, who may be old and plain.
RACE = re.compile(r"BUG: KCSAN: (data-race|assert: race) in ")
ACCESS = re.compile(r"^(race at unknown origin, with )?(assert no |read-write|read|write)[^:]* 0x[^:]*:$")

# Our functions: those of our files, by their definitions, and of the hooks.
TREE = pathlib.Path(__file__).resolve().parents[2]
OURS = {"ep_deliver_state", "tcp_check_state_space"}
for source in [TREE / "fs/epollstate.c", *TREE.glob("fs/**/*_poll_state.c"), *TREE.glob("net/**/*_poll_state.c")]:
    OURS.update(re.findall(r"^(?:\w[\w *]*[ *])?(\w+)\([^;{}]*\)\n\{", source.read_text(encoding="ascii"), re.M))


def console_lines(path):
    """Lines of a console log, without colours and carriage returns."""
    try:
        with open(path, "rb") as f:
            text = f.read().decode("utf-8", "replace")
    except OSError:
        return []
    text = re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|c)", "", text)
    return text.replace("\r", "").splitlines()


def without_time(line):
    return re.sub(r"^\[ *[0-9.]+\]\s*", "", line)


# Behind a frame that was decoded: where the innermost inlined function stands.
INLINED_OURS = re.compile(r" \(\S*(_poll_state|/epollstate)\.[ch]:\d")


def decode(lines):
    """With the kernel's VMLINUX, built with debug information, in the environment:
    the frame of each access as scripts/decode_stacktrace.sh prints it, since what
    is inlined into a function has no frame of its own."""
    vmlinux = os.environ.get("VMLINUX")
    at = [i + 1 for i, line in enumerate(lines[:-1]) if ACCESS.match(without_time(line))]
    if not at or not vmlinux:
        return lines
    # A frame has the address behind the access.
    frames = [re.sub(r"\+0x([0-9a-f]+)/", lambda m: "+%#x/" % (int(m.group(1), 16) - 1),
                     without_time(lines[i]).strip()) for i in at]
    script = pathlib.Path(vmlinux).parent / "source/scripts/decode_stacktrace.sh"
    run = subprocess.run([script, vmlinux, "/nowhere"], input="\n".join(frames) + "\n",
                         stdout=subprocess.PIPE, check=True, encoding="utf-8")
    decoded = run.stdout.splitlines()
    if len(decoded) != len(frames):
        raise RuntimeError(f"{script} made {len(decoded)} lines of {len(frames)}")
    for i, frame in zip(at, decoded):
        lines[i] = " " + frame
    return lines


def race_is_ours(report):
    """Whether a plain access in the lines after "BUG: KCSAN" is one of ours.
    A report whose accesses are not to be seen counts as ours."""
    seen = 0
    for i, line in enumerate(report):
        text = without_time(line)
        if text.startswith("====") or "BUG: KCSAN" in text:
            break
        if ACCESS.match(text) and i + 1 < len(report):
            seen += 1
            frame = without_time(report[i + 1])
            function = re.match(r"\w*", frame.strip()).group()
            if "(marked" not in text and (function in OURS or INLINED_OURS.search(frame)):
                return True
    return not seen


def console_trouble(lines):
    """Index of the first line that tells of a kernel error, or None."""
    for i, line in enumerate(lines):
        text = without_time(line)
        if RACE.search(text) and not race_is_ours(lines[i + 1:i + 80]):
            continue
        if TROUBLE.search(text) and not HARMLESS.search(text):
            return i
    return None


def verdict(status, console):
    """(message or None, console lines worth showing) for a finished run;
    status is the one of the end mark, None if there was no end mark."""
    lines = decode(console_lines(console)) if console else []
    at = console_trouble(lines)
    if at is not None:
        return "the kernel complained: " + lines[at].strip(), lines[max(0, at - 2):at + 30]
    if status is None:
        return "the guest ended without the end mark (crash or time-out)", lines[-20:]
    return None, []


def show(message, lines, path, write):
    """Tell a failure with the console lines that go with it."""
    write("guest: %s\n" % message)
    for line in lines:
        write("    console| %s\n" % line)
    if path:
        write("guest: the whole console is in %s\n" % path)

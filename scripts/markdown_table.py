# SPDX-License-Identifier: GPL-2.0
"""Tables in Markdown."""


def markdown(head, lines):
    """A table that reads well as text, too; the first column is words."""
    width = [max(len(line[i]) for line in [head] + lines)
             for i in range(len(head))]

    def row(line):
        cells = [line[0].ljust(width[0])]
        cells += [cell.rjust(w) for cell, w in zip(line[1:], width[1:])]
        return "| " + " | ".join(cells) + " |\n"

    rule = ["-" * width[0]] + ["-" * (w - 1) + ":" for w in width[1:]]
    return row(head) + row(rule) + "".join(row(line) for line in lines)

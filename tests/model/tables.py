#!/usr/bin/env python3
"""Writes what `build/model all` printed, on standard input, into the tables of README.md beside this file: tables.py < OUTPUT. Rows keep the README's order."""

import re
import sys
from pathlib import Path

CONFIGURATION = re.compile(r"ok - model: (.*?) {2,}(\d+) states +(\d+) steps")
MUTANT = re.compile(r"ok - model without (.*?) *\| (.*?) *\| *(\d+) states \| *(\d+) steps \| (.*)")


def number(text: str) -> str:
    return f"{int(text):,}"


def bold(rules: str) -> str:
    return re.sub(r"(^|, and )([^:]*): ", r"\1**\2** ", rules)


def in_order(rows: dict[str, str], old: list[str]) -> list[str]:
    """Those that stood there first, in their order; new ones behind them."""
    keys = [key for line in old for key in rows if line.startswith(f"| {key} |")]
    return [rows[key] for key in keys] + [row for key, row in rows.items() if key not in keys]


def replace(text: str, head: str, rows: dict[str, str]) -> str:
    before, table = text.split(head, 1)
    lines = table.split("\n")
    end = next(i for i, line in enumerate(lines) if i > 1 and not line.startswith("|"))
    return before + head + "\n".join(lines[:2] + in_order(rows, lines[2:end]) + lines[end:])


def main() -> None:
    printed = sys.stdin.read()
    if "not ok" in printed:
        sys.exit("the model does not hold: nothing is written")
    readme = Path(__file__).with_name("README.md")
    configurations = {name.strip(): f"| {name.strip()} | {number(states)} | {number(steps)} |" for name, states, steps in CONFIGURATION.findall(printed)}
    mutants = {}
    for rules, configuration, states, steps, law in MUTANT.findall(printed):
        mutants[bold(rules)] = f"| {bold(rules)} | {configuration} | {number(states)} | {number(steps)} | {law} |"
    text = replace(readme.read_text(), "| configuration | states | steps |", configurations)
    text = replace(text, "| rule left out | configuration | states | steps | what is violated |", mutants)
    total = re.search(r"^(\d+) states with all rules kept", printed, re.M)
    text = re.sub(r"[\d,]+ states, no violation\.", f"{number(total.group(1))} states, no violation.", text)
    readme.write_text(text)


if __name__ == "__main__":
    main()

"""A diagnosis for people: per check its tables, then its findings; the last line is the verdict."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from reflow.doctor.finding import Check, Diagnosis, Finding, Table

_STYLES = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "bold red"}


def print_check(check: Check, console: Console | None = None) -> None:
    """Prints one check."""
    console = console or Console()
    console.rule(check.name, align="left")
    for table in check.tables:
        print_table(table, console)
    for finding in check.findings:
        print_finding(finding, console)


def print_table(table: Table, console: Console) -> None:
    """Prints a table; its first column holds names."""
    shown = RichTable(title=table.title, title_justify="left")
    for number, column in enumerate(table.columns):
        shown.add_column(escape(column), justify="left" if number == 0 else "right")
    for row in table.rows:
        shown.add_row(*(escape(cell) for cell in row))
    console.print(shown)


def print_finding(finding: Finding, console: Console) -> None:
    """Prints what, how bad, what to do."""
    style = _STYLES[finding.severity]
    console.print(f"[{style}]{finding.severity:>7}[/]  {escape(finding.what)}", soft_wrap=True)
    if finding.how_bad:
        console.print(f"         {escape(finding.how_bad)}", soft_wrap=True)
    if finding.what_to_do:
        console.print(f"         [bold]->[/] {escape(finding.what_to_do)}", soft_wrap=True, highlight=False)


def print_diagnosis(diagnosis: Diagnosis, console: Console | None = None) -> None:
    """Prints every check, then the verdict."""
    console = console or Console()
    for check in diagnosis.checks:
        print_check(check, console)
    console.rule()
    style = "yellow" if diagnosis.complaints else "green"
    console.print(f"[{style}]{escape(diagnosis.verdict)}[/]", soft_wrap=True)

"""A benchmark's document as Markdown, ready to be pasted into a README or an issue."""

from clipedge.benchmarks.markup import bullets, escaped, markdown_table
from clipedge.benchmarks.reports import columns, remarks
from clipedge.benchmarks.speed.comparison import comparison_markdown
from clipedge.benchmarks.speed.document import Document


def markdown_text(document: Document) -> str:
    """Return heading, what was held fixed, a table with every figure, notes, warnings, failures."""
    rows = document["rows"]
    packages = [f"{name} {version}" for name, version in sorted(document["packages"].items())]
    conditions = [
        ", ".join([document["started_utc"], f"clipedge {document['clipedge']}", *packages]),
        *remarks.condition_lines(document),
    ]
    blocks = [f"## Clips per second: {escaped(remarks.machine_text(document))}"]
    blocks += [f"**{escaped(line)}**" for line in remarks.state_lines(document)]
    blocks.append(bullets(conditions))
    if rows:
        found = columns.filled(columns.MARKDOWN, rows)
        cells = [[column.cell(row) for column in found] for row in rows]
        blocks += [markdown_table([column.title for column in found], cells)]
        blocks += [bullets(remarks.notes(rows))]
    if document["settings"]["compare_backends"]:
        blocks.append(comparison_markdown(document).rstrip("\n"))
    for title, lines in (
        ("Not firm", remarks.warning_lines(document)),
        ("Failed", remarks.failure_lines(document)),
    ):
        if lines:
            blocks.append(f"### {title}\n\n{bullets(lines)}")
    return "\n\n".join(blocks) + "\n"

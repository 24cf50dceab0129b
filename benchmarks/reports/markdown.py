"""A benchmark's document as Markdown, ready to be pasted into a README or an issue."""

from clipedge.benchmarks.markup import bullets, escaped, markdown_table
from clipedge.benchmarks.reports import columns, remarks
from clipedge.benchmarks.speed.document import Document

_COLUMNS = (
    columns.MODEL,
    columns.BACKEND,
    columns.BATCH,
    *columns.SPEED,
    *columns.ON_GPU,
    *columns.ENERGY[:2],
    *columns.MEMORY,
    columns.SHARE_BY_LAYER,
    columns.TITAN_XP,
    columns.RATIOS[0],
    columns.JETSON_TX2,
    columns.RATIOS[1],
    *columns.ACCURACY,
)


def markdown_text(document: Document) -> str:
    """Return heading, what was held fixed, one table with every figure, notes and failures."""
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
        found = columns.filled(_COLUMNS, rows)
        cells = [[column.cell(row) for column in found] for row in rows]
        blocks += [markdown_table([column.title for column in found], cells)]
        blocks += [bullets(remarks.notes(rows))]
    for title, lines in (
        ("Not firm", remarks.warning_lines(document)),
        ("Failed", remarks.failure_lines(document)),
    ):
        if lines:
            blocks.append(f"### {title}\n\n{bullets(lines)}")
    return "\n\n".join(blocks) + "\n"

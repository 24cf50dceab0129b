/* How long each batch took: a shape a row, with the document's percentiles on it. */

{
  const section = at("latency");
  const unit = at("latency-unit");
  const MARKS = [
    ["median", "median", "line-ns-open", "text"],
    ["p95", "p95", "triangle-down", "accent"],
    ["p99", "p99", "x-thin-open", "accent"],
    ["max", "slowest", "circle-open", "quiet"],
  ];
  const known = rows.filter((row) => row.latencies_ms.length && row.latency_ms && row.latency_ms.median > 0);
  const scale = (row) => (unit.value === "ms" ? 1 : 1 / row.latency_ms.median);

  const shape = (row, index) => ({
    type: "violin",
    orientation: "h",
    x: row.latencies_ms.map((ms) => ms * scale(row)),
    y0: index,
    width: 0.85,
    points: false,
    spanmode: "hard",
    scalemode: "width",
    showlegend: false,
    hoverinfo: "skip",
    line: { width: 1, color: groupColour(groupOf(row)) },
    fillcolor: groupColour(groupOf(row)),
    opacity: 0.55,
  });

  const marks = ([key, name, symbol, tone]) => ({
    type: "scatter",
    mode: "markers",
    name,
    x: known.map((row) => row.latency_ms[key] * scale(row)),
    y: known.map((_, index) => index),
    text: known.map(
      (row) =>
        `${plain(row.name)}<br>${name} ${number(row.latency_ms[key], 4)} ms, of ${row.batches} batches`,
    ),
    hovertemplate: "%{text}<extra></extra>",
    marker: {
      symbol,
      size: key === "median" ? 14 : 7,
      color: colour(tone),
      line: { width: 2, color: colour(tone) },
    },
  });

  const show = () => {
    const inMs = unit.value === "ms";
    const ends = known.flatMap((row) => [row.latency_ms.min * scale(row), row.latency_ms.max * scale(row)]);
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    const log = {
      type: "log",
      range: [Math.log10(low / 1.1), Math.log10(high * 1.1)],
      ...logTicks(low / 1.1, high * 1.1),
    };
    const pad = 0.03 * (high - low || 1);
    const names = known.map((row) => `${row.name}, ${number(row.latency_ms.median)} ms`);
    draw(
      at("latency-chart"),
      [...known.map(shape), ...MARKS.map(marks)],
      {
        xaxis: axis(inMs ? "ms" : "times the row's median", inMs ? log : { range: [low - pad, high + pad] }),
        yaxis: namesAxis(names),
        violinmode: "overlay",
        hovermode: "closest",
        margin: { l: 50, r: 20, t: 34, b: 46 },
      },
      rowsHeight(names),
    );
  };

  if (known.length) {
    whenChanged(at("latency-tools"), show);
    charts.push(show);
  } else {
    nothing(section, "Nothing was measured.");
  }
}

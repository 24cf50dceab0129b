/* Power, temperature and clocks while a row was measured: a line a row. */

{
  const select = at("series-row");
  const FEW = 8; // so many lines have a colour each
  const withAny = rows.filter((row) => data.series.some(({ key }) => row.series[key]));

  const line = (row, index, count, { key, name, unit }) => {
    const many = count > FEW;
    return {
      type: "scatter",
      mode: row.t_s.length > 60 ? "lines" : "lines+markers",
      name: plain(row.name),
      x: row.t_s,
      y: row.series[key],
      opacity: many ? 0.6 : 1,
      line: { width: many ? 1.2 : 2, color: many ? groupColour(groupOf(row)) : colour(`c${index % 8}`) },
      marker: { size: 5, symbol: SYMBOLS[index % 8] },
      hovertemplate: `${plain(row.name)}<br>%{x:.1f} s: %{y:.5g} ${unit}<extra></extra>`,
    };
  };

  const show = () => {
    const chosen = select.value === "" ? withAny : [rows[Number(select.value)]];
    let legend = withAny.length <= FEW && chosen.length > 1; // above the first chart
    for (const kind of data.series) {
      const target = at(`series-${kind.key}`);
      if (!target) continue;
      const some = chosen.filter((row) => row.series[kind.key]);
      target.parentElement.hidden = !some.length;
      if (!some.length) continue;
      draw(
        target,
        some.map((row) => line(row, withAny.indexOf(row), withAny.length, kind)),
        {
          xaxis: axis("seconds since the row's first measurement", { rangemode: "tozero" }),
          yaxis: axis(kind.unit),
          hovermode: "closest",
          showlegend: legend,
          margin: { l: 60, r: 20, t: 20, b: 46 },
        },
        narrow() ? 300 : 260,
      );
      legend = false;
    }
  };

  /* Why something is not known, and of which rows. */
  const missing = ({ key, name }) => {
    const reasons = new Map();
    for (const row of rows.filter((one) => !one.series[key])) {
      const reason = row.series_missing[key] || "no reading was taken in the time";
      reasons.set(reason, [...(reasons.get(reason) || []), row.name]);
    }
    for (const [reason, names] of reasons) {
      const some = names.length > 3 ? `${names.length} rows` : names.join("; ");
      const which = names.length === rows.length ? "" : ` of ${some}`;
      const item = document.createElement("li");
      item.textContent = `${name}${which} is not known: ${reason}.`;
      at("series-missing").append(item);
    }
  };

  const figure = ({ key, name }) => {
    const place = document.createElement("figure");
    const title = document.createElement("figcaption");
    const chart = document.createElement("div");
    title.textContent = name;
    chart.id = `series-${key}`;
    chart.className = "chart";
    place.append(title, chart);
    at("series-charts").append(place);
  };

  for (const kind of data.series) {
    if (rows.some((row) => row.series[kind.key])) figure(kind);
    missing(kind);
  }
  for (const row of rows) {
    for (const event of row.events) {
      const item = document.createElement("li");
      item.textContent = `${row.name}: ${event}.`;
      at("series-events").append(item);
    }
  }
  if (withAny.length) {
    if (withAny.length > 1) fill(select, [["", "all"]]);
    fill(
      select,
      withAny.map((row) => [rows.indexOf(row), row.name]),
    );
    whenChanged(at("series-tools"), show);
    charts.push(show);
  } else if (!rows.length) {
    at("series-missing").append("Nothing was measured.");
  }
}

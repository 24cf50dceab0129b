/* How near each row comes to its physical limit, and what the time at the limit goes to. */

{
  const section = at("limit");
  const known = rows.filter((row) => row.limit);
  const places = known.map((_, index) => index);
  const names = known.map((row) => row.name);

  const share = (key, rateKey, name, tone) => ({
    type: "bar",
    orientation: "h",
    name,
    x: known.map((row) => 100 * row.limit[key]),
    y: places,
    marker: { color: colour(tone) },
    text: known.map((row) => percent(row.limit[key])),
    textposition: "outside",
    textfont: { size: rowPitch(names) < 12 ? 6 : rowPitch(names) < 20 ? 8 : 10 },
    cliponaxis: false,
    customdata: known.map(
      (row) => `${plain(row.name)}<br>${number(row.clips_per_s)} of ${number(row.limit[rateKey])} clips/s`,
    ),
    hovertemplate: `%{customdata}<br>%{text} of the limit, ${name}<extra></extra>`,
  });

  const kinds = [...new Set(known.flatMap((row) => Object.keys(row.limit.time_shares)))];
  const kindBar = (kind) => ({
    type: "bar",
    orientation: "h",
    name: plain(kind),
    x: known.map((row) => 100 * (row.limit.time_shares[kind] || 0)),
    y: places,
    marker: { color: kindColour(kind), line: { width: 0.5, color: colour("card") } },
    customdata: names.map(plain),
    hovertemplate: `%{customdata}<br>${plain(kind)}: %{x:.1f} %<extra></extra>`,
  });

  const show = () => {
    const bare = namesAxis(names);
    const together = printing || window.innerWidth >= 900; // the names stand once
    const shares = [
      share("share_of_by_layer", "by_layer_clips_per_s", "by layer", "c0"),
      share("share_of_strict", "strict_clips_per_s", "strict", "c4"),
    ];
    const most = Math.max(100, ...shares.flatMap((one) => one.x));
    const height = rowsHeight(names) + (printing ? 0 : 40 + 8 * known.length);
    const margin = { l: 50, r: 20, t: 64, b: 46 };
    draw(
      at("limit-chart"),
      shares,
      {
        barmode: "group",
        bargap: 0.25,
        margin,
        xaxis: axis("% of the limit reached", { range: [0, most * 1.12] }),
        yaxis: bare,
      },
      height,
    );
    const alone = together ? { ...bare, showticklabels: false } : bare;
    draw(
      at("limit-kinds"),
      kinds.map(kindBar),
      {
        barmode: "stack",
        bargap: 0.25,
        margin: together ? { ...margin, l: 10 } : margin,
        xaxis: axis("% of the time at the limit, layer by layer", { range: [0, 100] }),
        yaxis: alone,
      },
      height,
    );
  };

  const without = rows.filter((row) => !row.limit).map((row) => row.name);
  const reasons = Object.values(data.limit_missing).join("; ");

  const note = () => {
    const devices = [...new Set(known.map((row) => row.limit.device))].join(" and ");
    const said = [
      `The limit is of ${devices}.`,
      "Strict: all arithmetic at the peak rate, or the numbers that must move, each once, at the",
      "memory's bandwidth, whichever takes longer.",
      "By layer: the same for each layer, one after the other.",
    ];
    if (without.length) {
      const which = without.length > 5 ? `${without.length} rows` : without.join("; ");
      said.push(`Without a limit: ${which}${reasons && ` (${reasons})`}.`);
    }
    return said.join(" ");
  };

  if (known.length) {
    charts.push(show);
    at("limit-note").textContent = note();
  } else if (rows.length) {
    nothing(section, `No limit is known: ${reasons || "none of these models' layers are counted"}.`);
  } else {
    nothing(section, "Nothing was measured.");
  }
}

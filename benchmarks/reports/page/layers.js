/* The time of each layer, of one row. */

{
  const section = at("layers");
  const select = at("layers-row");
  const order = at("layers-order");
  const MOST = 30; // by name; the others are the small ones
  const known = rows.filter((row) => row.profile && row.profile.layers.length);

  const kindsOf = (layers) => [...new Set(layers.map((layer) => layer.kind || "layer"))];

  const bars = (layers, kinds, flat) =>
    kinds.map((kind) => {
      const some = layers.map((layer, index) => [layer, index]).filter(([layer]) => (layer.kind || "layer") === kind);
      const times = some.map(([layer]) => layer.median_ms);
      const places = some.map(([, index]) => index + (flat ? 0 : 1));
      return {
        type: "bar",
        orientation: flat ? "h" : "v",
        name: plain(kind),
        showlegend: kinds.length > 1,
        x: flat ? times : places,
        y: flat ? places : times,
        width: 0.85,
        marker: { color: kinds.length > 1 ? kindColour(kind) : colour("c0") },
        customdata: some.map(([layer]) => `${plain(layer.name)}<br>${number(layer.median_ms, 4)} ms` + (layer.limit_ms ? `, ${number(layer.median_ms / layer.limit_ms, 3)} times its limit` : "")),
        hovertemplate: "%{customdata}<extra></extra>",
      };
    });

  const limits = (layers, flat) => {
    const some = layers.map((layer, index) => [layer, index]).filter(([layer]) => layer.limit_ms);
    if (!some.length) return [];
    const times = some.map(([layer]) => layer.limit_ms);
    const places = some.map(([, index]) => index + (flat ? 0 : 1));
    return [
      {
        type: "scatter",
        mode: "markers",
        name: "its limit",
        x: flat ? times : places,
        y: flat ? places : times,
        hoverinfo: "skip",
        marker: { symbol: flat ? "line-ns-open" : "line-ew-open", size: 10, color: colour("text"), line: { width: 2, color: colour("text") } },
      },
    ];
  };

  const clipped = (name) => {
    const most = narrow() ? 18 : 44;
    return name.length <= most ? name : `${name.slice(0, most / 2)}…${name.slice(-most / 2)}`;
  };

  const show = () => {
    const { layers, no_limit: noLimit } = rows[Number(select.value)].profile;
    const kinds = kindsOf(layers);
    const total = layers.reduce((sum, layer) => sum + layer.median_ms, 0);
    const flat = order.value === "largest";
    const shown = flat ? [...layers].sort((a, b) => b.median_ms - a.median_ms).slice(0, MOST) : layers;
    const part = shown.reduce((sum, layer) => sum + layer.median_ms, 0) / (total || 1);
    const traces = [...bars(shown, kinds, flat), ...limits(shown, flat)];
    const margin = { l: 50, r: 20, t: kinds.length > 1 ? 48 : 24, b: 46 };
    if (flat) {
      const axes = { xaxis: axis("ms", { range: [0, 1.04 * Math.max(...shown.map((layer) => layer.median_ms))] }), yaxis: namesAxis(shown.map((layer) => clipped(layer.name))) };
      draw(at("layers-chart"), traces, { barmode: "overlay", margin, ...axes }, 100 + (printing ? 16 : 22) * Math.max(3, shown.length));
    } else {
      const axes = { xaxis: axis("layer, in the order they run", { range: [0.4, shown.length + 0.6] }), yaxis: axis("ms", { rangemode: "tozero" }) };
      draw(at("layers-chart"), traces, { barmode: "overlay", margin, ...axes }, 360);
    }
    const sums = kinds.length < 2 ? "" : ` By kind: ${kinds.map((kind) => [kind, layers.filter((one) => (one.kind || "layer") === kind).reduce((sum, one) => sum + one.median_ms, 0)]).sort((a, b) => b[1] - a[1]).map(([kind, ms]) => `${kind} ${percent(ms / (total || 1))}`).join(", ")}.`;
    at("layers-note").textContent = `${layers.length} layers take ${number(total, 4)} ms together, each by its median` + (shown.length < layers.length ? `; the ${shown.length} shown take ${percent(part)} of it.` : ".") + sums + (noLimit ? ` Their limits are not known: ${noLimit}.` : "");
  };

  if (known.length) {
    fill(select, known.map((row) => [rows.indexOf(row), row.name]));
    whenChanged(at("layers-tools"), show);
    charts.push(show);
    const refused = rows.filter((row) => row.profile && !row.profile.layers.length && row.profile.reason);
    for (const row of refused) {
      const note = document.createElement("p");
      note.className = "quiet";
      note.textContent = `${row.name}: ${row.profile.reason}`;
      section.append(note);
    }
  } else {
    const reasons = [...new Set(rows.map((row) => row.profile && row.profile.reason).filter(Boolean))];
    nothing(section, rows.length ? reasons.join(" ") || "The layers were not timed: --profile does." : "Nothing was measured.");
  }

  redraw(); // this file is the last
}

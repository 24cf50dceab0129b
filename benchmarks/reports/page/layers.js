/* The time of each layer, of one row. */

{
  const section = at("layers");
  const select = at("layers-row");
  const order = at("layers-order");
  const MOST = 30; // by name; the others are the small ones
  const known = rows.filter((row) => row.profile && row.profile.layers.length);

  const kindOf = (layer) => layer.kind || "layer";
  const kindsOf = (layers) => [...new Set(layers.map(kindOf))];

  const told = ({ name, median_ms: ms, limit_ms: limitMs }) => {
    const over = limitMs ? `, ${number(ms / limitMs)} times its limit` : "";
    return `${plain(name)}<br>${number(ms, 4)} ms${over}`;
  };

  const bars = (layers, kinds, flat) =>
    kinds.map((kind) => {
      const some = layers.map((layer, index) => [layer, index]).filter(([layer]) => kindOf(layer) === kind);
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
        customdata: some.map(([layer]) => told(layer)),
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
        marker: {
          symbol: flat ? "line-ns-open" : "line-ew-open",
          size: 10,
          color: colour("text"),
          line: { width: 2, color: colour("text") },
        },
      },
    ];
  };

  const clipped = (name) => {
    const most = narrow() ? 18 : 44;
    return name.length <= most ? name : `${name.slice(0, most / 2)}…${name.slice(-most / 2)}`;
  };

  const timeOf = (layers) => layers.reduce((sum, layer) => sum + layer.median_ms, 0);

  const note = (layers, shown, kinds, noLimit) => {
    const total = timeOf(layers);
    const said = [`${layers.length} layers take ${number(total, 4)} ms together, each by its median`];
    if (shown.length < layers.length) {
      said.push(`; the ${shown.length} shown take ${percent(timeOf(shown) / (total || 1))} of it`);
    }
    if (kinds.length > 1) {
      const times = kinds.map((kind) => [kind, timeOf(layers.filter((layer) => kindOf(layer) === kind))]);
      times.sort((one, other) => other[1] - one[1]);
      const shares = times.map(([kind, ms]) => `${kind} ${percent(ms / (total || 1))}`);
      said.push(`. By kind: ${shares.join(", ")}`);
    }
    if (noLimit) said.push(`. Their limits are not known: ${noLimit}`);
    return `${said.join("")}.`;
  };

  const largest = (shown, traces, margin) => {
    const most = Math.max(...shown.map((layer) => layer.median_ms));
    const height = 100 + (printing ? 16 : 22) * Math.max(3, shown.length);
    const xaxis = axis("ms", { range: [0, 1.04 * most] });
    const yaxis = namesAxis(shown.map((layer) => clipped(layer.name)));
    draw(at("layers-chart"), traces, { barmode: "overlay", margin, xaxis, yaxis }, height);
  };

  const inOrder = (shown, traces, margin) => {
    const xaxis = axis("layer, in the order they run", { range: [0.4, shown.length + 0.6] });
    const yaxis = axis("ms", { rangemode: "tozero" });
    draw(at("layers-chart"), traces, { barmode: "overlay", margin, xaxis, yaxis }, 360);
  };

  const show = () => {
    const { layers, no_limit: noLimit } = rows[Number(select.value)].profile;
    const kinds = kindsOf(layers);
    const flat = order.value === "largest";
    const bySize = [...layers].sort((one, other) => other.median_ms - one.median_ms);
    const shown = flat ? bySize.slice(0, MOST) : layers;
    const margin = { l: 50, r: 20, t: kinds.length > 1 ? 48 : 24, b: 46 };
    (flat ? largest : inOrder)(shown, [...bars(shown, kinds, flat), ...limits(shown, flat)], margin);
    at("layers-note").textContent = note(layers, shown, kinds, noLimit);
  };

  if (known.length) {
    fill(
      select,
      known.map((row) => [rows.indexOf(row), row.name]),
    );
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
    nothing(
      section,
      rows.length
        ? reasons.join(" ") || "The layers were not timed: --profile does."
        : "Nothing was measured.",
    );
  }

  redraw(); // this file is the last
}

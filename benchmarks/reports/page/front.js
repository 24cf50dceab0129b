/* Accuracy against speed: which model no other one beats in both, and which to take. */

{
  const section = at("front");
  const select = at("dataset");
  const rate = at("min-rate");
  const published = (key) => rows.filter((row) => row.accuracy[key] !== null && row.clips_per_s > 0);

  /* The rows that no other one equals or beats in both, the slowest first. */
  const frontOf = (points) => {
    const found = [];
    const accuracy = (row) => row.accuracy[select.value];
    const ordered = [...points].sort((a, b) => b.clips_per_s - a.clips_per_s || accuracy(b) - accuracy(a));
    for (const row of ordered) {
      if (!found.length || accuracy(row) > accuracy(found[0])) found.unshift(row);
    }
    return found;
  };

  const figures = (row) =>
    `${number(row.accuracy[select.value], 4)} % at ${number(row.clips_per_s, 4)} clips/s`;

  /* As speed/recommend.py: the most accurate model whose slowest repeat reaches the rate; of its
     rows the one with the fewest clips at once, which answers soonest. */
  const sooner = (one, other) =>
    one.at_once < other.at_once || (one.at_once === other.at_once && one.clips_per_s > other.clips_per_s);

  const chosen = (some, least) => {
    const speakers = new Map();
    for (const row of some.filter((one) => one.slowest >= least)) {
      const model = JSON.stringify([row.model, row.width]);
      const other = speakers.get(model);
      if (!other || sooner(row, other)) speakers.set(model, row);
    }
    const better = (a, b) => b.accuracy[select.value] - a.accuracy[select.value] || b.slowest - a.slowest;
    return [...speakers.values()].sort(better)[0];
  };

  const answer = (some, least) => {
    const name = select.selectedOptions[0].textContent;
    const taken = chosen(some, least);
    if (taken) {
      const said = `take ${taken.name}: ${figures(taken)}, by its published accuracy on ${name}.`;
      return `For ${number(least)} clips/s on this machine ${said}`;
    }
    const fastest = some.reduce((one, other) => (other.slowest > one.slowest ? other : one));
    const reached = `reaches ${number(least)} clips/s here in its slowest repeat`;
    const said = `the fastest is ${fastest.name}: ${figures(fastest)}`;
    return `No model with a published accuracy on ${name} ${reached}; ${said}.`;
  };

  const points = (some, extra) => ({
    type: "scatter",
    mode: "markers",
    x: some.map((one) => one.clips_per_s),
    y: some.map((one) => one.accuracy[select.value]),
    text: some.map((one) => plain(one.name)),
    hovertemplate: "%{text}<br>%{x:.4g} clips/s, %{y:.2f} %<extra></extra>",
    ...extra,
  });

  const measured = (some) =>
    groups
      .map((group) => [group, some.filter((row) => groupOf(row) === group)])
      .filter(([, members]) => members.length)
      .map(([group, members]) =>
        points(members, {
          name: plain(group),
          marker: {
            color: groupColour(group),
            symbol: groupSymbol(group),
            size: 10,
            line: { width: 1, color: colour("card") },
          },
        }),
      );

  const paperTrace = (some, key, name, symbol) => {
    const seen = new Map();
    for (const row of some) {
      const speed = row.paper[key];
      const place = `${row.model} ${speed} ${row.accuracy[select.value]}`;
      if (speed !== null) seen.set(place, { ...row, clips_per_s: speed, name: `${row.name}, ${name}` });
    }
    if (!seen.size) return [];
    return [
      points([...seen.values()], {
        name,
        marker: { symbol, size: 9, color: colour("quiet"), line: { width: 1.5, color: colour("quiet") } },
      }),
    ];
  };

  const line = (front) =>
    points(front, {
      name: "Pareto front",
      mode: "lines",
      hoverinfo: "skip",
      hovertemplate: null,
      line: { shape: "vh", width: 2, color: colour("accent") },
    });

  /* Names beside the front's points, where no other point or name is, as far as there is room. */
  const names = (front, traces, place, size, width) => {
    const taken = traces.flatMap((one) => one.x.map((x, index) => box(...place(x, one.y[index]), 12, 12)));
    const positions = front.map((row) => {
      const [x, y] = place(row.clips_per_s, row.accuracy[select.value]);
      const [length, height] = [row.short.length * size * 0.58, size * 1.2];
      const options = [
        ["top right", x + length / 2, y - height],
        ["middle right", x + length / 2 + 9, y],
        ["top center", x, y - height - 2],
        ["bottom right", x + length / 2, y + height],
        ["bottom left", x - length / 2, y + height],
        ["bottom center", x, y + height + 2],
        ["top left", x - length / 2, y - height],
      ];
      const boxes = options.map(([name, left, top]) => [name, box(left, top, length, height)]);
      const inside = boxes.filter(([, [left, , right]]) => left > -30 && right < width + 20);
      const [name, own] =
        inside.find(([, one]) => !taken.some((other) => overlap(one, other))) || inside[0] || boxes[0];
      taken.push(own);
      return name;
    });
    return points(front, {
      mode: "text",
      text: front.map((row) => plain(row.short)),
      showlegend: false,
      hoverinfo: "skip",
      hovertemplate: null,
      textposition: positions,
      textfont: { size, color: colour("text") },
      cliponaxis: false,
    });
  };

  const box = (x, y, width, height) => [x - width / 2, y - height / 2, x + width / 2, y + height / 2];
  const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

  const rateLine = (least, range) => ({
    type: "scatter",
    mode: "lines+text",
    name: `${number(least)} clips/s`,
    showlegend: false,
    x: [least, least],
    y: range,
    text: [`${number(least)} clips/s `, ""],
    textposition: "top left",
    textfont: { color: colour("quiet") },
    hoverinfo: "skip",
    line: { dash: "dash", width: 1.5, color: colour("quiet") },
  });

  const chart = (some, front, least) => {
    const papers = [
      ...(at("show-tx2").checked ? paperTrace(some, "jetson_tx2", "paper: Jetson TX2", "square-open") : []),
      ...(at("show-xp").checked ? paperTrace(some, "titan_xp", "paper: Titan Xp", "diamond-open") : []),
    ];
    const traces = [line(front), ...papers, ...measured(some)];
    const speeds = [...traces.flatMap((one) => one.x), ...(least > 0 ? [least] : [])];
    const heights = traces.flatMap((one) => one.y);
    const [low, high] = [Math.min(...speeds) / 1.25, Math.max(...speeds) * 1.25];
    const right = high * (high / low) ** (narrow() ? 0.35 : 0.16); // room for the fastest one's name
    const [bottom, top] = [Math.min(...heights), Math.max(...heights)];
    const pad = 0.08 * (top - bottom || 10);
    const range = [bottom - pad, top + 1.6 * pad];
    const height = narrow() ? 520 : 560;
    const margin = { l: 50, r: 20, t: narrow() ? 110 : 44, b: 46 };
    const width = (printing ? PAPER_WIDTH : at("front-chart").clientWidth) - 75;
    const place = (x, y) => [
      (width * Math.log(x / low)) / Math.log(right / low),
      ((height - margin.t - margin.b) * (range[1] - y)) / (range[1] - range[0]),
    ];
    traces.push(names(front, traces.slice(1), place, narrow() ? 10 : 12, width));
    if (least > 0) traces.unshift(rateLine(least, range));
    const logarithmic = { type: "log", range: [Math.log10(low), Math.log10(right)], ...logTicks(low, right) };
    const xaxis = axis("clips/s, measured here", logarithmic);
    const yaxis = axis("top-1 as published, %", { range });
    draw(at("front-chart"), traces, { xaxis, yaxis, hovermode: "closest", margin }, height);
  };

  const listed = (some, front) => {
    const without = rows.filter((row) => !some.includes(row)).map((row) => row.name);
    const which = without.length > 8 ? `${without.length} rows` : without.join("; ");
    const members = front.map((row) => `${row.name} (${figures(row)})`).join("; ");
    const others = without.length ? ` Not shown, for the paper has no accuracy of them: ${which}.` : "";
    return `On the front, from the most accurate to the fastest: ${members}.${others}`;
  };

  const show = () => {
    const some = published(select.value);
    const least = Number(rate.value) || 0;
    const front = frontOf(some);
    chart(some, front, least);
    at("choice").textContent = answer(some, least);
    at("front-list").textContent = listed(some, front);
  };

  const usable = data.datasets.filter(({ key }) => published(key).length);
  if (usable.length) {
    fill(
      select,
      usable.map(({ key, name }) => [key, name]),
    );
    whenChanged(at("front-tools"), show);
    charts.push(show);
  } else {
    at("choice").textContent = rows.length
      ? "The paper has no accuracy of any of these models."
      : "Nothing was measured.";
    at("front-chart").hidden = true;
    section.querySelector("#front-list").hidden = true;
  }
}

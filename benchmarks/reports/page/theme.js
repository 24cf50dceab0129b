/* Data, colours, and how a chart is drawn: on screen in its theme, on paper light. */

const data = JSON.parse(document.getElementById("data").textContent);
const rows = data.rows;

const charts = []; // functions that draw; each may be called at any time
const PAPER_WIDTH = 960; // CSS px: A4 or Letter, lying, less its margins
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "star", "hexagon"];

let printing = false;

const at = (id) => document.getElementById(id);
const narrow = () => !printing && window.innerWidth < 620;
const number = (value, digits = 3) =>
  value === null
    ? "–"
    : Number(value.toPrecision(digits)).toLocaleString("en", {
        maximumSignificantDigits: Math.max(digits, 1),
      });
const percent = (share) => `${(100 * share).toFixed(1)} %`;
// plotly reads tags in its texts.
const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/* Kinds of layers, as the limit and a profile name them. */
const KINDS = ["stem", "depthwise", "pointwise", "conv", "pool", "head"];
const kindColour = (kind) => colour(`c${KINDS.includes(kind) ? KINDS.indexOf(kind) : KINDS.length}`);

const groupOf = (row) => (data.colour_by === "backend" ? row.backend : row.model);
const groups = [...new Set(rows.map(groupOf))];
const groupColour = (group) => colour(`c${groups.indexOf(group) % 8}`);
// With more than eight groups a colour comes again, with the next symbol.
const groupSymbol = (group) => {
  const index = groups.indexOf(group);
  return SYMBOLS[(index + Math.floor(index / 8)) % 8];
};

function axis(title, extra = {}) {
  return {
    title: { text: title, standoff: 10 },
    gridcolor: colour("grid"),
    linecolor: colour("edge"),
    zeroline: false,
    automargin: true,
    ...extra,
  };
}

/* An axis with a name at 0, 1, 2 ... from above. */
function namesAxis(names) {
  const unbroken = names.map((name) => plain(name).replaceAll(" ", "\u00a0"));
  const broken = unbroken.map((name) => (narrow() ? name.replaceAll(",\u00a0", "<br>") : name));
  return axis("", {
    tickvals: names.map((_, index) => index),
    ticktext: broken,
    range: [names.length - 0.4, -0.6],
    tickfont: { size: rowPitch(names) < 10 ? 7 : printing || narrow() ? 10 : 12 },
    ticks: "",
    showgrid: false,
    fixedrange: true,
  });
}

/* Pixels from one name to the next: on a phone it has a line for each of its parts, on paper all
   rows stand on one page, as far as they can be read. */
function rowPitch(names) {
  if (printing) return Math.max(8, Math.min(24, 440 / names.length));
  return narrow() ? 10 + 13 * Math.max(...names.map((name) => name.split(", ").length)) : 26;
}

const rowsHeight = (names) => 110 + rowPitch(names) * Math.max(names.length, 2);

/* 1, 2 and 5 times a power of ten, as an axis with a logarithmic scale wants them. */
function logTicks(low, high) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    for (const first of [1, 2, 5]) {
      const value = first * 10 ** power;
      if (value >= low && value <= high) ticks.push(value);
    }
  }
  const wide = Math.log10(high / low) > (narrow() ? 1.6 : 4);
  const kept = wide ? ticks.filter((value) => Number.isInteger(Math.log10(value))) : ticks;
  return { tickmode: "array", tickvals: kept, ticktext: kept.map((value) => number(value)) };
}

function draw(target, traces, layout, height) {
  const touch = window.matchMedia("(pointer: coarse)").matches;
  const whole = {
    width: printing ? Number(target.dataset.paper || PAPER_WIDTH) : target.clientWidth,
    height,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: narrow() ? 11 : 12.5, color: colour("text") },
    margin: { l: 50, r: 20, t: 10, b: 46 },
    hoverlabel: {
      bgcolor: colour("card"),
      bordercolor: colour("edge"),
      font: { color: colour("text") },
      align: "left",
      namelength: -1,
    },
    legend: {
      orientation: "h",
      traceorder: "normal",
      x: 0,
      y: 1,
      xanchor: "left",
      yanchor: "bottom",
      bgcolor: "rgba(0,0,0,0)",
    },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("quiet"), activecolor: colour("text") },
    dragmode: touch ? false : "zoom",
    ...layout,
  };
  Plotly.react(target, traces, whole, {
    displaylogo: false,
    displayModeBar: printing || touch || narrow() ? false : "hover",
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
  });
}

/* Say why there is no chart, in place of it. */
function nothing(section, text) {
  const place = section.querySelector(".none");
  place.textContent = text;
  place.hidden = false;
  for (const chart of section.querySelectorAll(".chart, .tools")) chart.hidden = true;
  section.classList.add("short");
}

function fill(select, options) {
  for (const [value, text] of options) select.add(new Option(text, value));
}

function whenChanged(form, drawn) {
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", drawn);
}

function redraw() {
  for (const one of charts) one();
}

function onPaper(now) {
  if (printing === now) return;
  printing = now;
  document.documentElement.classList.toggle("printing", now);
  for (const notice of document.querySelectorAll("details.notice")) {
    if (now) notice.dataset.open = notice.open;
    notice.open = now || notice.dataset.open === "true";
  }
  redraw();
}

window.addEventListener("beforeprint", () => onPaper(true));
window.addEventListener("afterprint", () => onPaper(false));
window.matchMedia("print").addEventListener("change", (event) => onPaper(event.matches));
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

let drawnWidth = window.innerWidth;
let waiting = 0;
window.addEventListener("resize", () => {
  if (printing || window.innerWidth === drawnWidth) return;
  drawnWidth = window.innerWidth;
  clearTimeout(waiting);
  waiting = setTimeout(redraw, 150);
});

// The last seconds as a curve: how likely a gesture is, and where one was named.

const HEIGHT = 104; // CSS pixels, as in page.css
const TOP = 24; // above the curve, for names
const BOTTOM = 18; // below it, for times
const GAP_S = 1; // no clip was scored for longer: the curve is interrupted
const BEHIND_S = 0.3; // states come five times a second: what is drawn has arrived
const FRAME_MS = 40;
const NAMES_APART = 10;

export class Timeline {
  constructor(canvas) {
    this.canvas = canvas;
    this.clear();
    this.span = 10;
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.readColours());
    new ResizeObserver(() => this.draw()).observe(canvas);
    this.readColours();
    const animate = (stamp) => {
      if (this.running && !this.still.matches && stamp - this.drawn >= FRAME_MS) {
        this.drawn = stamp;
        this.draw();
      }
      requestAnimationFrame(animate);
    };
    requestAnimationFrame(animate);
  }

  clear() {
    this.points = []; // [time, presence]
    this.marks = []; // [time, name]
    this.offset = Infinity; // of this page's clock against the program's, seconds
    this.running = false;
    this.drawn = 0;
    this.end = 0;
  }

  // Take what is new; `now` is the program's clock when it was sent.
  add(now, moments, events) {
    // The least seen is the one of the message that travelled fastest; clocks may drift a little.
    this.offset = Math.min(this.offset + 1e-4, performance.now() / 1000 - now);
    for (const moment of moments) this.points.push([moment.at_s, moment.presence ?? moment.score]);
    for (const event of events) this.marks.push([event.at_s, event.label]);
    const oldest = now - this.span - 2;
    this.points = this.points.filter((point) => point[0] > oldest);
    this.marks = this.marks.filter((mark) => mark[0] > oldest);
    this.running = true;
    if (this.still.matches) this.draw();
  }

  stop() {
    this.running = false;
  }

  readColours() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    this.colours = {
      text: colour("--text"), quiet: colour("--quiet"), edge: colour("--edge"),
      accent: colour("--accent"), soft: colour("--accent-soft"),
    };
    this.draw();
  }

  draw() {
    const width = this.canvas.clientWidth;
    if (!width) return;
    const ratio = devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(HEIGHT * ratio);
    }
    if (this.running) this.end = performance.now() / 1000 - this.offset - BEHIND_S;
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, HEIGHT);
    pen.font = "12px system-ui, sans-serif";
    const x = (time) => width - ((this.end - time) / this.span) * width;
    const y = (value) => HEIGHT - BOTTOM - value * (HEIGHT - TOP - BOTTOM);
    this.drawGrid(pen, width, y);
    this.drawCurve(pen, x, y);
    this.drawMarks(pen, width, x, y);
  }

  drawGrid(pen, width, y) {
    pen.strokeStyle = this.colours.edge;
    pen.lineWidth = 1;
    pen.beginPath();
    for (const value of [0, 0.5, 1]) {
      pen.moveTo(0, Math.round(y(value)) + 0.5);
      pen.lineTo(width, Math.round(y(value)) + 0.5);
    }
    pen.stroke();
    pen.fillStyle = this.colours.quiet;
    for (let ago = 0; ago <= this.span; ago += 2) {
      pen.textAlign = ago === 0 ? "right" : ago === this.span ? "left" : "center";
      pen.fillText(ago === 0 ? "now" : `−${ago} s`, width * (1 - ago / this.span), HEIGHT - 4);
    }
  }

  drawCurve(pen, x, y) {
    for (const run of this.runs()) {
      pen.beginPath();
      for (const [time, value] of run) pen.lineTo(x(time), y(value));
      pen.strokeStyle = this.colours.accent;
      pen.lineWidth = 2;
      pen.lineJoin = "round";
      pen.stroke();
      pen.lineTo(x(run[run.length - 1][0]), y(0));
      pen.lineTo(x(run[0][0]), y(0));
      pen.globalAlpha = 0.5;
      pen.fillStyle = this.colours.soft;
      pen.fill();
      pen.globalAlpha = 1;
    }
  }

  // The points, parted where nothing was scored for a while.
  runs() {
    const runs = [];
    let last = -Infinity;
    for (const point of this.points) {
      if (point[0] > this.end) break;
      if (point[0] - last > GAP_S) runs.push([]);
      runs[runs.length - 1].push(point);
      last = point[0];
    }
    return runs;
  }

  drawMarks(pen, width, x, y) {
    pen.strokeStyle = pen.fillStyle = this.colours.text;
    pen.lineWidth = 2;
    pen.textAlign = "left";
    pen.font = "600 12px system-ui, sans-serif";
    // From the newest to the oldest: an older name ends where the next one begins.
    let limit = width + NAMES_APART;
    for (const [time, name] of this.marks.filter((mark) => mark[0] <= this.end).reverse()) {
      const at = x(time);
      pen.beginPath();
      pen.moveTo(at, TOP - 6);
      pen.lineTo(at, y(0));
      pen.stroke();
      const left = Math.min(at - 1, width - pen.measureText(name).width - 2);
      pen.fillText(fitted(pen, name, limit - NAMES_APART - left), left, 13);
      limit = Math.min(left, limit);
    }
  }
}

// As much of a name as there is room for.
function fitted(pen, name, room) {
  if (pen.measureText(name).width <= room) return name;
  let text = name;
  while (text && pen.measureText(`${text}…`).width > room) text = text.slice(0, -1);
  return text ? `${text}…` : "";
}

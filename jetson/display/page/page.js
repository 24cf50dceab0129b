// The live page. What the program says is shown as text, never as markup.

import { Timeline } from "./timeline.js";

const RETRY_S = [0.5, 1, 2, 4, 5]; // then the last one again and again
const AFTER_END_S = 3;
const SILENCE_S = 6; // the program speaks five times a second
const FRESH_S = 3; // a gesture's name is bright for so long
const KEPT_EVENTS = 50;
const END = "The run has ended. This page goes on when the program is started again.";
const LOCKED =
  "The program asks for a new token. Open the address that it printed when it was started again, or";
const STATES = {
  connecting: "Connecting", opening: "Opening", live: "Live", lost: "Lost", ended: "Ended",
  gone: "No connection", locked: "Token needed",
};

const $ = (id) => document.getElementById(id);
const timeline = new Timeline($("line"));

let socket = null;
let retries = 0;
let retryTimer = 0;
let heard = 0; // performance.now() of the last message
let run = null; // which run of the program this is
let ended = false;
let paused = false;
let asked = false; // for a picture
let lastEvent = null;
let lastEventAt = 0; // the page's clock, seconds
let clipSpan = null;
let playing = false; // a file, no camera

// --- Connection ---

function connect() {
  clearTimeout(retryTimer);
  const url = new URL("live", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.search = "";
  const mine = (socket = new WebSocket(url));
  let opened = false;
  mine.binaryType = "blob";
  mine.onopen = () => {
    opened = true;
    retries = 0;
    asked = false;
    heard = performance.now();
    askForPicture();
  };
  mine.onmessage = (message) => {
    if (mine !== socket) return;
    heard = performance.now();
    if (typeof message.data === "string") takeState(JSON.parse(message.data));
    else takePicture(message.data);
  };
  mine.onclose = () => {
    if (mine === socket) disconnected(opened);
  };
}

async function disconnected(opened) {
  socket = null;
  timeline.stop();
  const wait = ended ? AFTER_END_S : RETRY_S[Math.min(retries, RETRY_S.length - 1)];
  retries += 1;
  retryTimer = setTimeout(connect, wait * 1000);
  if (document.body.dataset.state !== "locked") showAway();
  if (opened) return;
  const status = await refusal();
  if (socket?.readyState === WebSocket.OPEN) return;
  if (status === 401) {
    showState("locked", LOCKED);
  } else if (status === 200 && !ended) {
    showState("gone", "As many as the program serves are watching. Trying again …");
  } else {
    showAway();
  }
}

function showAway() {
  if (ended) showState("ended", END);
  else showState("gone", "This page has lost the program. Is it still running? Trying again …");
}

// A browser does not tell a page why a websocket did not open; an ordinary request does.
async function refusal() {
  try {
    return (await fetch("state.json", { cache: "no-store" })).status;
  } catch {
    return 0;
  }
}

function retryNow() {
  if (!socket && !document.hidden) connect();
}

// --- State ---

function takeState(state) {
  if (state.facts) takeFacts(state.facts);
  timeline.add(state.now_s, state.moments, state.events);
  const now = performance.now() / 1000;
  for (const event of state.events) takeEvent(event, now - (state.now_s - event.at_s), !state.facts);
  showScores(state.top);
  showFigures(state);
  showSource(state.source, state.complaint);
  showCaption();
}

function takeFacts(facts) {
  ended = false;
  timeline.clear();
  timeline.span = facts.timeline_s;
  if (facts.run !== run) {
    lastEvent = null;
    $("picture").getContext("2d").clearRect(0, 0, $("picture").width, $("picture").height);
    $("empty").hidden = false;
  }
  run = facts.run;
  clipSpan = facts.span_s;
  playing = facts.playing;
  $("events").replaceChildren();
  $("model-name").textContent = facts.model;
  setFact("Model", facts.model);
  setFact("Clip", facts.clip);
  setFact("Backend", facts.backend);
  setFact("Source", facts.source);
  $("labels").replaceChildren(...facts.labels.map((label) => element("li", "", label)));
}

function showSource(source, complaint) {
  ended = source.state === "ended";
  if (ended) timeline.stop();
  let detail = source.detail || (source.state === "live" && complaint) || "";
  if (!detail && source.state === "lost") detail = "The source gives no pictures. Trying again …";
  if (ended) detail = END;
  showState(source.state, detail);
  const parts = [`${source.frames} came`];
  if (source.dropped) parts.push(`${source.dropped} skipped`);
  if (source.losses) parts.push(`lost ${source.losses} ${source.losses === 1 ? "time" : "times"}`);
  if (source.frames) setFact("Pictures", parts.join(", "));
}

function showState(state, detail) {
  document.body.dataset.state = state;
  const name = state === "live" && playing ? "Playing" : STATES[state] ?? state;
  setText($("state-name"), name);
  setText($("notice-text"), detail);
  $("enter").hidden = state !== "locked";
  $("notice").hidden = !detail;
  const veil = {
    lost: "Source lost", gone: "No connection", locked: "Token needed", ended: "The run has ended",
  }[state];
  setText($("veil"), veil ?? "");
  $("veil").hidden = !veil;
  if (veil) $("empty").hidden = true;
  document.title = `${name} – clipedge`;
}

function showScores(top) {
  const list = $("scores");
  $("collecting").hidden = top.length > 0;
  setText($("collecting"), clipSpan ? `Collecting ${clipSpan.toFixed(1)} s of video` : "Collecting the first clip");
  while (list.children.length > top.length) list.lastChild.remove();
  top.forEach(([label, score], index) => {
    const row = list.children[index] ?? list.appendChild(scoreRow());
    setText(row.children[0], label);
    setText(row.children[1], percent(score));
    row.children[2].firstChild.style.transform = `scaleX(${score ?? 0})`;
  });
}

function scoreRow() {
  const row = element("li");
  const bar = element("div", "bar");
  bar.setAttribute("aria-hidden", "true");
  bar.append(element("i"));
  row.append(element("span", "label"), element("span", "score"), bar);
  return row;
}

function showFigures(state) {
  figure("frame-rate", state.frame_rate_hz, 1, "/s");
  figure("inference-rate", state.inference_rate_hz, 1, "/s");
  figure("latency", state.latency_ms, 1, "ms");
  const sensors = state.sensors;
  sensor("power", sensors?.power_w, "W", sensors?.power_from, "Power");
  sensor("temperature", sensors?.temperature_c, "°C", sensors?.temperature_from, "Temperature");
  $("temperature").classList.toggle("hot", sensors?.throttled === true);
  if (sensors?.throttled) $("temperature").append(element("small", "note", "hot: slowed down"));
}

function figure(id, value, digits, unit) {
  const shown = value === null || value === undefined ? "–" : value.toFixed(digits);
  $(id).replaceChildren(shown, element("small", "", shown === "–" ? "" : unit));
}

// A sensor that is not there takes no room; the reason stands with the other facts.
function sensor(id, value, unit, from, name) {
  const there = value !== null && value !== undefined;
  $(id).parentElement.hidden = !there;
  if (there) {
    figure(id, value, 1, unit);
    $(id).title = from ?? "";
  } else if (from) {
    setFact(name, from);
  }
}

// --- Events ---

function takeEvent(event, at, announced) {
  const row = element("li", announced ? "fresh" : "");
  row.append(
    element("time", "", clock(event)), element("span", "label", event.label),
    element("span", `kind ${event.kind === "early" ? "early" : ""}`, event.kind),
    element("span", "score", percent(event.score)),
  );
  const list = $("events");
  list.prepend(row);
  while (list.children.length > KEPT_EVENTS) list.lastChild.remove();
  list.hidden = false;
  $("no-events").hidden = true;
  setText($("count"), String(event.id + 1));
  lastEvent = event;
  lastEventAt = at;
  if (announced) $("spoken").textContent = `${event.label}, ${percent(event.score)}`;
}

function showCaption() {
  if (!lastEvent) {
    $("caption").hidden = true;
    $("events").hidden = true;
    $("no-events").hidden = false;
    setText($("count"), "");
    return;
  }
  if (paused) return; // what stands over the picture is of its time
  $("caption").hidden = false;
  const age = performance.now() / 1000 - lastEventAt;
  $("caption").classList.toggle("past", age > FRESH_S);
  setText($("gesture"), lastEvent.label);
  const longest = Math.max(...lastEvent.label.split(/\s/).map((word) => word.length));
  $("gesture").style.setProperty("--letters", Math.max(longest, 1));
  const when = age < FRESH_S ? "now" : age < 90 ? `${Math.round(age)} s ago` : clock(lastEvent);
  setText($("gesture-facts"), `${percent(lastEvent.score)} · ${lastEvent.kind} · ${when}`);
}

function clock(event) {
  if (event.wall_time_s === null) return `${event.time_s.toFixed(1)} s`;
  const style = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
  return new Date(event.wall_time_s * 1000).toLocaleTimeString([], style);
}

// --- Picture ---

// The next picture comes only when it is asked for: a slow page gets fewer.
function askForPicture() {
  if (asked || paused || document.hidden || socket?.readyState !== WebSocket.OPEN) return;
  asked = true;
  socket.send("next");
}

async function takePicture(blob) {
  try {
    const bitmap = await createImageBitmap(blob);
    const canvas = $("picture");
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    $("empty").hidden = true;
  } finally {
    asked = false;
    requestAnimationFrame(askForPicture);
  }
}

function setPaused(value) {
  paused = value;
  press("pause", paused);
  $("held").hidden = !paused;
  showCaption();
  askForPicture();
}

function setMirrored(value) {
  $("frame").classList.toggle("mirrored", value);
  press("mirror", value);
  try {
    localStorage.setItem("clipedge-mirrored", value ? "1" : "");
  } catch {
    // Storage is switched off: it is not remembered.
  }
}

function mirroredBefore() {
  try {
    return Boolean(localStorage.getItem("clipedge-mirrored"));
  } catch {
    return false;
  }
}

function toggleFill() {
  if (document.fullscreenElement) document.exitFullscreen();
  else $("frame").requestFullscreen?.();
}

// --- Small things ---

function element(name, kind = "", text = "") {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  if (text) made.textContent = text;
  return made;
}

// Screen readers speak what changes; so nothing is set that is there already.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setFact(name, value) {
  const id = `fact-${name.toLowerCase()}`;
  if (!$(id)) {
    const row = element("div");
    const data = element("dd");
    data.id = id;
    row.append(element("dt", "", name), data);
    $("facts").append(row);
  }
  setText($(id), value);
}

function percent(score) {
  return score === null ? "–" : `${Math.round(score * 100)} %`;
}

function press(id, value) {
  $(id).setAttribute("aria-pressed", String(value));
}

const KEYS = {
  " ": () => setPaused(!paused),
  m: () => setMirrored(!$("frame").classList.contains("mirrored")),
  f: toggleFill,
  "?": () => $("keys").showModal(),
};

document.addEventListener("keydown", (press) => {
  if (press.ctrlKey || press.altKey || press.metaKey || press.repeat) return;
  const help = $("keys").open; // its button has the focus, and would take the space
  if (!help && press.key === " " && press.target.closest("button, a, summary")) return;
  const action = KEYS[press.key];
  if (action) {
    press.preventDefault();
    if (help) $("keys").close();
    if (!help || press.key !== "?") action();
  }
});

$("pause").onclick = KEYS[" "];
$("mirror").onclick = KEYS.m;
$("help").onclick = KEYS["?"];
$("fill").onclick = toggleFill;
$("fill").hidden = !document.fullscreenEnabled;
document.onfullscreenchange = () => press("fill", Boolean(document.fullscreenElement));
document.addEventListener("visibilitychange", () => {
  retryNow();
  askForPicture();
});
addEventListener("online", retryNow);
setInterval(() => {
  if (socket?.readyState === WebSocket.OPEN && performance.now() - heard > SILENCE_S * 1000) {
    socket.onclose = null;
    socket.close(); // on a dead line it would take minutes to say so
    disconnected(true);
  }
  showCaption();
}, 1000);

if (mirroredBefore()) setMirrored(true);
connect();

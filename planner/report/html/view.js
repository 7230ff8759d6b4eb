// Shared by all charts: the time interval shown, colours, words for numbers, the tooltip.

const TIMES = [[1, "s"], [1e-3, "ms"], [1e-6, "us"], [1e-9, "ns"]];
const SIZES = [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]];
const LEGIBLE = 24; // pixels for a microbatch
const element = (id) => document.getElementById(id);

function digits(value, significant = 5) {
  if (value === 0) return "0";
  const text = Number(value.toPrecision(significant));
  return Math.abs(text) >= 1e7 || Math.abs(text) < 1e-4 ? String(text.toExponential()) : String(text);
}

function withUnit(value, units, smallest, significant) {
  const [each, unit] = units.find(([size]) => Math.abs(value) >= size) || smallest;
  return `${digits(value / each, significant)} ${unit}`;
}

const seconds = (value) => withUnit(value, TIMES, value === 0 ? TIMES[0] : TIMES[3]);
const bytes = (value, significant) => withUnit(value, SIZES, [1, "B"], significant);
const percent = (share) => `${digits(100 * share, share < 0.1 ? 2 : 3)} %`;

// The interval [from, to] of all charts, in seconds.
class View {
  constructor(until) {
    this.until = until > 0 ? until : 1;
    this.from = 0;
    this.to = this.until;
    this.opening = null; // the phases of the plan, where the page opens on them
    this.listeners = [];
  }

  set(from, to) {
    const shortest = this.until * 1e-7;
    const width = Math.min(Math.max(to - from, shortest), this.until);
    const whole = width > this.until * (1 - 1e-9);
    this.from = whole ? 0 : Math.min(Math.max(from, 0), this.until - width);
    this.to = whole ? this.until : this.from + width;
    this.changed();
  }

  changed() {
    for (const listener of this.listeners) listener();
  }

  zoom(factor, at = (this.from + this.to) / 2) {
    this.set(at - (at - this.from) / factor, at + (this.to - at) / factor);
  }

  pan(time) {
    this.set(this.from + time, this.to + time);
  }

  // Warm-up and one steady window, where a whole step would give a microbatch too few of the pixels to be read.
  open(phases, pixels) {
    if (!phases || phases.until > this.until / 2 || (phases.period / this.until) * pixels >= LEGIBLE) return;
    this.opening = phases;
    this.set(0, phases.until);
  }

  get opened() {
    return this.opening !== null && this.from === 0 && this.to === this.opening.until;
  }

  start() {
    if (this.opening) this.set(0, this.opening.until);
  }

  reset() {
    this.set(0, this.until);
  }
}

// Display options, and the microbatch that is marked (-1: none).
const mode = { colour: "pass", idle: true, path: false, transfers: false, marked: -1 };

let palette = {};
const STAGES = 9;
const IDLE = ["input", "comm", "transfer", "memory", "held", "nothing", "reduce", "exchange", "gather"];

function readPalette() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const names = ["ground", "ink", "faint", "line", "band", "path", "arrow", "sent", "bound", "memory", "parameters", "focus",
    "warmUp", "steady"];
  palette = Object.fromEntries(names.map((name) => [name, colour(name)]));
  palette.pass = [..."FIWRUG"].map((pass) => [colour(pass), colour(`${pass}2`)]);
  palette.idle = IDLE.map(colour);
  palette.stage = Array.from({ length: STAGES }, (_, k) => colour(`s${k}`));
  palette.dark = document.documentElement.dataset.theme === "dark";
}

// From dark blue over grey to yellow, rising in lightness: colours differ for readers who see no red or green.
const SCALE = [[0, 32, 96], [62, 76, 107], [120, 119, 119], [180, 166, 98], [240, 215, 60]];

function scaled(part) {
  const at = Math.min(Math.max(part, 0), 1) * (SCALE.length - 1);
  const k = Math.min(Math.floor(at), SCALE.length - 2);
  return SCALE[k].map((low, channel) => Math.round(low + (SCALE[k + 1][channel] - low) * (at - k)));
}

const microbatchColours = new Map();

// Colour and colour of the letters on it.
function microbatchColour(microbatch, count) {
  const key = microbatch * 1e6 + count;
  if (!microbatchColours.has(key)) {
    const [r, g, b] = scaled(count > 1 ? microbatch / (count - 1) : 0.4);
    const light = 0.299 * r + 0.587 * g + 0.114 * b > 140;
    const lifted = palette.dark && !light ? [r, g, b].map((c) => Math.min(255, c + 40)) : [r, g, b];
    microbatchColours.set(key, [`rgb(${lifted.join(" ")})`, light ? "#1f2933" : "#ffffff"]);
  }
  return microbatchColours.get(key);
}

function applyTheme(name) {
  document.documentElement.dataset.theme = name;
  microbatchColours.clear();
  readPalette();
}

// Lines of [text, class]; text is set as text, never as markup.
function showTooltip(lines, x, y) {
  const box = element("tooltip");
  box.replaceChildren(...lines.map(([text, kind], k) => {
    const line = document.createElement(k === 0 ? "b" : "div");
    line.textContent = text;
    if (kind) line.className = kind;
    return line;
  }));
  box.hidden = false;
  const { offsetWidth: wide, offsetHeight: high } = box;
  box.style.left = `${Math.max(4, x + 16 + wide > innerWidth ? x - wide - 12 : x + 16)}px`;
  box.style.top = `${Math.max(4, y + 18 + high > innerHeight ? y - high - 12 : y + 18)}px`;
}

function hideTooltip() {
  element("tooltip").hidden = true;
}

// The first place in a sorted column whose value is at least (or, with `above`, more than) a limit.
function firstAtLeast(column, limit, low, high, above = false) {
  while (low < high) {
    const middle = (low + high) >> 1;
    if (column[middle] < limit || (above && column[middle] === limit)) low = middle + 1;
    else high = middle;
  }
  return low;
}

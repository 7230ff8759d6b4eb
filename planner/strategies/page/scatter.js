// A point a strategy on two logarithmic axes: solved ones filled, the others hollow at their bounds. Here memory against
// time, with the cap as a line; what is told of a point (`abscissa`, `ordinate`) and of the axes is what serving.js replaces.

const EDGE = { left: 74, right: 16, top: 26, bottom: 40 };
const NEAR = 14; // pixels from the pointer
const NO_TIME = 34; // pixels at the right for strategies without a bound of their time

class Scatter extends Plot {
  constructor(canvas) {
    super(canvas, 430, "");
    const known = space.order.filter((k) => this.drawable(k));
    const solved = known.filter((k) => space.data.seconds[k] !== null).length;
    canvas.setAttribute("aria-label", `${this.title} of ${known.length} strategies, ${solved} of them solved; `
      + `arrow keys go through them in order of ${space.measure}`);
  }

  get title() {
    return "memory against time";
  }

  get under() {
    return "seconds of a step: of the plan, else the lower bound";
  }

  drawable(k) {
    return space.data.bytes[k] > 0;
  }

  // Seconds; null: not known.
  abscissa(k) {
    return space.time[k];
  }

  ordinate(k) {
    return space.data.bytes[k];
  }

  // Values of lines, which the axes must reach.
  reached() {
    const { best, lowerBound, cap } = space.data;
    return { along: [best, lowerBound], up: [cap] };
  }

  ticks(most) {
    return doublings(...this.upward, most);
  }

  words(value) {
    return bytes(value, 4);
  }

  layout() {
    const { data } = space;
    this.places = space.shown.filter((k) => this.drawable(k));
    const all = space.order.filter((k) => this.drawable(k) && !space.hidden.has(data.state[k]));
    this.gutter = all.some((k) => this.abscissa(k) === null) ? NO_TIME : 0;
    const { along, up } = this.reached();
    this.across = span([...all.map((k) => this.abscissa(k)), ...along].filter((value) => value > 0));
    this.upward = span([...all.map((k) => this.ordinate(k)), ...up].filter((value) => value > 0));
    this.right = this.wide - EDGE.right - this.gutter;
  }

  x(k) {
    const time = this.abscissa(k);
    return time > 0 ? this.timeX(time) : this.wide - EDGE.right - this.gutter / 3;
  }

  timeX(time) {
    return EDGE.left + part(time, this.across) * (this.right - EDGE.left);
  }

  y(size) {
    const high = this.height - EDGE.top - EDGE.bottom;
    return this.height - EDGE.bottom - part(size, this.upward) * high;
  }

  spot(k) {
    return this.drawable(k) ? [this.x(k), this.y(this.ordinate(k))] : null;
  }

  draw(ctx) {
    const { data } = space;
    const bottom = this.height - EDGE.bottom;
    this.ground(ctx);
    this.axes(ctx, bottom);
    const many = this.places.length;
    const radius = many > 4000 ? 2 : many > 800 ? 2.6 : 3.4;
    for (let state = data.states.length - 1; state >= 0; state -= 1) {
      const of = this.places.filter((k) => data.state[k] === state);
      if (of.length) this.points(ctx, of, data.states[state], radius);
    }
    this.lines(ctx, bottom);
  }

  // Beyond the cap nothing fits.
  ground(ctx) {
    const { cap } = space.data;
    if (!(cap > 0)) return;
    ctx.fillStyle = colour("beyond");
    ctx.fillRect(EDGE.left, EDGE.top, this.wide - EDGE.right - EDGE.left, Math.max(0, this.y(cap) - EDGE.top));
  }

  axes(ctx, bottom) {
    ctx.lineWidth = 1;
    ctx.strokeStyle = colour("line");
    ctx.fillStyle = colour("faint");
    ctx.textAlign = "center";
    const times = logTicks(...this.across, Math.max(2, (this.right - EDGE.left) / 80));
    for (const time of times) {
      const x = Math.round(this.timeX(time)) + 0.5;
      line(ctx, x, EDGE.top, x, bottom);
      ctx.fillText(seconds(time), x, bottom + 12);
    }
    ctx.textAlign = "right";
    const sizes = this.ticks((bottom - EDGE.top) / 26);
    for (const size of sizes) {
      const y = Math.round(this.y(size)) + 0.5;
      line(ctx, EDGE.left, y, this.wide - EDGE.right, y);
      ctx.fillText(this.words(size), EDGE.left - 8, y);
    }
    ctx.textAlign = "center";
    ctx.fillText(this.under, (EDGE.left + this.right) / 2, bottom + 30);
    if (this.gutter) ctx.fillText("no time", this.wide - EDGE.right - this.gutter / 3, bottom + 12);
    this.canvas.dataset.ticks = [...times.map((time) => seconds(time)), ...sizes.map((size) => this.words(size))].join(", ");
  }

  points(ctx, of, state, radius) {
    ctx.strokeStyle = colour(STYLES[state]);
    ctx.fillStyle = colour(STYLES[state]);
    ctx.lineWidth = 1.1;
    ctx.globalAlpha = state === "solved" ? 1 : of.length > 2000 ? 0.55 : 0.75;
    ctx.beginPath();
    for (const k of of) {
      const [x, y] = this.spot(k);
      if (state === "out of memory") {
        ctx.moveTo(x - radius, y - radius);
        ctx.lineTo(x + radius, y + radius);
        ctx.moveTo(x - radius, y + radius);
        ctx.lineTo(x + radius, y - radius);
      } else {
        ctx.moveTo(x + radius, y);
        ctx.arc(x, y, radius, 0, 2 * Math.PI);
      }
    }
    if (state === "solved") ctx.fill();
    else ctx.stroke();
    ctx.globalAlpha = 1;
  }

  // The cap, the best time and the bound of the whole space.
  lines(ctx, bottom) {
    const { data } = space;
    if (data.cap > 0) {
      const y = this.y(data.cap);
      ctx.strokeStyle = ctx.fillStyle = colour("oom");
      ctx.setLineDash([6, 4]);
      line(ctx, EDGE.left, y, this.wide - EDGE.right, y);
      ctx.setLineDash([]);
      ctx.textAlign = "right";
      ctx.fillText(`memory of a device: ${bytes(data.cap, 4)}`, this.wide - EDGE.right - 4, y - 9);
    }
    if (data.lowerBound > 0) this.instant(ctx, data.lowerBound, "ink", `bound ${seconds(data.lowerBound)}`, bottom, true);
    if (data.best > 0) this.instant(ctx, data.best, "winner", `best ${seconds(data.best)}`, bottom, false);
  }

  instant(ctx, time, name, text, bottom, before) {
    const x = Math.round(this.timeX(time)) + 0.5;
    ctx.strokeStyle = ctx.fillStyle = colour(name);
    ctx.setLineDash(before ? [5, 4] : []);
    line(ctx, x, EDGE.top - 8, x, bottom);
    ctx.setLineDash([]);
    const room = ctx.measureText(text).width + 6;
    ctx.textAlign = before && x > room ? "right" : "left";
    if (before && x <= room) return;
    ctx.fillText(text, before ? x - 5 : x + 5, EDGE.top - 14);
  }

  over(ctx) {
    const ring = (k, name, radius) => {
      const spot = k >= 0 && space.shown.includes(k) ? this.spot(k) : null;
      if (!spot) return;
      ctx.strokeStyle = colour(name);
      ctx.lineWidth = 2.5;
      ctx.beginPath();
      ctx.arc(spot[0], spot[1], radius, 0, 2 * Math.PI);
      ctx.stroke();
    };
    ring(space.winner, "winner", 8);
    ring(space.marked, "ink", 6);
  }

  nearest(px, py) {
    let [best, least] = [-1, NEAR ** 2];
    for (const k of this.places || []) {
      const far = (this.x(k) - px) ** 2 + (this.y(this.ordinate(k)) - py) ** 2;
      if (far < least) [best, least] = [k, far];
    }
    return best;
  }

  // How many others lie under the same pixel.
  tip(k) {
    const spot = this.spot(k);
    if (!spot) return space.words(k);
    const same = this.places.filter((other) => {
      const [x, y] = this.spot(other);
      return other !== k && Math.abs(x - spot[0]) < 1 && Math.abs(y - spot[1]) < 1;
    }).length;
    return same ? [...space.words(k), [`${same} more at this point`, "soft"]] : space.words(k);
  }
}

// The ends of a logarithmic axis, with some room.
function span(values) {
  if (!values.length) return [1, 10];
  let [low, high] = [Infinity, 0];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const room = Math.max(1.04, (high / low) ** 0.04);
  return [low / room, high * room];
}

function part(value, [low, high]) {
  return Math.log(value / low) / Math.log(high / low);
}

function line(ctx, x, y, toX, toY) {
  ctx.beginPath();
  ctx.moveTo(x, y);
  ctx.lineTo(toX, toY);
  ctx.stroke();
}

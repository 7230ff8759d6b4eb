// The degrees as parallel axes, and the time as the last: a line a strategy. Within a value, faster ones stand higher.

const LINES = 6000; // drawn at most: all solved ones, of the others as many as there is room for
const REACH = 22; // pixels from an axis in which it is dragged along
const SIDE = { left: 44, right: 74, top: 44, bottom: 20 };

class Parallel extends Plot {
  constructor(canvas) {
    super(canvas, 400, "");
    this.axes = [...space.varied, "time"];
    this.drag = null;
    canvas.setAttribute("aria-label", `the strategies by ${space.varied.map((axis) => axis.name).join(", ")} and `
      + `${space.measure}; arrow keys go through them in order of ${space.measure}`);
    canvas.addEventListener("dblclick", () => space.clear());
  }

  layout() {
    const times = space.time.filter((value, k) => value > 0 && !space.hidden.has(space.data.state[k]));
    this.across = span(times);
    const between = this.axes.length > 1 ? (this.wide - SIDE.left - SIDE.right) / (this.axes.length - 1) : 0;
    this.x = this.axes.map((_, a) => SIDE.left + a * between);
    this.high = this.height - SIDE.top - SIDE.bottom;
  }

  // The middle of a value on its axis; the first value is lowest.
  middle(axis, place) {
    return SIDE.top + this.high * (1 - (place + 0.5) / axis.values.length);
  }

  spread(axis) {
    return Math.min(0.75 * (this.high / axis.values.length), 56);
  }

  // Where the line of a strategy meets an axis; null: it has no time.
  at(a, k) {
    const axis = this.axes[a];
    if (axis !== "time") return this.middle(axis, axis.column[k]) + (space.rank[k] - 0.5) * this.spread(axis);
    return space.time[k] > 0 ? SIDE.top + part(space.time[k], this.across) * this.high : null;
  }

  spot(k) {
    const a = this.axes.length - 1;
    const y = this.at(a, k);
    return y === null ? [this.x[0], this.at(0, k)] : [this.x[a], y];
  }

  trace(ctx, k) {
    ctx.beginPath();
    for (let a = 0; a < this.axes.length; a += 1) {
      const y = this.at(a, k);
      if (y === null) continue;
      if (a === 0) ctx.moveTo(this.x[a], y);
      else ctx.lineTo(this.x[a], y);
    }
    ctx.stroke();
  }

  draw(ctx) {
    const { data } = space;
    const every = Math.max(1, Math.ceil(space.shown.length / LINES));
    ctx.lineWidth = 1;
    ctx.lineJoin = "round";
    for (let state = data.states.length - 1; state >= 0; state -= 1) {
      const solved = data.states[state] === "solved";
      const of = space.shown.filter((k) => data.state[k] === state);
      const some = of.filter((_, place) => solved || place % every === 0);
      ctx.strokeStyle = colour(STYLES[data.states[state]]);
      ctx.globalAlpha = Math.min(solved ? 0.8 : 0.4, Math.max(solved ? 0.08 : 0.02, 40 / of.length));
      for (const k of some) this.trace(ctx, k);
    }
    ctx.globalAlpha = 1;
    this.axes.forEach((axis, a) => this.axis(ctx, axis, a));
  }

  axis(ctx, axis, a) {
    const x = Math.round(this.x[a]) + 0.5;
    const kept = space.kept.get(axis);
    ctx.strokeStyle = colour("ink");
    line(ctx, x, SIDE.top, x, SIDE.top + this.high);
    ctx.fillStyle = colour("ink");
    ctx.textAlign = "center";
    ctx.font = `600 ${SMALL_LETTERS}`;
    ctx.fillText(axis === "time" ? space.measure : axis.name, x, 16);
    ctx.font = SMALL_LETTERS;
    if (axis === "time") this.times(ctx, x, kept);
    else this.values(ctx, axis, x, kept);
  }

  values(ctx, axis, x, kept) {
    const { length } = axis.values;
    const every = Math.ceil(length / (this.high / 14));
    for (let place = 0; place < length; place += 1) {
      const y = this.middle(axis, place);
      if (kept && kept.has(place)) {
        ctx.fillStyle = colour("focus");
        ctx.globalAlpha = 0.25;
        ctx.fillRect(x - 8, y - this.high / length / 2 + 1, 16, this.high / length - 2);
        ctx.globalAlpha = 1;
      }
      if (place % every) continue;
      this.label(ctx, String(axis.values[place]), x, y, kept && !kept.has(place));
    }
  }

  times(ctx, x, kept) {
    if (kept) {
      const [top, bottom] = kept.map((time) => SIDE.top + part(time, this.across) * this.high);
      ctx.fillStyle = colour("focus");
      ctx.globalAlpha = 0.25;
      ctx.fillRect(x - 8, top, 16, bottom - top);
      ctx.globalAlpha = 1;
    }
    ctx.fillStyle = colour("faint");
    ctx.textAlign = "left";
    for (const time of logTicks(...this.across, this.high / 26)) {
      ctx.fillText(seconds(time), x + 8, SIDE.top + part(time, this.across) * this.high);
    }
  }

  // On a plate, for lines pass under it.
  label(ctx, text, x, y, faint) {
    const wide = ctx.measureText(text).width;
    ctx.fillStyle = colour("ground");
    ctx.globalAlpha = 0.85;
    ctx.fillRect(x - wide / 2 - 4, y - 8, wide + 8, 16);
    ctx.globalAlpha = 1;
    ctx.fillStyle = colour(faint ? "pruned" : "ink");
    ctx.textAlign = "center";
    ctx.fillText(text, x, y);
  }

  over(ctx) {
    const bold = (k, name, wide) => {
      if (k < 0 || !space.shown.includes(k)) return;
      ctx.strokeStyle = colour(name);
      ctx.lineWidth = wide;
      this.trace(ctx, k);
    };
    bold(space.winner, "winner", 2.5);
    bold(space.marked, "ink", 2.5);
    if (!this.drag || !this.drag.moved) return;
    const { a, from, to } = this.drag;
    ctx.fillStyle = colour("focus");
    ctx.globalAlpha = 0.25;
    ctx.fillRect(this.x[a] - 10, Math.min(from, to), 20, Math.abs(to - from));
    ctx.globalAlpha = 1;
  }

  nearest(px, py) {
    if (this.axes.length < 2) return -1;
    const a = Math.max(0, this.x.findLastIndex((x, place) => x <= px && place < this.x.length - 1));
    const along = Math.min(Math.max((px - this.x[a]) / (this.x[a + 1] - this.x[a]), 0), 1);
    let [best, least] = [-1, 9];
    for (const k of space.shown) {
      const [from, to] = [this.at(a, k), this.at(a + 1, k)];
      if (from === null || to === null) continue;
      const far = Math.abs(from + along * (to - from) - py);
      if (far < least) [best, least] = [k, far];
    }
    return best;
  }

  down(event) {
    if (event.button !== 0) return;
    const a = this.x.findIndex((x) => Math.abs(x - event.offsetX) <= REACH);
    if (a < 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.drag = { a, from: event.offsetY, to: event.offsetY, moved: false };
  }

  move(event) {
    if (!this.drag) {
      super.move(event);
      return;
    }
    this.drag.to = event.offsetY;
    this.drag.moved = this.drag.moved || Math.abs(this.drag.to - this.drag.from) > 5;
    hideTooltip();
    this.refresh(false);
  }

  // A drag keeps the values that it went over, a click one value; where it is kept already, all again.
  up() {
    const { drag } = this;
    this.drag = null;
    if (!drag) return;
    const axis = this.axes[drag.a];
    const [low, high] = [Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)];
    if (axis === "time") {
      const time = (y) => this.across[0] * (this.across[1] / this.across[0]) ** ((y - SIDE.top) / this.high);
      space.keep(axis, drag.moved ? [time(low), time(high)] : null);
      return;
    }
    const places = axis.values.map((_, place) => place);
    if (drag.moved) {
      const passed = places.filter((place) => this.middle(axis, place) >= low && this.middle(axis, place) <= high);
      space.keep(axis, passed.length ? new Set(passed) : null);
      return;
    }
    const away = (place) => Math.abs(this.middle(axis, place) - low);
    const [nearest] = places.sort((one, other) => away(one) - away(other));
    const kept = space.kept.get(axis);
    space.keep(axis, kept && kept.size === 1 && kept.has(nearest) ? null : new Set([nearest]));
  }
}

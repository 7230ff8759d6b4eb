// A canvas with the shared time axis: size, wheel, drag, keys and drawing.

const RIGHT = 14;
const TOP = 24;
const FONT = '11px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';

class Chart {
  constructor(canvas, view, height) {
    this.canvas = canvas;
    this.view = view;
    this.height = height;
    this.wide = canvas.clientWidth; // as it was drawn last
    this.pending = false;
    this.visible = false; // on the screen, or nearly
    this.stale = true; // must be drawn again
    this.pointer = null;
    this.drag = null;
    canvas.style.height = `${height}px`;
    this.context = canvas.getContext("2d", { alpha: false });
    view.listeners.push(() => {
      this.refresh();
      if (this.pointer && !this.drag) this.hover(); // something else may lie under the pointer now
    });
    new ResizeObserver(() => this.refresh()).observe(canvas);
    new IntersectionObserver(([entry]) => {
      this.visible = entry.isIntersecting;
      if (this.stale) this.refresh();
    }, { rootMargin: "300px" }).observe(canvas);
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", () => this.release());
    canvas.addEventListener("pointerleave", (event) => this.leave(event));
    canvas.addEventListener("dblclick", () => view.reset());
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  get narrow() {
    return this.wide < 600;
  }

  // Where the plot begins: names stand left of it.
  get left() {
    return this.narrow ? 76 : 118;
  }

  get plot() {
    return Math.max(1, this.wide - this.left - RIGHT);
  }

  x(time) {
    return this.left + ((time - this.view.from) / (this.view.to - this.view.from)) * this.plot;
  }

  time(x) {
    return this.view.from + ((x - this.left) / this.plot) * (this.view.to - this.view.from);
  }

  refresh() {
    this.stale = true;
    if (this.pending || !this.visible) return;
    this.pending = true;
    requestAnimationFrame(() => this.render());
  }

  render() {
    this.pending = false;
    this.stale = false;
    this.wide = this.canvas.clientWidth;
    const { wide } = this;
    if (!wide) return;
    const ratio = Math.min(window.devicePixelRatio || 1, 16000 / Math.max(wide, this.height));
    const [columns, rows] = [Math.round(wide * ratio), Math.round(this.height * ratio)];
    if (this.canvas.width !== columns || this.canvas.height !== rows) {
      this.canvas.width = columns;
      this.canvas.height = rows;
    }
    const ctx = this.context;
    ctx.setTransform(columns / wide, 0, 0, rows / this.height, 0, 0);
    ctx.globalAlpha = 1;
    ctx.fillStyle = palette.ground;
    ctx.fillRect(0, 0, wide, this.height);
    ctx.font = FONT;
    ctx.textBaseline = "middle";
    this.axis(ctx);
    this.draw(ctx);
    this.phases(ctx);
    this.canvas.dataset.from = this.view.from;
    this.canvas.dataset.to = this.view.to;
  }

  // As many ticks as have room for their labels; the labels at the edges are moved into the picture.
  axis(ctx) {
    const { tick, label } = this.ticks(ctx);
    ctx.strokeStyle = palette.line;
    ctx.fillStyle = palette.faint;
    ctx.lineWidth = 1;
    ctx.textAlign = "center";
    ctx.beginPath();
    const labels = [];
    for (let k = Math.ceil(this.view.from / tick); k * tick <= this.view.to; k += 1) {
      const x = Math.round(this.x(k * tick)) + 0.5;
      ctx.moveTo(x, TOP - 6);
      ctx.lineTo(x, this.height);
      const text = label(k * tick);
      labels.push(text);
      const half = ctx.measureText(text).width / 2;
      ctx.fillText(text, Math.min(x, this.wide - half - 1), 9);
    }
    ctx.globalAlpha = 0.6;
    ctx.stroke();
    ctx.globalAlpha = 1;
    this.canvas.dataset.ticks = labels.join(", "); // for tests
  }

  ticks(ctx) {
    const span = this.view.to - this.view.from;
    const [each, unit] = TIMES.find(([size]) => this.view.to >= size) || TIMES[3];
    for (let power = 10 ** Math.floor(Math.log10((span * 20) / this.plot)); ; power *= 10) {
      for (const tick of [power, 2 * power, 5 * power]) {
        const places = Math.min(9, Math.max(0, Math.ceil(-Math.log10((tick / each) * 1.0000001))));
        const label = (time) => `${(time / each).toFixed(places)} ${unit}`;
        const widest = ctx.measureText(label(this.view.to)).width;
        const apart = (tick / span) * this.plot;
        if (apart > widest + 12 && (apart > 80 || this.narrow || tick > span)) return { tick, label };
      }
    }
  }

  // On a page that opens on a part of the step: what is warm-up, and what is a steady window, of this very plan.
  phases(ctx) {
    const { phases } = this.plan;
    if (!this.view.opening || !phases || phases.warmUp === null) return;
    const part = (from, to, colour) => {
      const [a, b] = [from, to].map((time) => Math.min(Math.max(this.x(time), this.left), this.left + this.plot));
      ctx.fillStyle = colour;
      if (b > a) ctx.fillRect(a, TOP - 5, b - a, 3);
    };
    part(0, phases.warmUp, palette.warmUp);
    part(phases.warmUp, phases.until, palette.steady);
  }

  // The part of a very long step that the page does not hold.
  leftOut(ctx) {
    const { leftOut } = this.plan;
    if (!leftOut || leftOut.end <= this.view.from || leftOut.start >= this.view.to) return;
    const a = Math.max(this.x(leftOut.start), this.left);
    const b = Math.min(this.x(leftOut.end), this.left + this.plot);
    ctx.fillStyle = palette.ground;
    ctx.fillRect(a, TOP, b - a, this.height);
    ctx.save();
    ctx.beginPath();
    ctx.rect(a, TOP, b - a, this.height);
    ctx.clip();
    ctx.strokeStyle = palette.line;
    ctx.lineWidth = 1;
    ctx.beginPath();
    for (let x = a - this.height; x < b; x += 12) {
      ctx.moveTo(x, this.height);
      ctx.lineTo(x + this.height, 0);
    }
    ctx.stroke();
    ctx.restore();
    const text = clipped(ctx, `${leftOut.tasks} tasks not drawn`, b - a - 8);
    const wide = ctx.measureText(text).width;
    if (b - a < 60) return;
    ctx.fillStyle = palette.ground;
    ctx.fillRect((a + b - wide) / 2 - 4, TOP + 2, wide + 8, 18);
    ctx.fillStyle = palette.ink;
    ctx.textAlign = "center";
    ctx.fillText(text, (a + b) / 2, TOP + 11);
  }

  // Over the names on the left the wheel scrolls the page.
  wheel(event) {
    if (event.offsetX < this.left) return;
    event.preventDefault();
    const step = event.deltaMode === 1 ? 30 : event.deltaMode === 2 ? 300 : 1;
    const span = this.view.to - this.view.from;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      this.view.pan((((event.deltaX || event.deltaY) * step) / this.plot) * span);
    } else {
      this.view.zoom(Math.exp(-event.deltaY * step * 0.0018), this.time(event.offsetX));
    }
  }

  down(event) {
    if (event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.drag = { x: event.offsetX, from: this.view.from, to: this.view.to, moved: false };
  }

  move(event) {
    this.pointer = pointer(event);
    if (this.drag) {
      const by = event.offsetX - this.drag.x;
      if (!this.drag.moved && Math.abs(by) < 4) return;
      this.drag.moved = true;
      this.canvas.classList.add("dragging");
      hideTooltip();
      const time = (by / this.plot) * (this.drag.to - this.drag.from);
      this.view.set(this.drag.from - time, this.drag.to - time);
    } else {
      this.hover();
    }
  }

  up(event) {
    const clicked = this.drag && !this.drag.moved;
    this.release();
    if (!clicked) return;
    this.pointer = pointer(event);
    this.hover(); // a finger does not hover before it taps
    this.click();
  }

  release() {
    this.drag = null;
    this.canvas.classList.remove("dragging");
  }

  // What a finger has tapped stays until the next tap.
  leave(event) {
    if (event.pointerType === "touch") return;
    this.pointer = null;
    hideTooltip();
    this.hover();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const span = this.view.to - this.view.from;
    const keys = {
      "+": () => this.view.zoom(1.5),
      "=": () => this.view.zoom(1.5),
      "-": () => this.view.zoom(1 / 1.5),
      ArrowLeft: () => this.view.pan(-span * 0.15),
      ArrowRight: () => this.view.pan(span * 0.15),
      0: () => this.view.reset(),
      Home: () => this.view.set(0, span),
      End: () => this.view.set(this.view.until - span, this.view.until),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  }

  hover() {}

  click() {}

  // A vertical line at an instant.
  mark(ctx, time, colour, dashes) {
    if (time < this.view.from || time > this.view.to) return;
    const x = this.x(time);
    ctx.strokeStyle = colour;
    ctx.lineWidth = 1.3;
    ctx.setLineDash(dashes);
    ctx.beginPath();
    ctx.moveTo(x, TOP - 4);
    ctx.lineTo(x, this.height - 2);
    ctx.stroke();
    ctx.setLineDash([]);
  }
}

function pointer(event) {
  return { x: event.offsetX, y: event.offsetY, clientX: event.clientX, clientY: event.clientY };
}

// A name with its end, in which the devices of one machine differ.
function shortened(ctx, name, width) {
  if (ctx.measureText(name).width <= width) return name;
  let kept = name.length - 1;
  const cut = () => `${name.slice(0, kept >> 1)}…${name.slice(name.length - ((kept + 1) >> 1))}`;
  while (kept > 2 && ctx.measureText(cut()).width > width) kept -= 1;
  return cut();
}

function clipped(ctx, text, width) {
  if (ctx.measureText(text).width <= width) return text;
  let cut = Math.max(1, Math.floor((text.length * width) / ctx.measureText(text).width));
  while (cut > 1 && ctx.measureText(`${text.slice(0, cut)}…`).width > width) cut -= 1;
  return `${text.slice(0, cut)}…`;
}

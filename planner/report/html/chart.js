// A canvas with the shared time axis: size, wheel, drag, keys and drawing.

const LEFT = 118;
const RIGHT = 14;
const TOP = 24;
const FONT = '11px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';

class Chart {
  constructor(canvas, view, height) {
    this.canvas = canvas;
    this.view = view;
    this.height = height;
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
    canvas.addEventListener("pointerleave", () => this.leave());
    canvas.addEventListener("dblclick", () => view.reset());
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  get plot() {
    return Math.max(1, this.canvas.clientWidth - LEFT - RIGHT);
  }

  x(time) {
    return LEFT + ((time - this.view.from) / (this.view.to - this.view.from)) * this.plot;
  }

  time(x) {
    return this.view.from + ((x - LEFT) / this.plot) * (this.view.to - this.view.from);
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
    const wide = this.canvas.clientWidth;
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
    this.canvas.dataset.from = this.view.from;
    this.canvas.dataset.to = this.view.to;
  }

  axis(ctx) {
    const rough = (this.view.to - this.view.from) / Math.max(2, this.plot / 110);
    const power = 10 ** Math.floor(Math.log10(rough));
    const tick = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
    const [each, unit] = TIMES.find(([size]) => this.view.to >= size) || TIMES[3];
    const places = Math.min(9, Math.max(0, Math.ceil(-Math.log10((tick / each) * 1.0000001))));
    ctx.strokeStyle = palette.line;
    ctx.fillStyle = palette.faint;
    ctx.lineWidth = 1;
    ctx.textAlign = "center";
    ctx.beginPath();
    for (let k = Math.ceil(this.view.from / tick); k * tick <= this.view.to; k += 1) {
      const x = Math.round(this.x(k * tick)) + 0.5;
      ctx.moveTo(x, TOP - 6);
      ctx.lineTo(x, this.height);
      ctx.fillText(`${((k * tick) / each).toFixed(places)} ${unit}`, x, 9);
    }
    ctx.globalAlpha = 0.6;
    ctx.stroke();
    ctx.globalAlpha = 1;
  }

  // Over the names on the left the wheel scrolls the page.
  wheel(event) {
    if (event.offsetX < LEFT) return;
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
    this.pointer = { x: event.offsetX, y: event.offsetY, clientX: event.clientX, clientY: event.clientY };
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

  up() {
    const clicked = this.drag && !this.drag.moved;
    this.release();
    if (clicked) this.click();
  }

  release() {
    this.drag = null;
    this.canvas.classList.remove("dragging");
  }

  leave() {
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

function clipped(ctx, text, width) {
  if (ctx.measureText(text).width <= width) return text;
  let cut = Math.max(1, Math.floor((text.length * width) / ctx.measureText(text).width));
  while (cut > 1 && ctx.measureText(`${text.slice(0, cut)}…`).width > width) cut -= 1;
  return `${text.slice(0, cut)}…`;
}

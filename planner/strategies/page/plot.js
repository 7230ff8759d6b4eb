// A canvas of many strategies: drawn once on a sheet of its own, with what is marked on top.

const SMALL_LETTERS = '11px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';

class Plot {
  constructor(canvas, height, label) {
    this.canvas = canvas;
    this.height = height;
    this.wide = 0;
    this.pointed = null; // where the pointer is
    this.stale = true; // the sheet must be drawn again
    this.pending = false;
    this.sheet = document.createElement("canvas");
    canvas.style.height = `${height}px`;
    canvas.setAttribute("aria-label", label);
    this.context = canvas.getContext("2d", { alpha: false });
    new ResizeObserver(() => this.refresh(true)).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", () => { this.drag = null; });
    canvas.addEventListener("pointerleave", (event) => this.leave(event));
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => hideTooltip());
    space.listeners.push((all) => this.refresh(all));
  }

  refresh(all) {
    this.stale = this.stale || all;
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => this.render());
  }

  render() {
    this.pending = false;
    const wide = this.canvas.clientWidth;
    if (!wide) return;
    const ratio = Math.min(window.devicePixelRatio || 1, 16000 / Math.max(wide, this.height));
    const size = [Math.round(wide * ratio), Math.round(this.height * ratio)];
    for (const each of [this.canvas, this.sheet]) {
      if (each.width === size[0] && each.height === size[1]) continue;
      [each.width, each.height] = size;
      this.stale = true;
    }
    this.wide = wide;
    if (this.stale) {
      const ctx = this.prepared(this.sheet.getContext("2d", { alpha: false }), ratio);
      ctx.fillStyle = colour("ground");
      ctx.fillRect(0, 0, wide, this.height);
      this.layout(ctx);
      this.draw(ctx);
      this.stale = false;
    }
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    this.context.globalAlpha = 1;
    this.context.drawImage(this.sheet, 0, 0);
    this.over(this.prepared(this.context, ratio));
  }

  prepared(ctx, ratio) {
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.globalAlpha = 1;
    ctx.setLineDash([]);
    ctx.font = SMALL_LETTERS;
    ctx.textBaseline = "middle";
    return ctx;
  }

  down(event) {
    if (event.button === 0) this.drag = null;
  }

  move(event) {
    this.pointed = { x: event.offsetX, y: event.offsetY };
    const found = this.nearest(event.offsetX, event.offsetY);
    space.mark(found);
    if (found >= 0) showTooltip(this.tip(found), event.clientX, event.clientY);
    else hideTooltip();
  }

  up() {}

  // What a finger has tapped stays until the next tap.
  leave(event) {
    this.pointed = null;
    if (event.pointerType === "touch") return;
    hideTooltip();
    space.mark(-1);
  }

  tip(k) {
    return space.words(k);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const keys = {
      ArrowRight: () => space.step(1),
      ArrowDown: () => space.step(1),
      ArrowLeft: () => space.step(-1),
      ArrowUp: () => space.step(-1),
      Home: () => space.step(0),
      Escape: () => {
        space.clear();
        space.mark(-1);
      },
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
    if (space.marked < 0) {
      hideTooltip();
      return;
    }
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = this.spot(space.marked) || [this.wide / 2, 20];
    showTooltip(this.tip(space.marked), box.left + x, box.top + y);
  }
}

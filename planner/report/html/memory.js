// Memory over time: a band per device, parameters below, the activations of each stage above them, the cap as a line.

const BAND = 58;
const SPACE = 16; // above each band, for the words on its scale

class MemoryChart extends Chart {
  constructor(canvas, view, plan) {
    super(canvas, view, TOP + plan.devices.length * (BAND + SPACE) + 6);
    this.plan = plan;
    this.levels = plan.memory.map((device) => this.level(device));
    this.scales(plan.memory);
  }

  // The top of each band. All show the same part of their caps: the smallest of 1, 1/2, 1/4, ... that holds the
  // fullest device. A band that would stay below a sixth of that is magnified, at most to half of its height: little
  // use is seen as well, and looks no fuller than the others.
  scales(devices) {
    const full = devices.map((device) => (device.cap > 0 ? device.cap : Math.max(...devices.map((d) => d.peak))) || 1);
    const used = devices.map((device, d) => device.peak / full[d]);
    const halvings = (room) => (room > 0 && room < 1 ? Math.max(0, Math.floor(-Math.log2(room * 1.02))) : 0);
    this.common = 2 ** Math.min(10, halvings(Math.max(...used)));
    this.magnified = used.map((use) => {
      const share = use * this.common;
      return share > 0 && share < 1 / 6 ? 2 ** Math.min(12, halvings(2 * share)) : 1;
    });
    this.scale = devices.map((device, d) => Math.max(full[d], device.peak) / this.common / this.magnified[d]);
  }

  // Bytes of each stage after each change, and the sum of all; changes at one instant count once all are done.
  level(device) {
    const count = device.time.length;
    const stages = device.stages.map(() => new Float64Array(count));
    const total = new Float64Array(count);
    const now = device.stages.map(() => 0);
    let sum = device.parameters;
    for (let k = 0; k < count; k += 1) {
      now[device.stage[k]] += device.change[k];
      sum += device.change[k];
      for (let s = 0; s < now.length; s += 1) stages[s][k] = Math.max(0, now[s]);
      total[k] = sum;
    }
    return { stages, total };
  }

  draw(ctx) {
    for (let d = 0; d < this.plan.devices.length; d += 1) this.device(ctx, d);
    this.leftOut(ctx);
    this.mark(ctx, this.plan.makespan, palette.ink, []);
    if (this.pointer && this.pointer.x >= this.left) this.mark(ctx, this.time(this.pointer.x), palette.faint, [2, 3]);
  }

  // For each pixel the fullest moment in it: the change after which it holds, -1 before all changes.
  columns(d) {
    const { time } = this.plan.memory[d];
    const { total } = this.levels[d];
    const wide = Math.ceil(this.plot);
    const found = new Int32Array(wide);
    let k = firstAtLeast(time, this.view.from, 0, time.length, true) - 1;
    for (let x = 0; x < wide; x += 1) {
      const until = this.time(this.left + x + 1);
      let best = k;
      while (k + 1 < time.length && time[k + 1] <= until) {
        k += 1;
        const settled = k + 1 === time.length || time[k + 1] > time[k];
        if (settled && (best < 0 || total[k] > total[best])) best = k;
      }
      found[x] = best;
    }
    return found;
  }

  device(ctx, d) {
    const device = this.plan.memory[d];
    const { stages } = this.levels[d];
    const bottom = TOP + (d + 1) * (BAND + SPACE);
    const high = (value) => (value / this.scale[d]) * (BAND - 4);
    const columns = this.columns(d);
    const end = Math.min(Math.max(0, this.x(this.plan.makespan) - this.left), this.plot);
    ctx.fillStyle = palette.band;
    ctx.fillRect(this.left, bottom - BAND, end, BAND);
    ctx.fillStyle = palette.parameters;
    ctx.fillRect(this.left, bottom - high(device.parameters), end, high(device.parameters));
    const base = new Float64Array(columns.length).fill(device.parameters);
    stages.forEach((level, s) => {
      ctx.fillStyle = palette.stage[s % STAGES];
      ctx.beginPath();
      for (let x = 0; x < Math.min(columns.length, end); x += 1) {
        const value = columns[x] < 0 ? 0 : level[columns[x]];
        if (value <= 0) continue;
        ctx.rect(this.left + x, bottom - high(base[x] + value), Math.min(1, end - x), high(value) + 0.3);
        base[x] += value;
      }
      ctx.fill();
    });
    this.words(ctx, d, bottom);
  }

  // Name, peak, scale and, where it is in the picture, the cap.
  words(ctx, d, bottom) {
    const device = this.plan.memory[d];
    const share = device.cap > 0 ? `, ${percent(device.peak / device.cap)}` : "";
    ctx.textAlign = "right";
    ctx.fillStyle = palette.ink;
    ctx.fillText(shortened(ctx, this.plan.devices[d], this.left - 14), this.left - 8, bottom - BAND / 2 - 6);
    ctx.fillStyle = palette.faint;
    const peak = this.narrow ? bytes(device.peak, 3) : `${bytes(device.peak, 3)}${share}`;
    ctx.fillText(peak, this.left - 8, bottom - BAND / 2 + 8);
    const part = this.common * this.magnified[d];
    ctx.strokeStyle = part > 1 ? palette.faint : palette.memory;
    ctx.lineWidth = 1.2;
    if (device.cap === null && part === 1) return;
    ctx.setLineDash(part > 1 ? [1, 3] : [6, 3]);
    const y = part > 1 ? bottom - BAND + 4 : bottom - (device.cap / this.scale[d]) * (BAND - 4);
    ctx.beginPath();
    ctx.moveTo(this.left, y);
    ctx.lineTo(this.left + this.plot, y);
    ctx.stroke();
    ctx.setLineDash([]);
    const before = d > 0 && this.plan.memory[d - 1].cap === device.cap && this.magnified[d - 1] === this.magnified[d];
    if (before && this.magnified[d] === 1) return;
    ctx.fillStyle = part > 1 ? palette.ink : palette.memory;
    ctx.fillText(clipped(ctx, this.scaleWords(d, part), this.plot), this.left + this.plot, bottom - BAND - 5);
  }

  scaleWords(d, part) {
    const { cap } = this.plan.memory[d];
    if (part === 1) return `cap ${bytes(cap, 4)}`;
    const times = this.magnified[d] > 1 ? `\u00d7${this.magnified[d]}: ` : "";
    return `${times}top is ${bytes(this.scale[d], 3)}${cap > 0 ? `, 1/${part} of the cap` : ""}`;
  }

  hover() {
    this.refresh();
    if (!this.pointer || this.pointer.x < this.left) {
      hideTooltip();
      return;
    }
    const d = Math.floor((this.pointer.y - TOP) / (BAND + SPACE));
    const time = this.time(this.pointer.x);
    const { leftOut } = this.plan;
    const unknown = time < 0 || time > this.plan.makespan || (leftOut && time > leftOut.start && time < leftOut.end);
    if (d < 0 || d >= this.plan.devices.length || unknown) {
      hideTooltip();
      return;
    }
    const device = this.plan.memory[d];
    const { stages, total } = this.levels[d];
    const k = firstAtLeast(device.time, time, 0, device.time.length, true) - 1;
    const held = k < 0 ? device.parameters : total[k];
    const cap = device.cap === null ? "" : ` of ${bytes(device.cap)}`;
    const lines = [
      [`${this.plan.devices[d]}: ${bytes(held)}${cap}`],
      [`at ${seconds(time)}`],
      [`parameters ${bytes(device.parameters)}`],
    ];
    stages.forEach((level, s) => {
      if (k >= 0 && level[k] > 0) lines.push([`activations of ${device.stages[s]}: ${bytes(level[k])}`]);
    });
    showTooltip(lines, this.pointer.clientX, this.pointer.clientY);
  }
}

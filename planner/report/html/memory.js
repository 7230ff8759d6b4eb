// Memory over time: a band per device, parameters below, the activations of each stage above them, the cap as a line.

const BAND = 58;
const SPACE = 10;

class MemoryChart extends Chart {
  constructor(canvas, view, plan) {
    super(canvas, view, TOP + plan.devices.length * (BAND + SPACE) + 4);
    this.plan = plan;
    this.levels = plan.memory.map((device) => this.level(device));
    this.scale = plan.memory.map((device, d) => Math.max(device.cap || 0, this.levels[d].peak) || 1);
  }

  // Bytes of each stage after each change, and the sum of all; changes at one instant count once all are done.
  level(device) {
    const count = device.time.length;
    const stages = device.stages.map(() => new Float64Array(count));
    const total = new Float64Array(count);
    const now = device.stages.map(() => 0);
    let sum = device.parameters;
    let peak = sum;
    for (let k = 0; k < count; k += 1) {
      now[device.stage[k]] += device.change[k];
      sum += device.change[k];
      for (let s = 0; s < now.length; s += 1) stages[s][k] = Math.max(0, now[s]);
      total[k] = sum;
      peak = Math.max(peak, sum);
    }
    return { stages, total, peak };
  }

  draw(ctx) {
    for (let d = 0; d < this.plan.devices.length; d += 1) this.device(ctx, d);
    this.mark(ctx, this.plan.makespan, palette.ink, []);
    if (this.pointer && this.pointer.x >= LEFT) this.mark(ctx, this.time(this.pointer.x), palette.faint, [2, 3]);
  }

  // For each pixel the fullest moment in it: the change after which it holds, -1 before all changes.
  columns(d) {
    const { time } = this.plan.memory[d];
    const { total } = this.levels[d];
    const wide = Math.ceil(this.plot);
    const found = new Int32Array(wide);
    let k = firstAtLeast(time, this.view.from, 0, time.length, true) - 1;
    for (let x = 0; x < wide; x += 1) {
      const until = this.time(LEFT + x + 1);
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
    const { stages, peak } = this.levels[d];
    const bottom = TOP + 4 + d * (BAND + SPACE) + BAND;
    const high = (value) => (value / this.scale[d]) * (BAND - 4);
    const columns = this.columns(d);
    const end = Math.min(Math.max(0, this.x(this.plan.makespan) - LEFT), this.plot);
    ctx.fillStyle = palette.band;
    ctx.fillRect(LEFT, bottom - BAND, end, BAND);
    ctx.fillStyle = palette.parameters;
    ctx.fillRect(LEFT, bottom - high(device.parameters), end, high(device.parameters));
    const base = new Float64Array(columns.length).fill(device.parameters);
    stages.forEach((level, s) => {
      ctx.fillStyle = palette.stage[s % STAGES];
      ctx.beginPath();
      for (let x = 0; x < Math.min(columns.length, end); x += 1) {
        const value = columns[x] < 0 ? 0 : level[columns[x]];
        if (value <= 0) continue;
        ctx.rect(LEFT + x, bottom - high(base[x] + value), Math.min(1, end - x), high(value) + 0.3);
        base[x] += value;
      }
      ctx.fill();
    });
    ctx.textAlign = "right";
    ctx.fillStyle = palette.ink;
    ctx.fillText(clipped(ctx, this.plan.devices[d], LEFT - 14), LEFT - 8, bottom - BAND / 2 - 6);
    ctx.fillStyle = palette.faint;
    ctx.fillText(`peak ${bytes(peak)}`, LEFT - 8, bottom - BAND / 2 + 8);
    if (device.cap === null) return;
    const y = bottom - high(device.cap);
    ctx.strokeStyle = palette.memory;
    ctx.lineWidth = 1.2;
    ctx.setLineDash([6, 3]);
    ctx.beginPath();
    ctx.moveTo(LEFT, y);
    ctx.lineTo(LEFT + this.plot, y);
    ctx.stroke();
    ctx.setLineDash([]);
    if (d === 0 || device.cap !== this.plan.memory[d - 1].cap) {
      ctx.textAlign = "left";
      ctx.fillStyle = palette.memory;
      ctx.fillText(`cap ${bytes(device.cap)}`, LEFT + 4, y + 8);
    }
  }

  hover() {
    this.refresh();
    if (!this.pointer || this.pointer.x < LEFT) {
      hideTooltip();
      return;
    }
    const d = Math.floor((this.pointer.y - TOP - 4) / (BAND + SPACE));
    const time = this.time(this.pointer.x);
    if (d < 0 || d >= this.plan.devices.length || time < 0 || time > this.plan.makespan) {
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

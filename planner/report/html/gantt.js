// The schedule of one plan: a band per device, its compute stream above its communication stream.

const PASSES = ["forward", "input gradient", "weight gradient", "reduction", "optimizer", "gathering"];
const LETTERS = "FIWRUG"; // R, U and G come once a step: their microbatch is -1
const WAITS = ["input of", "the transfer of", "its turn after", "memory of", "the plan holds it until the end of"];
const ARROWS = 400; // more transfers than this are drawn without heads
const SMALLEST = 0.8; // pixels below which tasks are drawn together

class Gantt extends Chart {
  constructor(canvas, view, plan) {
    const comm = plan.devices.map((_, d) => plan.rowPtr[2 * d + 2] > plan.rowPtr[2 * d + 1]);
    const count = plan.devices.length;
    const [tall, thin, gap] = count <= 16 ? [20, 10, 7] : count <= 48 ? [13, 6, 4] : [8, 4, 2];
    const rows = [];
    let y = TOP + 4;
    for (let d = 0; d < count; d += 1) {
      rows.push([y, tall], [y + tall + 1, comm[d] ? thin : 0]);
      y += tall + (comm[d] ? thin + 1 : 0) + gap;
    }
    super(canvas, view, Math.max(y + 2, TOP + 30));
    this.plan = plan;
    this.rows = rows; // [top, height] of row 2d (compute) and 2d + 1 (communication; height 0: none)
    this.gap = gap;
    this.found = null;
    this.byDevice = plan.devices.map(() => []);
    plan.idle.device.forEach((d, k) => this.byDevice[d].push(k));
    this.longestTransfer = plan.transfers.start.reduce((most, s, k) => Math.max(most, plan.transfers.end[k] - s), 0);
    this.linksOf = null;
  }

  draw(ctx) {
    for (let d = 0; d < this.plan.devices.length; d += 1) this.device(ctx, d);
    ctx.save();
    ctx.beginPath();
    ctx.rect(this.left, 0, this.plot + 2, this.height);
    ctx.clip();
    for (let row = 0; row < this.rows.length; row += 1) if (this.rows[row][1]) this.tasks(ctx, row);
    if (mode.path) this.path(ctx);
    if (mode.transfers) this.transfers(ctx);
    if (this.found) this.outline(ctx);
    this.leftOut(ctx);
    this.mark(ctx, this.plan.makespan, palette.ink, []);
    if (this.plan.bound !== null) this.mark(ctx, this.plan.bound, palette.bound, [5, 4]);
    ctx.restore();
  }

  device(ctx, d) {
    const [y, high] = this.rows[2 * d];
    const [below, thin] = this.rows[2 * d + 1];
    const bottom = thin ? below + thin : y + high;
    const end = Math.min(this.x(this.plan.makespan), this.left + this.plot);
    ctx.fillStyle = palette.band;
    if (end > this.left) ctx.fillRect(this.left, y, end - this.left, bottom - y);
    if (high >= 8) {
      ctx.fillStyle = palette.ink;
      ctx.textAlign = "right";
      ctx.fillText(shortened(ctx, this.plan.devices[d], this.left - 14), this.left - 8, y + high / 2);
    }
    if (!mode.idle) return;
    const { cause, start, end: until } = this.plan.idle;
    for (const k of this.byDevice[d]) {
      if (until[k] <= this.view.from || start[k] >= this.view.to) continue;
      const a = Math.max(this.x(start[k]), this.left);
      const b = Math.min(this.x(until[k]), this.left + this.plot);
      ctx.fillStyle = palette.idle[cause[k]];
      ctx.fillRect(a, y + 1, Math.max(b - a, 0.4), high - 2);
    }
  }

  colours(k) {
    const { pass, copy, microbatch } = this.plan.tasks;
    const ofMicrobatch = microbatch[k] >= 0 && mode.colour === "microbatch";
    if (ofMicrobatch && this.plan.microbatches > 1) return microbatchColour(microbatch[k], this.plan.microbatches);
    if (ofMicrobatch) {
      return microbatchColour(this.plan.tasks.operator[k], this.plan.operators.length);
    }
    const light = copy[k] > 0 || pass[k] === 2;
    return [palette.pass[pass[k]][copy[k] > 0 ? 1 : 0], light || palette.dark ? "#14181d" : "#ffffff"];
  }

  // Tasks of less than a pixel are collected until they fill one. Its opacity is their share of busy time. Its colour
  // is that of one of them, chosen in proportion to their lengths, so that overall every colour has its share.
  tasks(ctx, row) {
    const { start, end, microbatch } = this.plan.tasks;
    const [y, high] = this.rows[row];
    const [low, upto] = [this.plan.rowPtr[row], this.plan.rowPtr[row + 1]];
    const first = firstAtLeast(end, this.view.from, low, upto);
    const scale = this.plot / (this.view.to - this.view.from);
    const dust = { from: 0, to: 0, busy: 0, task: -1 };
    const settle = () => {
      if (dust.task < 0) return;
      const wide = Math.max(dust.to - dust.from, 0.7);
      ctx.globalAlpha = this.strength(microbatch[dust.task]) * Math.max(0.25, Math.min(1, dust.busy / wide));
      [ctx.fillStyle] = this.colours(dust.task);
      ctx.fillRect(dust.from, y, wide, high);
      dust.task = -1;
      dust.busy = 0;
    };
    for (let k = first; k < upto && start[k] < this.view.to; k += 1) {
      const wide = (end[k] - start[k]) * scale;
      const x = this.x(start[k]);
      if (wide < SMALLEST) {
        if (dust.task >= 0 && x - dust.from > 1.5) settle();
        if (dust.task < 0) dust.from = x;
        dust.to = x + wide;
        dust.busy += wide;
        if (dust.task < 0 || ((k * 0.618034) % 1) * dust.busy < wide) dust.task = k;
        continue;
      }
      settle();
      const a = Math.max(x, this.left - 4);
      const b = Math.min(x + wide, this.left + this.plot + 4);
      ctx.globalAlpha = this.strength(microbatch[k]);
      [ctx.fillStyle] = this.colours(k);
      ctx.fillRect(a, y, b - a - (wide > 3 ? 0.6 : 0), high);
    }
    settle();
    ctx.globalAlpha = 1;
    if (high >= 13) this.labels(ctx, row, first);
  }

  strength(microbatch) {
    return mode.marked < 0 || mode.marked === microbatch ? 1 : 0.22;
  }

  // Labels: the microbatch on consecutive tasks of one pass of it; with one microbatch, the operator.
  labels(ctx, row, first) {
    const { start, end, pass, microbatch, copy, operator } = this.plan.tasks;
    const upto = this.plan.rowPtr[row + 1];
    const [y, high] = this.rows[row];
    const single = this.plan.microbatches === 1;
    const close = 1e-9 * this.plan.makespan;
    ctx.textAlign = "center";
    for (let k = first; k < upto && start[k] < this.view.to;) {
      let last = k;
      while (
        !single && last + 1 < upto && start[last + 1] - end[last] <= close && microbatch[last + 1] === microbatch[k] &&
        pass[last + 1] === pass[k] && copy[last + 1] === copy[k]
      ) last += 1;
      const [a, b] = [Math.max(this.x(start[k]), this.left), Math.min(this.x(end[last]), this.left + this.plot)];
      const apart = (end[k] - start[k]) * this.plot / (this.view.to - this.view.from) > 90;
      const which = microbatch[k] < 0 ? LETTERS[pass[k]] : String(microbatch[k]);
      const text = single || apart ? `${this.plan.operators[operator[k]]}${single ? "" : ` ${which}`}` : which;
      const room = apart && !single ? Math.min(b, this.x(end[k])) - a : b - a;
      const number = !single && !apart; // is shown whole or not at all
      if (number ? room > 6.6 * text.length + 2 : room > 40) {
        [, ctx.fillStyle] = this.colours(k);
        ctx.globalAlpha = this.strength(microbatch[k]);
        ctx.fillText(number ? text : clipped(ctx, text, room - 4), a + room / 2, y + high / 2 + 0.5);
      }
      k = apart && !single ? k + 1 : last + 1;
    }
    ctx.globalAlpha = 1;
  }

  rowOf(task) {
    return firstAtLeast(this.plan.rowPtr, task, 0, this.plan.rowPtr.length, true) - 1;
  }

  // Start, end and the heights at which a task or transfer begins and ends; transfers are numbered after tasks.
  place(node) {
    const { tasks, transfers } = this.plan;
    const middle = (row) => this.rows[row][0] + this.rows[row][1] / 2;
    if (node < tasks.start.length) {
      const y = middle(this.rowOf(node));
      return [tasks.start[node], tasks.end[node], y, y];
    }
    const t = node - tasks.start.length;
    const maker = transfers.maker[t];
    const reader = transfers.readerPtr[t + 1] > transfers.readerPtr[t] ? transfers.reader[transfers.readerPtr[t]] : -1;
    return [
      transfers.start[t],
      transfers.end[t],
      middle(maker >= 0 ? this.rowOf(maker) : 2 * transfers.device[t]),
      middle(reader >= 0 ? this.rowOf(reader) : 2 * transfers.target[t]),
    ];
  }

  path(ctx) {
    const count = this.plan.tasks.start.length;
    ctx.strokeStyle = palette.path;
    ctx.fillStyle = palette.path;
    let before = null;
    ctx.beginPath();
    for (const node of this.plan.path) {
      const [start, end, y, to] = this.place(node);
      if (end >= this.view.from && start <= this.view.to) {
        const [a, b] = [this.x(start), this.x(end)];
        if (node < count) {
          const [top, high] = this.rows[this.rowOf(node)];
          ctx.fillRect(a, top + high - 3, Math.max(b - a, 1), 3);
          ctx.fillRect(a, top, Math.max(b - a, 1), 1.5);
        } else {
          ctx.moveTo(a, y);
          ctx.lineTo(b, to);
        }
        if (before && before[1] !== y) {
          ctx.moveTo(this.x(before[0]), before[1]);
          ctx.lineTo(a, y);
        }
      }
      before = [end, to];
    }
    ctx.lineWidth = 1.6;
    ctx.stroke();
  }

  transfers(ctx) {
    const { start, end } = this.plan.transfers;
    const low = firstAtLeast(start, this.view.from - this.longestTransfer, 0, start.length);
    const high = firstAtLeast(start, this.view.to, 0, start.length);
    const shown = [];
    for (let t = low; t < high; t += 1) if (end[t] >= this.view.from) shown.push(t);
    ctx.globalAlpha = shown.length > 4 * ARROWS ? 0.3 : 0.75;
    const { microbatch } = this.plan.transfers;
    this.arrows(ctx, shown.filter((t) => microbatch[t] >= 0), palette.arrow, 1, shown.length <= ARROWS);
    ctx.globalAlpha = 1;
    this.arrows(ctx, shown.filter((t) => microbatch[t] < 0), palette.sent, 1.6, shown.length <= ARROWS);
  }

  arrows(ctx, transfers, colour, width, heads) {
    const count = this.plan.tasks.start.length;
    ctx.strokeStyle = colour;
    ctx.fillStyle = colour;
    ctx.lineWidth = width;
    ctx.beginPath();
    for (const t of transfers) {
      const [start, end, y, to] = this.place(count + t);
      const [a, b] = [this.x(start), this.x(end)];
      ctx.moveTo(a, y);
      ctx.lineTo(b, to);
      if (heads) {
        const angle = Math.atan2(to - y, b - a);
        for (const side of [-0.45, 0.45]) {
          ctx.moveTo(b, to);
          ctx.lineTo(b - 7 * Math.cos(angle + side), to - 7 * Math.sin(angle + side));
        }
      }
    }
    ctx.stroke();
  }

  // Transfers that a task makes or reads.
  links(task) {
    if (!this.linksOf) {
      this.linksOf = new Map();
      const add = (node, t) => {
        if (node < 0) return;
        if (!this.linksOf.has(node)) this.linksOf.set(node, []);
        this.linksOf.get(node).push(t);
      };
      const { maker, readerPtr, reader } = this.plan.transfers;
      maker.forEach((node, t) => {
        add(node, t);
        for (let k = readerPtr[t]; k < readerPtr[t + 1]; k += 1) add(reader[k], t);
      });
    }
    return this.linksOf.get(task) || [];
  }

  outline(ctx) {
    const { task } = this.found;
    if (task === undefined) return;
    const [start, end] = this.place(task);
    const [y, high] = this.rows[this.rowOf(task)];
    ctx.strokeStyle = palette.ink;
    ctx.lineWidth = 2;
    ctx.strokeRect(this.x(start), y, Math.max(this.x(end) - this.x(start), 1), high);
    this.arrows(ctx, this.links(task), palette.ink, 1.6, true);
  }

  // What lies under the pointer: {task}, {idle} or null.
  under() {
    if (!this.pointer || this.pointer.x < this.left) return null;
    const { x, y } = this.pointer;
    const row = this.rows.findIndex(([top, high]) => high && y >= top - 1 && y <= top + high + 1);
    if (row < 0) return null;
    const { start, end } = this.plan.tasks;
    const time = this.time(x);
    const near = 2.5 * (this.view.to - this.view.from) / this.plot;
    const [low, upto] = [this.plan.rowPtr[row], this.plan.rowPtr[row + 1]];
    const k = firstAtLeast(end, time, low, upto, true);
    if (k < upto && start[k] <= time) return { task: k };
    if (k < upto && start[k] - time < near && end[k] - start[k] < near) return { task: k };
    if (k > low && time - end[k - 1] < near && end[k - 1] - start[k - 1] < near) return { task: k - 1 };
    if (row % 2) return null;
    const { start: since, end: until } = this.plan.idle;
    const idle = this.byDevice[row / 2].find((i) => since[i] <= time && time < until[i]);
    return idle === undefined ? null : { idle };
  }

  hover() {
    const found = this.under();
    const same = JSON.stringify(found) === JSON.stringify(this.found);
    this.found = found;
    if (!same) this.refresh();
    if (!found) hideTooltip();
    else showTooltip(found.task === undefined ? this.ofIdle(found.idle) : this.ofTask(found.task),
      this.pointer.clientX, this.pointer.clientY);
  }

  click() {
    const found = this.under();
    const task = found && found.task;
    const microbatch = task === undefined || task === null ? -1 : this.plan.tasks.microbatch[task];
    mode.marked = microbatch === mode.marked ? -1 : microbatch;
    this.view.changed();
  }

  name(node) {
    const { tasks, transfers, operators, devices } = this.plan;
    const t = node - tasks.start.length;
    if (t < 0) {
      const where = devices[this.rowOf(node) >> 1];
      const microbatch = tasks.microbatch[node] < 0 ? "" : tasks.microbatch[node];
      return `${LETTERS[tasks.pass[node]]}${microbatch} ${operators[tasks.operator[node]]} on ${where}`;
    }
    const way = `${devices[transfers.device[t]]} to ${devices[transfers.target[t]]}`;
    const operator = operators[transfers.operator[t]];
    if (transfers.microbatch[t] < 0) return `weight gradient of ${operator}, copy ${transfers.copy[t]}, ${way}`;
    return `${transfers.pass[t] === 0 ? "output" : "gradient"} of ${operator}, ${transfers.microbatch[t]}, ${way}`;
  }

  ofTask(k) {
    const { tasks, operators, devices, waits } = this.plan;
    const row = this.rowOf(k);
    const once = tasks.microbatch[k] < 0;
    const which = once ? "" : `microbatch ${tasks.microbatch[k]}, `;
    const variant = this.plan.variant.get(`${tasks.copy[k]} ${tasks.operator[k]}`);
    const lines = [
      [operators[tasks.operator[k]]],
      [`${LETTERS[tasks.pass[k]]}, ${PASSES[tasks.pass[k]]}, ${which}copy ${tasks.copy[k]}`],
      ...(variant ? [[`as ${variant}`]] : []),
      [`${devices[row >> 1]}, ${row % 2 ? "communication" : "compute"} stream`],
      [`start ${seconds(tasks.start[k])}, end ${seconds(tasks.end[k])}`],
      [`duration ${seconds(tasks.end[k] - tasks.start[k])}`],
    ];
    const what = once && waits.kind[k] === 0 ? "the end of" : WAITS[waits.kind[k]];
    if (waits.node[k] >= 0) lines.push([`waits for ${what} ${this.name(waits.node[k])}`, "soft"]);
    for (const t of this.links(k).slice(0, 6)) {
      const { start, end } = this.plan.transfers;
      const way = this.plan.transfers.maker[t] === k ? "sends" : "receives";
      lines.push([`${way} ${this.name(tasks.start.length + t)}: ${seconds(start[t])} to ${seconds(end[t])}`, "soft"]);
    }
    return lines;
  }

  ofIdle(k) {
    const { device, cause, start, end } = this.plan.idle;
    return [
      [`idle: ${document_.causes[cause[k]]}`],
      [`${this.plan.devices[device[k]]}, compute stream`],
      [`${seconds(start[k])} to ${seconds(end[k])}: ${seconds(end[k] - start[k])}`],
    ];
  }
}

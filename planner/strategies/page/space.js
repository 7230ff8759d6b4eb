// The strategies as the charts see them: columns, what is shown, which one is marked.

const { strategy: columns } = document_;
const STYLES = { solved: "solved", pruned: "pruned", "too slow": "slow", "out of memory": "oom", open: "open",
  invalid: "invalid" };
const MEANT = { solved: "solved", pruned: "pruned by bound", "too slow": "too slow", "out of memory": "out of memory",
  open: "not decided", invalid: "invalid" };

class Space {
  constructor(data) {
    this.data = data;
    this.count = data.state.length;
    this.time = data.seconds.map((value, k) => (value === null ? data.bound[k] : value)); // null: not known
    this.serves = Boolean(data.latency);
    this.measure = this.serves ? "GPU time a token" : "time";
    this.varied = data.axes.filter((axis) => axis.values.length > 1);
    this.hidden = new Set([data.states.indexOf("invalid")]);
    this.kept = new Map(); // by axis: the places of the values that are kept; of time: [from, to]
    this.marked = -1;
    this.winner = data.top.length ? data.top[0] : -1;
    this.listeners = [];
    // In order of time, those without one last; also where a strategy stands among all, from 0 to 1.
    this.order = Array.from({ length: this.count }, (_, k) => k)
      .sort((a, b) => (this.time[a] ?? Infinity) - (this.time[b] ?? Infinity) || a - b);
    this.rank = new Float64Array(this.count);
    this.order.forEach((k, place) => { this.rank[k] = this.count > 1 ? place / (this.count - 1) : 0.5; });
    this.select();
  }

  select() {
    this.shown = this.order.filter((k) => !this.hidden.has(this.data.state[k]) && this.keeps(k));
    if (this.marked >= 0 && !this.shown.includes(this.marked)) this.marked = -1;
  }

  keeps(k) {
    for (const [axis, kept] of this.kept) {
      if (axis === "time") {
        if (this.time[k] === null || this.time[k] < kept[0] || this.time[k] > kept[1]) return false;
      } else if (!kept.has(axis.column[k])) return false;
    }
    return true;
  }

  toggle(state) {
    if (!this.hidden.delete(state)) this.hidden.add(state);
    this.select();
    this.changed(true);
  }

  keep(axis, values) {
    if (values === null) this.kept.delete(axis);
    else this.kept.set(axis, values);
    this.select();
    this.changed(true);
  }

  clear() {
    this.kept.clear();
    this.select();
    this.changed(true);
  }

  mark(k) {
    if (k === this.marked) return;
    this.marked = k;
    this.changed(false);
  }

  // The next strategy in order of time; `by` 0: the fastest.
  step(by) {
    if (!this.shown.length) return;
    const at = this.shown.indexOf(this.marked);
    const next = by === 0 || at < 0 ? 0 : Math.min(Math.max(at + by, 0), this.shown.length - 1);
    this.mark(this.shown[next]);
  }

  // `all`: other strategies are shown, not only another one marked.
  changed(all) {
    for (const listener of this.listeners) listener(all);
  }

  // Lines of the tooltip.
  words(k) {
    const { data } = this;
    const state = data.states[data.state[k]];
    const lines = [[data.axes.filter((axis) => axis.values[axis.column[k]] !== "-")
      .map((axis) => `${axis.name} ${axis.values[axis.column[k]]}`).join(" · ")]];
    const place = data.top.indexOf(k);
    lines.push([MEANT[state] + (place >= 0 ? `, rank ${place + 1}` : ""), "soft"]);
    lines.push(...(this.serves ? this.served(k) : this.stepped(k)).map((each) => [each]));
    if (data.bytes[k] !== null) {
      const least = data.seconds[k] === null ? "at least " : "";
      const part = data.cap ? `, ${percent(data.bytes[k] / data.cap)} of the cap` : "";
      lines.push([`memory ${least}${bytes(data.bytes[k], 4)}${part}`]);
    }
    if (data.reasons[data.reason[k]]) lines.push([data.reasons[data.reason[k]], "soft"]);
    return lines;
  }

  stepped(k) {
    const [time, bound] = [this.data.seconds[k], this.data.bound[k]];
    const lines = time === null ? [] : [`step ${seconds(time)}${this.against(time)}`];
    return bound === null ? lines : [...lines, `lower bound ${seconds(bound)}`];
  }

  served(k) {
    const { best, bound, latency, prefill, seconds: times } = this.data;
    if (times[k] === null) return [];
    const less = times[k] > best * (1 + 1e-6) ? ` (-${percent(1 - best / times[k])})` : "";
    const lines = [`${digits(1 / times[k], 4)} tokens/s/GPU${less}`];
    lines.push(`first token in ${seconds(prefill[k])}, then one every ${seconds(latency[k])}`);
    return bound[k] > 0 ? [...lines, `with other cuts at most ${digits(1 / bound[k], 4)} tokens/s/GPU`] : lines;
  }

  against(time) {
    return this.data.best > 0 && time > this.data.best * (1 + 1e-6) ? ` (+${percent(time / this.data.best - 1)})` : "";
  }
}

const space = new Space(columns);

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// Ticks of a logarithmic axis from `low` to `high`, at most so many: 1, 2 and 5 times the powers of ten; where they are
// few, multiples of such a step.
function logTicks(low, high, most) {
  const powers = [];
  for (let k = Math.floor(Math.log10(low)); k <= Math.log10(high); k += 1) powers.push(k);
  const inside = (value) => value >= low && value <= high;
  const times = (factors) => powers.flatMap((k) => factors.map((each) => each * 10 ** k)).filter(inside);
  if (high / low < 8) {
    for (let step = 10 ** powers[0] / 10; ; step *= 10) {
      for (const each of [step, 2 * step, 5 * step]) {
        const first = Math.ceil(low / each);
        const count = Math.floor(high / each) - first + 1;
        if (count <= most) return Array.from({ length: Math.max(count, 0) }, (_, k) => (first + k) * each);
      }
    }
  }
  return [[1, 2, 5], [1, 3], [1]].map(times).find((found) => found.length <= most) || [];
}

// Ticks at powers of two, every so many.
function doublings(low, high, most) {
  const first = Math.ceil(Math.log2(low));
  const count = Math.floor(Math.log2(high)) - first + 1;
  const every = Math.max(1, Math.ceil(count / most));
  return Array.from({ length: Math.max(0, Math.ceil(count / every)) }, (_, k) => 2 ** (first + k * every));
}

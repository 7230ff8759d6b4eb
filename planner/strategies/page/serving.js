// Serving: tokens a second and GPU against seconds from token to token, with the frontier of both. What does not serve
// has no figures, and so no point.

class Serving extends Scatter {
  get title() {
    return "throughput against latency";
  }

  get under() {
    return "seconds from token to token";
  }

  drawable(k) {
    return space.data.latency[k] > 0;
  }

  abscissa(k) {
    return space.data.latency[k];
  }

  ordinate(k) {
    return 1 / space.data.seconds[k];
  }

  reached() {
    const { best, lowerBound, limit } = space.data;
    return { along: [limit], up: [1 / best, 1 / lowerBound].filter(Number.isFinite) };
  }

  ticks(most) {
    return logTicks(...this.upward, most);
  }

  words(value) {
    return digits(value, 4);
  }

  ground() {}

  // The best throughput, what no strategy exceeds, the limit of latency, and the frontier: the most within each latency.
  lines(ctx, bottom) {
    const { best, lowerBound, limit, frontier } = space.data;
    ctx.textAlign = "left";
    if (lowerBound > 0) this.level(ctx, 1 / lowerBound, "ink", [5, 4], "");
    if (best > 0) this.level(ctx, 1 / best, "winner", [], `best ${digits(1 / best, 4)} tokens/s/GPU`);
    if (limit > 0) this.instant(ctx, limit, "oom", `limit ${seconds(limit)}`, bottom, true);
    const known = frontier.filter((k) => space.shown.includes(k));
    if (!known.length) return;
    ctx.strokeStyle = colour("winner");
    ctx.lineWidth = 1.5;
    ctx.beginPath();
    known.forEach((k, place) => {
      const [x, y] = this.spot(k);
      if (place === 0) ctx.moveTo(x, bottom);
      else ctx.lineTo(x, this.y(this.ordinate(known[place - 1])));
      ctx.lineTo(x, y);
    });
    ctx.lineTo(this.right, this.y(this.ordinate(known[known.length - 1])));
    ctx.stroke();
    ctx.lineWidth = 1;
  }

  level(ctx, value, name, dashes, text) {
    const y = Math.round(this.y(value)) + 0.5;
    ctx.strokeStyle = ctx.fillStyle = colour(name);
    ctx.setLineDash(dashes);
    line(ctx, EDGE.left, y, this.wide - EDGE.right, y);
    ctx.setLineDash([]);
    ctx.fillText(text, EDGE.left + 6, y - 9);
  }
}

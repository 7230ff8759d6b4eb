// The sections about plans: charts on one axis, buttons, keys.

const view = new View(Math.max(...document_.plans.map((plan) => plan.makespan)) * 1.005);

element("legend").querySelectorAll(".scale").forEach((key) => {
  const stops = [0, 0.25, 0.5, 0.75, 1].map((part) => `rgb(${scaled(part).join(" ")})`);
  key.style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
});

const charts = [];
document_.plans.forEach((plan, k) => {
  charts.push(new Gantt(element(`gantt-${k}`), view, plan));
  if (plan.memory) charts.push(new MemoryChart(element(`memory-${k}`), view, plan));
});

function redraw() {
  const phases = view.opening && document_.plans.some((plan) => plan.phases && plan.phases.warmUp !== null);
  document.body.className = `by-${mode.colour}${mode.idle ? " show-idle" : ""}${phases ? " phases" : ""}`;
  document.querySelectorAll("[data-colour]").forEach((button) => {
    button.setAttribute("aria-pressed", String(button.dataset.colour === mode.colour));
  });
  document.querySelectorAll("[data-show]").forEach((button) => {
    button.setAttribute("aria-pressed", String(mode[button.dataset.show]));
  });
  for (const chart of charts) chart.refresh();
}

function colourBy(name) {
  mode.colour = name;
  redraw();
}

function toggle(name) {
  mode[name] = !mode[name];
  redraw();
}

document.querySelectorAll("[data-colour]").forEach((button) => {
  button.addEventListener("click", () => colourBy(button.dataset.colour));
});
document.querySelectorAll("[data-show]").forEach((button) => {
  button.addEventListener("click", () => toggle(button.dataset.show));
});
const zooms = { in: () => view.zoom(1.6), out: () => view.zoom(1 / 1.6), reset: () => view.reset(), start: () => view.start() };
document.querySelectorAll("[data-zoom]").forEach((button) => {
  button.addEventListener("click", zooms[button.dataset.zoom]);
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const keys = {
    s: () => view.start(),
    p: () => colourBy("pass"),
    m: () => colourBy("microbatch"),
    i: () => toggle("idle"),
    c: () => toggle("path"),
    t: () => toggle("transfers"),
    Escape: () => {
      mode.marked = -1;
      hideTooltip();
      redraw();
    },
  };
  if (keys[event.key]) keys[event.key]();
});

view.listeners.push(() => {
  const whole = view.from === 0 && view.to === view.until;
  const text = whole ? "" : `${seconds(view.from)} to ${seconds(view.to)} of ${seconds(document_.plans[0].makespan)}`;
  element("range").textContent = text + (view.opened ? `: ${opened(view.opening)}` : "");
});

function opened({ warmUp, microbatches }) {
  return warmUp === null
    ? "the first microbatches" : `warm-up and one steady window of ${microbatches} microbatches`;
}

view.open(document_.plans[0].phases, charts[0].plot);
document.querySelector("[data-zoom=start]").hidden = !view.opening;
drawn.push(() => charts.forEach((chart) => chart.render()));
redraw();
charts[0].render();
document.documentElement.dataset.ready = String(Math.round(performance.now()));

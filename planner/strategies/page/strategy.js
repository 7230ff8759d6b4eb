// The page: what is shown, the two charts, and the rows of the table that are points in them.

const plots = [new (space.serves ? Serving : Scatter)(element("scatter")), new Parallel(element("parallel"))];
drawn.push(() => plots.forEach((plot) => {
  plot.stale = true;
  plot.render(); // at once: a printer does not wait for the next frame
}));

space.data.states.forEach((name, state) => {
  const count = space.data.state.filter((each) => each === state).length;
  if (!count) return;
  const button = document.createElement("button");
  const sign = document.createElement("i");
  sign.className = STYLES[name];
  button.type = "button";
  button.dataset.state = name;
  button.append(sign, `${MEANT[name]} ${count.toLocaleString("en")}`);
  button.addEventListener("click", () => space.toggle(state));
  element("states").append(" ", button);
});

function tell(all) {
  document.querySelectorAll("tr[data-point]").forEach((row) => {
    row.classList.toggle("marked", Number(row.dataset.point) === space.marked && space.marked >= 0);
  });
  if (!all) return;
  document.querySelectorAll("[data-state]").forEach((button) => {
    const hidden = space.hidden.has(space.data.states.indexOf(button.dataset.state));
    button.setAttribute("aria-pressed", String(!hidden));
  });
  const kept = [...space.kept.keys()].map((axis) => (axis === "time" ? space.measure : axis.name));
  element("clear").hidden = kept.length === 0;
  element("shown").textContent = `${space.shown.length.toLocaleString("en")} of ${space.count.toLocaleString("en")}`
    + ` strategies shown${kept.length ? `, by ${kept.join(", ")}` : ""}`;
}

space.listeners.push(tell);
element("clear").addEventListener("click", () => space.clear());
document.querySelectorAll("tr[data-point]").forEach((row) => {
  row.addEventListener("pointerenter", () => space.mark(Number(row.dataset.point)));
  row.addEventListener("pointerleave", () => space.mark(-1));
});
const same = space.data.axes.filter((axis) => axis.values.length === 1);
if (same.length) {
  element("constant").textContent = `The same in all: ${same.map((axis) => `${axis.name} ${axis.values[0]}`).join(", ")}.`;
}

tell(true);
for (const plot of plots) plot.render();
document.documentElement.dataset.ready = String(Math.round(performance.now()));

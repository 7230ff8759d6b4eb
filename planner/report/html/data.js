// The data of the page: deflated, with instants as differences of whole ticks (packed.py writes them).

async function embedded() {
  if (typeof DecompressionStream === "undefined") {
    document.getElementById("legend").textContent =
      "The charts need a newer browser (2023 or later); the tables below are complete.";
  }
  const bytes = Uint8Array.from(atob(document.getElementById("data").textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const read = JSON.parse(await new Response(stream).text());
  read.plans.forEach(unpack);
  return read;
}

function unpack(plan) {
  for (const each of [plan.tasks, plan.transfers, plan.idle]) instants(each, plan.scale);
  const { transfers, waits, idle, memory } = plan;
  transfers.readerPtr = [0, ...sums(transfers.readers)];
  waits.node = waits.back.map((back, k) => (back === 0 ? -1 : k - back));
  idle.device = sums(idle.device);
  plan.path = sums(plan.path);
  plan.variant = new Map((plan.variants || []).map(([copy, operator, name]) => [`${copy} ${operator}`, name]));
  for (const device of memory || []) {
    device.time = sums(device.time).map((tick) => tick / plan.scale);
    device.change = device.size.map((k) => device.sizes[k]);
  }
}

// Start and end of intervals, each of which begins `gap` ticks after the end of the one before.
function instants(intervals, scale) {
  let tick = 0;
  intervals.start = [];
  intervals.end = [];
  intervals.gap.forEach((gap, k) => {
    tick += gap;
    intervals.start.push(tick / scale);
    tick += intervals.length[k];
    intervals.end.push(tick / scale);
  });
}

function sums(differences) {
  let sum = 0;
  return differences.map((difference) => (sum += difference));
}

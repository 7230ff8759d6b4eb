"use strict";
(() => {
  const tip = document.getElementById("tooltip");
  const of = (name) => [...document.querySelectorAll("[data-row]")].filter((each) => each.dataset.row === name);
  const light = (name, on) => of(name).forEach((each) => each.classList.toggle("lit", on));
  const show = (event) => {
    const mark = event.currentTarget;
    if (mark.dataset.hint) {
      tip.textContent = mark.dataset.hint;
      tip.hidden = false;
      const box = mark.getBoundingClientRect();
      const left = Math.min(box.right + 10, window.innerWidth - tip.offsetWidth - 10);
      tip.style.left = `${Math.max(4, left)}px`;
      tip.style.top = `${box.bottom + 8}px`;
    }
    if (mark.dataset.row) light(mark.dataset.row, true);
  };
  const hide = (event) => {
    tip.hidden = true;
    if (event.currentTarget.dataset.row) light(event.currentTarget.dataset.row, false);
  };
  for (const mark of document.querySelectorAll("[data-hint], [data-row]")) {
    mark.addEventListener("pointerenter", show);
    mark.addEventListener("pointerleave", hide);
    const link = mark.closest("a");
    if (link) {
      link.addEventListener("focus", () => show({currentTarget: mark}));
      link.addEventListener("blur", () => hide({currentTarget: mark}));
    }
  }
})();

// The data of the page, and its colours: light and dark, on the screen and in print.

const document_ = await embedded();
const drawn = []; // of everything that is drawn: how to draw it again

applyTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
element("theme").addEventListener("click", () => {
  applyTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  for (const draw of drawn) draw();
});

// In print the page is light and shows the whole step.
let themeOnScreen = null;
addEventListener("beforeprint", () => {
  themeOnScreen = document.documentElement.dataset.theme;
  applyTheme("light");
  for (const draw of drawn) draw();
});
addEventListener("afterprint", () => {
  applyTheme(themeOnScreen);
  for (const draw of drawn) draw();
});

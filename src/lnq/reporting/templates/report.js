"use strict";

// Stacks of pictures: one is shown, chosen by slider, keys, wheel or a link to it.
const STEPS = {ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5,
               Home: -Infinity, End: Infinity};
const WHEEL_STEP = 40;  // pixels of scrolling a picture on a touch pad; a notch of a wheel is one, too

class Viewer {
  constructor(root) {
    this.frames = [...root.querySelectorAll(".frame")];
    this.stage = root.querySelector(".frames");
    this.slider = root.querySelector("input[type=range]");
    this.words = root.querySelector("output");
    this.scrolled = 0;
    root.querySelector(".controls").hidden = false;
    this.stage.tabIndex = 0;
    this.slider.addEventListener("input", () => this.show(Number(this.slider.value)));
    this.stage.addEventListener("keydown", event => this.key(event));
    this.stage.addEventListener("wheel", event => this.wheel(event), {passive: false});
    this.show(Number(root.dataset.start));
  }

  show(number) {
    this.shown = Math.min(Math.max(number, 0), this.frames.length - 1);
    this.frames.forEach((frame, i) => frame.classList.toggle("shown", i === this.shown));
    const words = this.frames[this.shown].querySelector("figcaption").textContent;
    this.slider.value = this.shown;
    this.slider.setAttribute("aria-valuetext", words);
    this.words.textContent = words;
  }

  key(event) {
    if (!(event.key in STEPS) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.show(this.shown + STEPS[event.key]);
  }

  // The wheel turns pages of a stack that was clicked; elsewhere, and at its ends, it scrolls the page.
  wheel(event) {
    if (document.activeElement !== this.stage || event.ctrlKey) return;
    const last = this.frames.length - 1;
    if (event.deltaY > 0 ? this.shown === 0 : this.shown === last) return;
    event.preventDefault();
    this.scrolled += event.deltaMode ? WHEEL_STEP * Math.sign(event.deltaY) : event.deltaY;
    if (Math.abs(this.scrolled) < WHEEL_STEP) return;
    this.show(this.shown - Math.sign(this.scrolled));
    this.scrolled = 0;
  }
}

document.documentElement.classList.add("js");
const viewers = new Map([...document.querySelectorAll(".viewer")].map(root => [root, new Viewer(root)]));

const follow = id => {
  const frame = document.getElementById(id);
  const root = frame?.closest(".viewer");
  if (!root || !frame.classList.contains("frame")) return false;
  const viewer = viewers.get(root);
  viewer.show(viewer.frames.indexOf(frame));
  return true;
};
for (const link of document.querySelectorAll("a.jump")) link.addEventListener("click", event => {
  if (follow(link.hash.slice(1))) event.preventDefault();
});
if (follow(location.hash.slice(1))) document.getElementById(location.hash.slice(1)).scrollIntoView();

// Tables: a click on a heading sorts, another one turns the order round.
for (const button of document.querySelectorAll(".sortable th button")) button.addEventListener("click", () => {
  const head = button.closest("th"), column = head.cellIndex, body = head.closest("table").tBodies[0];
  const up = head.getAttribute("aria-sort") !== "ascending";
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const value = row => column === 0 ? row.cells[0].textContent.trim() : parseFloat(row.cells[column].dataset.value);
  const compare = column === 0 ? (a, b) => a.localeCompare(b, undefined, {numeric: true}) : (a, b) => a - b;
  // Rows without a value stay at the end in either direction.
  const order = (a, b) => Number.isNaN(value(a)) - Number.isNaN(value(b)) || (up ? 1 : -1) * compare(value(a), value(b));
  body.append(...[...body.rows].sort(order));
});

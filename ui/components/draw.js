// A board to draw on with mouse, pen or finger: light on dark, as the digits are that the models have seen.
import { make } from "./dom.js";

const SIDE = 280; // pixels
const PEN = 20;

export class Board {
  // done(url): the drawing as a PNG data URL.
  constructor(words, done) {
    this.done = done;
    this.canvas = make("canvas", { width: SIDE, height: SIDE, "aria-label": words.draw_here, role: "img" });
    this.brush = this.canvas.getContext("2d");
    this.finish = make("button", { class: "lp-btn main", type: "button", onclick: () => this.#finish() }, words.draw_done);
    this.element = make("dialog", { class: "lp-card lp-draw", "aria-label": words.draw },
      make("h2", {}, words.draw_title),
      this.canvas,
      make("div", { class: "btns" },
        this.finish,
        make("button", { class: "lp-btn", type: "button", onclick: () => this.clear() }, words.draw_clear),
        make("button", { class: "lp-btn", type: "button", onclick: () => this.element.close() }, words.draw_cancel)));
    this.canvas.addEventListener("pointerdown", event => {
      this.canvas.setPointerCapture(event.pointerId);
      this.last = this.#place(event);
      this.#stroke(event);
    });
    this.canvas.addEventListener("pointermove", event => this.last && this.#stroke(event));
    for (const end of ["pointerup", "pointercancel"]) this.canvas.addEventListener(end, () => (this.last = null));
  }

  open() {
    this.clear();
    this.element.showModal();
  }

  clear() {
    this.brush.fillStyle = "#000";
    this.brush.fillRect(0, 0, SIDE, SIDE);
    this.finish.disabled = true;
  }

  #place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
  }

  #stroke(event) {
    Object.assign(this.brush, { strokeStyle: "#fff", lineWidth: PEN, lineCap: "round", lineJoin: "round" });
    this.brush.beginPath();
    this.brush.moveTo(...this.last);
    for (const step of event.getCoalescedEvents?.() ?? []) this.brush.lineTo(...this.#place(step));
    this.last = this.#place(event);
    this.brush.lineTo(...this.last);
    this.brush.stroke();
    this.finish.disabled = false;
  }

  #finish() {
    this.element.close();
    this.done(this.canvas.toDataURL("image/png"));
  }
}

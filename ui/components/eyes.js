// A photograph with two crosses to drag onto the eyes, for when they were not found, or not well.
import { fill, make } from "./dom.js";

const STEP = 0.005; // of the picture's sides, for an arrow key

export class Eyes {
  // done({photo, eyes, turn}): as it was loaded, with the eyes where the visitor put them.
  constructor(words, done) {
    this.photo = "";
    this.image = make("img", { alt: words.eyes_photo, draggable: "false" });
    this.crosses = [0, 1].map(which => this.#cross(which, fill(words.eye, { number: which + 1 })));
    this.element = make("dialog", { class: "lp-card lp-draw lp-eyes", "aria-label": words.eyes },
      make("h2", {}, words.eyes_title),
      make("div", { class: "photo" }, this.image, ...this.crosses),
      make("div", { class: "btns" },
        make("button", { class: "lp-btn main", type: "button", onclick: () => this.#finish(done) }, words.eyes_done),
        make("button", { class: "lp-btn", type: "button", onclick: () => this.element.close() }, words.eyes_cancel)));
  }

  load({ photo = "", eyes = [[0.4, 0.45], [0.6, 0.45]], turn = 0 }) {
    Object.assign(this, { photo, turn, eyes: eyes.map(eye => [...eye]) });
    this.#place();
  }

  open() {
    this.image.src = this.photo;
    this.element.showModal();
  }

  #cross(which, label) {
    const cross = make("button", { class: "cross", type: "button", "aria-label": label });
    cross.addEventListener("pointerdown", event => cross.setPointerCapture(event.pointerId));
    cross.addEventListener("pointermove", event => {
      if (!cross.hasPointerCapture(event.pointerId)) return;
      const box = this.image.getBoundingClientRect();
      this.#move(which, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    });
    cross.addEventListener("keydown", event => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!way) return;
      event.preventDefault();
      this.#move(which, this.eyes[which][0] + STEP * way[0], this.eyes[which][1] + STEP * way[1]);
    });
    return cross;
  }

  #move(which, x, y) {
    this.eyes[which] = [x, y].map(share => Math.min(1, Math.max(0, share)));
    this.#place();
  }

  #place() {
    this.crosses.forEach((cross, which) => {
      [cross.style.left, cross.style.top] = this.eyes[which].map(share => `${100 * share}%`);
    });
  }

  #finish(done) {
    this.element.close();
    done({ photo: this.photo, eyes: this.eyes, turn: this.turn });
  }
}

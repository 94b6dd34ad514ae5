// The honesty lamp: how much what is shown is like what the model has seen, from "making it up" to "like what it has seen".
import { calmly, make } from "./dom.js";
import { FINE } from "./typicality.js";

const RARE = 0.01; // a share of held-out latents

export class Lamp {
  constructor(words) {
    this.words = words;
    this.soon = calmly(() => this.#paint());
    this.mark = make("i");
    this.bar = make("div", {
      class: "bar", role: "meter", "aria-label": words.lamp, "aria-valuemin": 0, "aria-valuemax": 100,
    }, this.mark);
    this.says = make("b");
    this.element = make("div", { class: "lamp", hidden: true, title: words.lamp_note },
      this.bar, make("div", { class: "ends" }, make("span", {}, words.lamp_0), this.says, make("span", {}, words.lamp_2)));
  }

  // atlas: or null where it is not known what the model has seen.
  open(atlas) {
    this.atlas = atlas;
    this.element.hidden = !atlas;
  }

  show(z) {
    this.z = z;
    this.soon();
  }

  #paint() {
    if (!this.atlas) return;
    const { typicality: share, isMiddle } = this.atlas.verdict(this.z);
    const level = share < RARE ? 0 : share < FINE ? 1 : isMiddle ? 3 : 2;
    this.mark.style.left = `${100 * share}%`;
    this.element.dataset.level = level;
    const text = this.words[`lamp_${level}`];
    this.says.textContent = level % 2 ? text : "";
    this.bar.setAttribute("aria-valuenow", Math.round(100 * share));
    this.bar.setAttribute("aria-valuetext", text);
  }
}

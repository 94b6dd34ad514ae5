// The honesty lamp: how much what is shown is like what the model has seen, from "making it up" to "like what it has seen".
import { calmly, make } from "./dom.js";

const RARE = 0.01, COMMON = 0.1; // shares of held-out latents
const LEFT = 0.15; // of the bar, for what is less likely than all of them

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
    const share = this.atlas.typicality(this.z);
    const place = share > 0 ? LEFT + (1 - LEFT) * share : LEFT * Math.exp(share);
    // Denser than every picture that was held out is only the middle of them all, a blur.
    const level = share < RARE ? 0 : share < COMMON ? 1 : share < 1 ? 2 : 3;
    this.mark.style.left = `${100 * place}%`;
    this.element.dataset.level = level;
    const text = this.words[`lamp_${level}`];
    this.says.textContent = level % 2 ? text : "";
    this.bar.setAttribute("aria-valuenow", Math.round(100 * Math.max(0, share)));
    this.bar.setAttribute("aria-valuetext", text);
  }
}

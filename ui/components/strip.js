// "What X does": this very picture with one knob turned from end to end. Drawn when the hand rests.
import { calmly, fill, make } from "./dom.js";
import { read } from "./latent.js";

const TILES = 7;
const REST = 250; // ms without a change that count as rest

export class Strip {
  // pictures(zs): promise of URLs, of none where they cannot be had.
  constructor(box, latent, words, pictures) {
    Object.assign(this, { latent, words, pictures });
    this.title = make("h2");
    this.mark = calmly(() => this.#mark());
    this.tiles = Array.from({ length: TILES }, (_, place) =>
      make("button", { type: "button", onclick: () => this.#go(place) }, make("img", { alt: "", width: 64, height: 64 })));
    box.replaceChildren(this.title, make("div", { class: "strip" }, ...this.tiles));
    latent.addEventListener("change", () => this.#soon());
  }

  open(knob) {
    this.knob = knob;
    const [before, after = ""] = this.words.strip.split("{name}");
    this.title.replaceChildren(before, make("b", {}, knob.label), after);
    this.tiles.forEach((tile, place) =>
      tile.setAttribute("aria-label", fill(this.words.tile, { name: knob.label, value: this.#value(place).toFixed(1) })));
    this.#soon();
  }

  #value(place) {
    return this.knob.low + ((this.knob.high - this.knob.low) * place) / (TILES - 1);
  }

  #go(place) {
    this.latent.turn(this.knob, this.#value(place));
    this.latent.settle();
  }

  #soon() {
    clearTimeout(this.timer);
    this.mark();
    this.timer = setTimeout(() => this.#draw(), REST);
  }

  #mark() {
    if (!this.knob) return;
    const reading = read(this.latent.z, this.knob);
    const far = this.tiles.map((_, place) => Math.abs(this.#value(place) - reading));
    const nearest = far.indexOf(Math.min(...far));
    this.tiles.forEach((tile, place) => tile.classList.toggle("here", place === nearest));
  }

  async #draw() {
    const { knob } = this, { z } = this.latent;
    if (!knob) return;
    const urls = await this.pictures(this.tiles.map((_, place) => this.latent.at(knob, this.#value(place))));
    if (knob !== this.knob || z !== this.latent.z) return; // the hand has moved on, and another strip will come
    urls.forEach((url, place) => (this.tiles[place].firstChild.src = url));
  }
}

// A film of pictures that are all here: one large, a scrubber, a strip of some of them, Play there and back.
import { fill, make } from "./dom.js";

export const FRAME_MS = 80;

export class Film {
  constructor(words) {
    this.words = words;
    this.large = make("img", { class: "large", alt: words.between });
    this.output = make("output");
    this.range = make("input", {
      class: "lp-range", type: "range", min: 0, step: 1, "aria-label": words.scrub,
      oninput: () => {
        this.#stop();
        this.#show(Number(this.range.value));
      },
    });
    this.strip = make("div", { class: "strip" });
    this.play = make("button", { class: "lp-btn play", type: "button", onclick: () => this.#play() });
    this.element = make("div", { class: "lp-film", id: "morph-film" },
      this.large, make("label", {}, this.output, this.range), this.strip, this.play);
    this.frames = [];
    this.step = 1;
    this.#stop();
  }

  // frames: URLs.
  show(frames) {
    const share = this.frames.length > 1 ? this.range.value / (this.frames.length - 1) : 0.5;
    this.frames = frames;
    if (!frames.length) {
      this.#stop();
      this.large.removeAttribute("src");
      return this.strip.replaceChildren();
    }
    this.range.max = frames.length - 1;
    const stills = Math.min(innerWidth < 700 ? 7 : 13, frames.length);
    this.strip.replaceChildren(...Array.from({ length: stills }, (_, place) => {
      const index = Math.round((place * (frames.length - 1)) / (stills - 1));
      return make("img", {
        src: frames[index], alt: "",
        onclick: () => {
          this.#stop();
          this.#show(index);
        },
      });
    }));
    this.#show(Math.round(share * (frames.length - 1)));
  }

  #show(index) {
    const { frames, range, strip } = this, share = frames.length > 1 ? index / (frames.length - 1) : 0;
    if (!frames.length) return; // the next ones are on their way
    const words = fill(this.words.share, { share: Math.round(100 * share) });
    range.value = index;
    this.large.src = frames[index];
    this.output.textContent = words;
    range.setAttribute("aria-valuetext", words);
    range.style.setProperty("--range_progress", `${100 * share}%`);
    const near = Math.round(share * (strip.children.length - 1));
    [...strip.children].forEach((still, place) => still.classList.toggle("now", place === near));
    this.element.dataset.frame = index;
  }

  #stop() {
    clearInterval(this.timer);
    this.timer = 0;
    this.play.textContent = this.words.play;
  }

  #play() {
    if (this.timer) return this.#stop();
    this.play.textContent = this.words.pause;
    this.timer = setInterval(() => {
      if (!this.element.offsetParent) return this.#stop(); // another tab is in front
      const at = Number(this.range.value);
      if (at + this.step < 0 || at + this.step >= this.frames.length) this.step = -this.step;
      this.#show(at + this.step);
    }, FRAME_MS);
  }
}

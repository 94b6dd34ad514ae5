// One end of a morph: its picture, what the model makes of it, and the ways to another picture: an example, a file (chosen or
// dropped), a drawing by hand; a portrait's eyes can be set.
import { fill, make } from "./dom.js";
import { Board } from "./draw.js";
import { Eyes } from "./eyes.js";

export class Side {
  // name: "a" or "b"; put(from): what explore.js calls the source of a picture was chosen.
  constructor(name, words, boardWords, put) {
    const say = key => fill(words[key], { side: name.toUpperCase() });
    const button = (way, text, act) => make("button", { class: "lp-btn", type: "button", "data-way": way, onclick: act }, text);
    this.label = words.example;
    this.put = put;
    this.given = make("img", { class: "given", alt: "" });
    this.seen = make("img", { class: "seen", alt: "" });
    this.note = make("p", { role: "status" });
    this.starts = make("div", { class: "starts" });
    this.board = new Board(boardWords, drawing => put({ drawing }));
    this.eyes = new Eyes(boardWords, put);
    this.drawButton = button("draw", say("draw"), () => this.board.open());
    this.eyesButton = button("eyes", boardWords.eyes, () => this.eyes.open());
    this.file = make("input", {
      type: "file", accept: "image/*", hidden: true, "aria-label": say("upload"),
      onchange: () => {
        this.#bring(this.file.files);
        this.file.value = "";
      },
    });
    this.element = make("div", { class: "lp-side", id: `morph-${name}` },
      make("figure", {}, this.given, make("figcaption", {}, say("given"))),
      make("figure", {}, this.seen, make("figcaption", {}, say("seen"))),
      this.note, this.starts,
      make("div", { class: "ways" }, button("upload", say("upload"), () => this.file.click()), this.drawButton, this.eyesButton, this.file),
      this.board.element, this.eyes.element);
    this.element.addEventListener("dragover", event => event.preventDefault());
    this.element.addEventListener("drop", event => {
      event.preventDefault();
      this.#bring(event.dataTransfer.files);
    });
  }

  // Another model: URLs of its examples, and whether a pen of one colour is enough for its pictures.
  open(examples, draws) {
    this.show({});
    this.drawButton.hidden = !draws;
    this.starts.replaceChildren(...examples.map((url, example) =>
      make("button", { type: "button", onclick: () => this.put({ example }) }, make("img", { src: url, alt: `${this.label} ${example + 1}` }))));
  }

  // portrait: of one that was brought also {photo, eyes, turn}, as eyes.js takes them.
  show({ given, seen, note = "", ...portrait }) {
    for (const [image, url] of [[this.given, given], [this.seen, seen]]) {
      if (url) image.src = url;
      else image.removeAttribute("src");
    }
    this.note.textContent = note;
    this.eyesButton.hidden = !portrait.photo;
    this.eyes.load(portrait);
  }

  #bring([file]) {
    if (file) this.put({ file });
  }
}

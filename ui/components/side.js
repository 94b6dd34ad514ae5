// One end of a morph: its picture, what the model makes of it, and three ways to another picture: an example, a file
// (chosen or dropped), a drawing by hand. Value: {given, seen, note, examples: [url], draws}.
import { Board } from "./draw.js";

export default function ({ element, props, trigger, watch }) {
  const [given, seen, note, starts, browse, pen] = [
    "img.given", "img.seen", "p", ".starts", "[data-way=upload]", "[data-way=draw]",
  ].map(at => element.querySelector(at));

  function fill() {
    const { given: picture = "", seen: again = "", note: words = "", examples = [], draws } = props.value ?? {};
    for (const [image, url] of [[given, picture], [seen, again]]) {
      if (url) image.src = url;
      else image.removeAttribute("src");
    }
    note.textContent = words;
    pen.hidden = !draws;
    if (starts.dataset.first === examples[0]) return; // the same model's: leave them, and the focus, where they are
    starts.dataset.first = examples[0];
    starts.replaceChildren(...examples.map((url, index) => {
      const button = document.createElement("button");
      button.append(Object.assign(new Image(), { src: url, alt: `${starts.dataset.label} ${index + 1}` }));
      button.addEventListener("click", () => trigger("example", { index }));
      return button;
    }));
  }

  // Files go through an input that the page gives: Gradio's own checks where they came from.
  const input = () => document.querySelector(props.input);
  browse.addEventListener("click", () => input().click());
  element.addEventListener("dragover", event => event.preventDefault());
  element.addEventListener("drop", event => {
    event.preventDefault();
    if (!event.dataTransfer.files.length) return;
    input().files = event.dataTransfer.files;
    input().dispatchEvent(new Event("change", { bubbles: true }));
  });

  const board = new Board(props.words, png => trigger("drawing", { png }));
  element.append(board.element);
  pen.addEventListener("click", () => board.open());

  fill();
  watch("value", fill);
}

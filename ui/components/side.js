// One end of a morph: its picture, what the model makes of it, and three ways to another picture: an example, a file
// (chosen or dropped), a drawing by hand; a portrait's eyes can be set. Value: {given, seen, note, examples: [url], draws}, of a
// portrait that was brought also {photo, eyes, turn}, as eyes.js takes them.
import { Board } from "./draw.js";
import { Eyes } from "./eyes.js";

export default function ({ element, props, trigger, watch }) {
  const [given, seen, note, starts, browse, pen, setter] = [
    "img.given", "img.seen", "p", ".starts", "[data-way=upload]", "[data-way=draw]", "[data-way=eyes]",
  ].map(at => element.querySelector(at));

  const board = new Board(props.words, png => trigger("drawing", { png }));
  const crosses = new Eyes(props.words, portrait => trigger("eyes", portrait));
  element.append(board.element, crosses.element);
  pen.addEventListener("click", () => board.open());
  setter.addEventListener("click", () => crosses.open());

  function fill() {
    const { given: picture = "", seen: again = "", note: words = "", examples = [], draws } = props.value ?? {};
    for (const [image, url] of [[given, picture], [seen, again]]) {
      if (url) image.src = url;
      else image.removeAttribute("src");
    }
    note.textContent = words;
    pen.hidden = !draws;
    setter.hidden = !props.value?.photo;
    crosses.load(props.value ?? {});
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

  fill();
  watch("value", fill);
}

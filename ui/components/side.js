// One end of a morph: its picture, what the model makes of it, and three ways to another picture: an example, a file
// (chosen or dropped), a drawing by hand. Value: {given, seen, note, examples: [url], draws}.
const [given, seen, note, starts, browse, pen] = [
  "img.given", "img.seen", "p", ".starts", "[data-way=upload]", "[data-way=draw]",
].map(at => element.querySelector(at));

function fill() {
  const { given: picture, seen: again, note: words, examples = [], draws } = props.value ?? {};
  given.src = picture;
  seen.src = again;
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

// Files go through Gradio's own upload button, which checks where they came from.
const input = () => document.querySelector(props.input);
browse.addEventListener("click", () => input().click());
element.addEventListener("dragover", event => event.preventDefault());
element.addEventListener("drop", event => {
  event.preventDefault();
  if (!event.dataTransfer.files.length) return;
  input().files = event.dataTransfer.files;
  input().dispatchEvent(new Event("change", { bubbles: true }));
});

let board = null;
pen.addEventListener("click", async () => {
  if (!board) {
    const root = new URL(window.gradio_config?.root || "/", location.href).pathname.replace(/\/$/, "");
    const { Board } = await import(`${location.origin}${root}/gradio_api/file=${props.folder}/draw.js`);
    board = new Board(props.words, png => trigger("drawing", { png }));
    element.append(board.element);
  }
  board.open();
});

fill();
watch("value", fill);

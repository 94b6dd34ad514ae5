// One end of a morph: its picture, what the model makes of it, and three ways to another picture: an example, a file
// (chosen or dropped), a drawing by hand. Value: {given, seen, note, examples: [url], draws}.
const [given, seen, sheet, note, starts, browse, pen] = [
  "img.given", "img.seen", "canvas", "p", ".starts", "[data-way=upload]", "[data-way=draw]",
].map(at => element.querySelector(at));
const [drawWords, wipeWords] = pen.dataset.words.split("|");
const ink = sheet.getContext("2d");
let last = null, waiting = 0, mine = false; // mine: the picture that arrives next is the sheet's own

function fill() {
  const { given: picture, seen: again, note: words, examples = [], draws } = props.value ?? {};
  given.src = picture;
  seen.src = again;
  note.textContent = words;
  pen.hidden = !draws;
  if (!mine) put(false);
  mine = false;
  if (starts.dataset.first === examples[0]) return;
  starts.dataset.first = examples[0];
  starts.replaceChildren(...examples.map((url, place) => {
    const button = document.createElement("button");
    button.append(Object.assign(new Image(), { src: url, alt: `${starts.dataset.label} ${place + 1}` }));
    button.addEventListener("click", () => trigger("example", { index: place }));
    return button;
  }));
}

function put(isSheet) {
  sheet.hidden = !isSheet;
  given.hidden = isSheet;
  pen.textContent = isSheet ? wipeWords : drawWords;
  clearTimeout(waiting);
  ink.fillStyle = "#000";
  if (isSheet) ink.fillRect(0, 0, sheet.width, sheet.height);
}

function draw(event) {
  const box = sheet.getBoundingClientRect(), scale = sheet.width / box.width;
  const at = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  Object.assign(ink, { lineWidth: 22, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
  ink.beginPath();
  ink.moveTo(...(last ?? at));
  ink.lineTo(...at);
  ink.stroke();
  last = at;
}

pen.addEventListener("click", () => put(true));
sheet.addEventListener("pointerdown", event => {
  sheet.setPointerCapture(event.pointerId);
  clearTimeout(waiting);
  draw(event);
});
sheet.addEventListener("pointermove", event => last && draw(event));
for (const end of ["pointerup", "pointercancel"])
  sheet.addEventListener(end, () => {
    if (!last) return;
    last = null;
    waiting = setTimeout(() => { // a five has two strokes
      mine = true;
      trigger("drawing", { png: sheet.toDataURL("image/png") });
    }, 400);
  });

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

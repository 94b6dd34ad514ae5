// What a model reads in a visitor's picture, in the visitor's own browser: framed as its training pictures were, then encoded.
// The same answers as the server's function encode.
import { urlOf } from "./dom.js";
import { FRAMINGS, opened } from "./framing.js";
import { frame, frameByEyes } from "./portrait.js";
import { FINE, squaredError } from "./typicality.js";

const LARGEST = 30e6; // bytes of a file
const PHOTO_SIDE = 640; // pixels of the photograph that a visitor sets the eyes on

// from: {file} | {drawing: URL} | {photo: URL, eyes, turn} | {picture: {size, channels, data}, framed already};
// form: {framing, size, channels, familiar_error}, the model's; atlas: a promise of it, or of nothing; where: as Model.open takes
// it, perhaps left meanwhile. Fails with an Error whose message a visitor may read and isFinal, or with another one where this
// browser cannot do it.
export async function encoded(from, { model, where, form, atlas, words }) {
  try {
    const { picture, notes, ...portrait } = await framed(from, where.finder && (view => model.look(view, where)), form);
    const { z, std } = await model.encode(picture, where);
    if (from.file ?? from.photo) {
      const again = pixelsOf(await model.decode(z, where), picture);
      const verdict = (await atlas)?.verdictOfUpload(picture, again, z);
      if (verdict ? verdict.typicality < FINE : squaredError(picture, again) > form.familiar_error) notes.push("unfamiliar");
    }
    const seen = urlOf(await bitmapOf(picture));
    return { z, std, seen, note: notes.map(note => words[note]).join(" "), ...portrait };
  } catch (error) {
    const key = { nothing: "no_shape", unreadable: "unreadable", misshapen: "misshapen", eyes: "bad_eyes", large: "too_large" }[error.message];
    throw key ? Object.assign(new Error(words[key]), { isFinal: true, reason: error.message }) : error;
  }
}

async function framed(from, look, { framing, size, channels }) {
  const as = data => ({ size, channels, data });
  if (from.picture) return { picture: from.picture, notes: [] };
  if (from.file?.size > LARGEST) throw new Error("large");
  const image = await opened(from.file ?? (await (await fetch(from.photo ?? from.drawing)).blob()));
  const sides = [image.width, image.height];
  if (from.photo) {
    const eyes = from.eyes.map(eye => eye.map((share, way) => share * sides[way]));
    return { picture: as(frameByEyes(image, eyes, size, channels, from.turn)), notes: [] };
  }
  if (framing !== "portrait") return { picture: as(FRAMINGS[framing](image, size, channels)), notes: [] };
  const { picture, eyes, turn, notes } = await frame(image, size, channels, look);
  const shares = eyes.map(eye => eye.map((at, way) => Math.min(1, Math.max(0, at / sides[way]))));
  return {
    picture: as(picture), photo: await shrunk(image), eyes: shares, turn,
    notes: notes.map(note => `face_${note}`),
  };
}

// What a bitmap shows, in the form of a picture.
function pixelsOf(bitmap, { size, channels, data }) {
  const brush = new OffscreenCanvas(size, size).getContext("2d");
  brush.drawImage(bitmap, 0, 0);
  bitmap.close();
  const seen = brush.getImageData(0, 0, size, size).data;
  return { size, channels, data: data.map((_, i) => seen[4 * Math.floor(i / channels) + (i % channels)]) };
}

function bitmapOf({ size, channels, data }) {
  const image = new ImageData(size, size);
  for (let i = 0; i < size * size; i++)
    for (let c = 0; c < 4; c++) image.data[4 * i + c] = c === 3 ? 255 : data[channels === 1 ? i : 3 * i + c];
  return createImageBitmap(image);
}

async function shrunk(image) {
  const scale = Math.min(1, PHOTO_SIDE / Math.max(image.width, image.height));
  const [resizeWidth, resizeHeight] = [image.width, image.height].map(side => Math.max(1, Math.round(side * scale)));
  return urlOf(await createImageBitmap(image, { resizeWidth, resizeHeight, resizeQuality: "high" }));
}

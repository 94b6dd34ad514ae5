// A place in latent space as a short text: in a link after #at=, and in a PNG's metadata. "1.MODEL.WEIGHTS.NUMBERS": the
// version, the model's id, the start of its weights' hash, and the latent as 16-bit shares of BOUND in base64url.

const VERSION = "1", BOUND = 8, FULL = 32767;
const KEYWORD = "latent-playground";
const LARGEST = 30e6; // bytes of a file that is looked into
const LONGEST = 4000; // characters; 512 numbers take 1,400

export function written({ model, hash, z }) {
  const shares = Int16Array.from(z, value => Math.round((Math.max(-BOUND, Math.min(BOUND, value)) / BOUND) * FULL));
  const text = btoa(String.fromCharCode(...new Uint8Array(shares.buffer)));
  return [VERSION, encodeURIComponent(model).replaceAll(".", "%2E"), hash, text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")].join(".");
}

// text -> {model, hash, z}; null for anything that written did not write.
export function read(text) {
  const parts = typeof text === "string" && text.length <= LONGEST ? text.split(".") : [];
  const [version, model, hash, numbers] = parts;
  if (parts.length !== 4 || version !== VERSION || !/^[\w%!~*'()-]{1,240}$/.test(model) || !/^[0-9a-f]{12}$/.test(hash)) return null;
  try {
    const bytes = Uint8Array.from(atob(numbers.replaceAll("-", "+").replaceAll("_", "/")), letter => letter.charCodeAt(0));
    return { model: decodeURIComponent(model), hash, z: Array.from(new Int16Array(bytes.buffer), share => (share / FULL) * BOUND) };
  } catch {
    return null; // no base64, an odd number of bytes, a broken name
  }
}

// A PNG (Blob) with the text in a tEXt chunk before its end.
export async function stamped(png, text) {
  const bytes = new Uint8Array(await png.arrayBuffer()), end = bytes.length - 12; // IEND is always twelve bytes
  const body = new TextEncoder().encode(`tEXt${KEYWORD}\0${text}`), chunk = new Uint8Array(body.length + 8);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, body.length - 4);
  chunk.set(body, 4);
  view.setUint32(body.length + 4, checksum(body));
  return new Blob([bytes.subarray(0, end), chunk, bytes.subarray(end)], { type: "image/png" });
}

// The text that stamped wrote into a file, or null where there is none.
export async function stampOf(file) {
  if (file.size > LARGEST) return null;
  const bytes = new Uint8Array(await file.arrayBuffer()), view = new DataView(bytes.buffer);
  if (bytes.length < 8 || view.getUint32(0) !== 0x89504e47) return null;
  for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at)) {
    const inside = bytes.subarray(at + 8, at + 8 + view.getUint32(at));
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (kind !== "tEXt" || inside.length > LONGEST + KEYWORD.length) continue;
    const [keyword, text] = new TextDecoder("latin1").decode(inside).split("\0");
    if (keyword === KEYWORD) return text ?? "";
  }
  return null;
}

// CRC-32, as PNG wants it.
function checksum(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

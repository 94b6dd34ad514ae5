// Finds the face in a picture and frames it by its eyes, as vae/pictures/faces.py does; the finder's network is run by whoever asks.
// A point is [x, y] in pixels from the top left corner, taken as the complex number x + iy, so that a turn with a change of size
// is one product. "Left" is left in the picture.
import { square } from "./framing.js";
import { gaussian, KERNELS, pixels, planes } from "./planes.js";

// The training faces have their eyes on this line of a frame of 96 x 96, so far apart; their middle follows the head's turn.
const [FRAME, MIDDLE, LEVEL, APART] = [96, 47.8, 45.1, 24];
const FOLLOW = 0.79; // eye distances per eye distance that the nose is aside
const MOST_TURN = 0.5; // from here on the eyes' distance says little about the head's size
const ENOUGH = 0.97; // of the frame inside the picture: the rest is a rim, and not worth a word
const [BOX_APART, BOX_LEVEL] = [0.403, -0.22]; // of usual eyes in the finder's box, in its sides from its centre
const SIDE = 128; // pixels of the square that the finder sees
const LEAST_SCORE = 0.5; // at a first look
const SURE = 0.65; // at closer ones
const WIDER = 1.036; // its eyes stand so much farther apart than the training faces' landmarks

// see(view): the finder's promise of { boxes, scores } for SIDE x SIDE x 3 numbers in [-1, 1]; null where there is no finder.
// -> { picture: bytes (H, W, C), eyes: in the image, left one first, turn: of the head, notes: as vae/pictures/framing.py's Framed has them }.
export async function frame(image, size, channels, see) {
  const levels = halvings(image);
  const faces = see && (await find(levels, see).catch(error => console.warn("the finder of faces failed:", error)));
  if (!faces?.length) {
    const side = Math.min(image.width, image.height), corner = [(image.width - side) / 2, (image.height - side) / 2];
    const eyes = places(side, 0).map(place => plus(place, corner));
    return { picture: square(image, size, channels), eyes, turn: 0, notes: [faces ? "none" : "absent"] };
  }
  const [face] = faces, how = trust(face, image);
  let { eyes, turn } = face;
  if (how !== "eyes") {
    eyes = [-BOX_APART / 2, BOX_APART / 2].map(aside => plus(face.centre, scaled([aside, BOX_LEVEL], face.side)));
    turn = 0;
  }
  const { picture, inside } = byEyes(levels, eyes, size, channels, turn);
  return { picture, eyes, turn, notes: [how !== "eyes" && how, faces.length > 1 && "several", inside < ENOUGH && "border"].filter(Boolean) };
}

// Turned, scaled and cut so that the eyes come to their places, which move aside with the head's turn. Throws "eyes" where they
// lie outside the picture or closer together than two pixels.
export function frameByEyes(image, eyes, size, channels, turn) {
  const isInside = ([x, y]) => x >= 0 && y >= 0 && x <= image.width && y <= image.height;
  const [left, right] = [...eyes].sort((one, other) => one[0] - other[0]);
  if (!eyes.every(isInside) || !(length(minus(right, left)) >= 2)) throw new Error("eyes");
  return byEyes(halvings(image), [left, right], size, channels, turn).picture;
}

// A find: its score in (0, 1) and five points: the box's top left and bottom right, left eye, right eye, nose.
class Face {
  constructor(score, points) {
    Object.assign(this, { score, points, centre: mean(points.slice(0, 2)), eyes: points.slice(2, 4) });
    this.side = length(minus(points[1], points[0])) / Math.SQRT2; // of a square, which may stand on a corner
    this.axis = minus(points[3], points[2]); // from the left eye to the right one
    if (!length(this.axis)) this.axis = [1e-9, 0];
    [this.turn] = over(minus(points[4], mean(this.eyes)), this.axis); // how far the nose is right of the eyes, in their distance
  }
}

// The faces, largest first, the first one told precisely; parts of the picture are looked at only when the whole shows none.
async function find(levels, see) {
  for (const squares of looks(levels[0])) {
    const found = [];
    for (const [centre, side] of squares) found.push(...(await look(levels, see, centre, [side, 0])));
    const faces = merged(found).sort((one, other) => other.side * other.score - one.side * one.score);
    for (const [index, face] of faces.entries()) {
      const precise = await closer(levels, see, face);
      const isOther = other => length(minus(other.centre, precise.centre)) > precise.side / 2;
      if (precise) return [precise, ...faces.slice(index + 1).filter(isOther)];
    }
  }
  return [];
}

// Centres and sides of the squares to look at: the whole, with a margin, in halves, in quarters of the longer side.
function looks({ width, height }) {
  const longer = Math.max(width, height), middle = [width / 2, height / 2];
  const parts = [longer / 2, longer / 4].filter(side => side >= SIDE / 2).map(side =>
    steps(height, side).flatMap(y => steps(width, side).map(x => [[x, y], side])));
  return [[[middle, longer]], [[middle, 1.6 * longer]], ...parts];
}

// Centres of intervals that cover the length and overlap by half or more; one in the middle if it is enough.
function steps(length, side) {
  const count = Math.max(1, Math.ceil((2 * length) / side) - 1);
  return Array.from({ length: count }, (_, i) => length / 2 + (count > 1 ? (i / (count - 1) - 0.5) * (length - side) : 0));
}

// The face as closer looks see it, turned upright; nothing if they do not, or hardly, see it.
async function closer(levels, see, face) {
  for (const zooms of [[2], [1.7, 2, 2.4]]) { // the mean of three takes a tenth off the error
    const near = [], away = other => length(minus(other.centre, face.centre));
    for (const zoom of zooms) {
      const faces = merged(await look(levels, see, face.centre, turned(face.axis, zoom * face.side)));
      const [nearest] = faces.sort((one, other) => away(one) - away(other));
      if (nearest && away(nearest) < face.side / 2) near.push(nearest);
    }
    const score = near.reduce((sum, other) => sum + other.score, 0) / zooms.length;
    if (score < SURE) return null;
    face = new Face(score, face.points.map((_, i) => mean(near.map(other => other.points[i]))));
  }
  const middle = mean(face.eyes), eyes = face.eyes.map(eye => plus(middle, scaled(minus(eye, middle), 1 / WIDER)));
  return new Face(face.score, [...face.points.slice(0, 2), ...eyes, face.points[4]]);
}

// What to frame by, as NOTES names it.
function trust(face, { width, height }) {
  if (Math.abs(face.turn) > MOST_TURN) return "profile";
  const isInside = face.eyes.every(([x, y]) => x >= 0 && y >= 0 && x <= width && y <= height);
  const wide = length(face.axis) / (BOX_APART * face.side);
  return isInside && wide > 0.5 && wide < 1.6 ? "eyes" : "unsure";
}

// What the finder sees in a square of the picture: `across` leads along its upper side.
async function look(levels, see, centre, across) {
  const scale = scaled(across, 1 / SIDE), offset = minus(centre, times(scale, [SIDE / 2, SIDE / 2]));
  const { data } = sampled(levels, scale, offset, SIDE, false);
  const { boxes, scores } = await see(Float32Array.from({ length: SIDE * SIDE * 3 }, (_, i) =>
    data[4 * Math.floor(i / 3) + (i % 3)] / 127.5 - 1));
  return ANCHORS.flatMap((anchor, row) => {
    const score = 1 / (1 + Math.exp(-scores[row]));
    if (score < LEAST_SCORE) return [];
    const [middle, size, ...marks] = [0, 1, 2, 3, 4].map(i => [boxes[16 * row + 2 * i], boxes[16 * row + 2 * i + 1]]);
    const half = scaled(size, 0.5), points = [minus(middle, half), plus(middle, half), ...marks];
    return [new Face(score, points.map(point => plus(times(scale, plus(anchor, point)), offset)))];
  });
}

// The point that each of the finder's rows is told from; two on each cell of 8 pixels, six on each of 16.
const ANCHORS = [[16, 2], [8, 6]].flatMap(([count, each]) => Array.from({ length: count * count * each }, (_, i) => {
  const cell = Math.floor(i / each);
  return [(cell % count) + 0.5, Math.floor(cell / count) + 0.5].map(place => (place * SIDE) / count);
}));

// Finds that overlap become their mean, weighted by score (the paper's "blending").
function merged(finds) {
  const faces = [];
  let rest = [...finds].sort((one, other) => other.score - one.score);
  while (rest.length) {
    const [best] = rest, group = rest.filter(face => face === best || overlap(best, face) > 0.3);
    const weight = group.reduce((sum, face) => sum + face.score, 0);
    const points = best.points.map((_, i) =>
      group.map(face => scaled(face.points[i], face.score / weight)).reduce(plus));
    faces.push(new Face(best.score, points));
    rest = rest.filter(face => !group.includes(face));
  }
  return faces;
}

// The area that two boxes share over the area that they cover, taken as upright squares.
function overlap(one, other) {
  const least = Math.min(one.side, other.side);
  const [across, down] = minus(one.centre, other.centre).map(way =>
    Math.max(0, Math.min(least, (one.side + other.side) / 2 - Math.abs(way))));
  return (across * down) / Math.max(one.side ** 2 + other.side ** 2 - across * down, 1e-9);
}

// ---- cutting ----

// The left and the right eye's place in a frame of that size.
function places(size, turn) {
  const middle = MIDDLE + APART * FOLLOW * Math.max(-MOST_TURN, Math.min(MOST_TURN, turn));
  return [-0.5, 0.5].map(way => scaled([middle + way * APART, LEVEL], size / FRAME));
}

// -> the frame, blurred more and more from the picture's edge on, and the share of it that lies inside the picture.
function byEyes(levels, eyes, size, channels, turn) {
  const there = places(size, turn), scale = over(minus(eyes[1], eyes[0]), minus(there[1], there[0]));
  const cut = sampled(levels, scale, minus(eyes[0], times(scale, there[0])), size, true);
  const mask = Float32Array.from({ length: size * size }, (_, i) => cut.data[4 * i + 3] / 255);
  const inside = mask.reduce((sum, value) => sum + value, 0) / mask.length;
  if (inside === 1) return { picture: pixels(planes(cut, channels)), inside };
  const soft = gaussian({ width: size, height: size, data: mask }, size / 16).data;
  const framed = planes(cut, channels).map(plane => {
    const blurred = gaussian(plane, size / 16).data;
    return { ...plane, data: blurred.map((value, i) => value + Math.min(1, 2 * soft[i]) * (plane.data[i] - value)) };
  });
  return { picture: pixels(framed), inside };
}

// The square whose pixel z shows the picture's scale * z + offset, as four points around z do; its alpha is the share of them
// that lies inside the picture. Beyond it its edge goes on, or all is black. Where it shrinks, one of the halvings is looked at.
function sampled(levels, scale, offset, size, isContinued) {
  const level = Math.max(0, Math.min(levels.length - 1, Math.floor(Math.log2(length(scale))))), shrink = 2 ** -level;
  const { width, height, data } = levels[level], { reach, weigh } = isContinued ? KERNELS.bicubic : KERNELS.bilinear;
  const columns = new Taps(reach, weigh, width), rows = new Taps(reach, weigh, height), sums = new Float32Array(4 * size * size);
  for (let i = 0; i < 4 * size * size; i++) {
    const column = i % (2 * size), row = Math.floor(i / (2 * size)), to = 4 * ((row >> 1) * size + (column >> 1));
    const u = (column + 0.5) / 2, v = (row + 0.5) / 2;
    const x = scale[0] * u - scale[1] * v + offset[0], y = scale[1] * u + scale[0] * v + offset[1];
    const isInside = x >= 0 && y >= 0 && x < levels[0].width && y < levels[0].height;
    if (isInside) sums[to + 3] += 255 / 4;
    else if (!isContinued) continue;
    columns.aim(x * shrink);
    rows.aim(y * shrink);
    for (let j = 0; j < 2 * reach; j++) for (let k = 0; k < 2 * reach; k++) {
      const from = 4 * (rows.at[j] * width + columns.at[k]), weight = (rows.weight[j] * columns.weight[k]) / 4;
      for (let c = 0; c < 3; c++) sums[to + c] += weight * data[from + c];
    }
  }
  return { width: size, height: size, data: new Uint8ClampedArray(sums) };
}

// The pixels around a place on one axis, and what they weigh; kept, because thousands of places are looked at.
class Taps {
  constructor(reach, weigh, side) {
    Object.assign(this, { reach, weigh, side, at: new Int32Array(2 * reach), weight: new Float64Array(2 * reach) });
  }

  aim(place) {
    const first = Math.floor(place - 0.5) + 1 - this.reach;
    for (let i = 0; i < this.at.length; i++) {
      this.at[i] = Math.max(0, Math.min(this.side - 1, first + i));
      this.weight[i] = this.weigh(first + i + 0.5 - place);
    }
  }
}

// The picture, and it again at a half, a quarter, ... of its size.
function halvings(image) {
  const levels = [image];
  for (let { width, height, data } = image; Math.min(width, height) > 1; { width, height, data } = levels.at(-1)) {
    const [wide, high] = [width, height].map(side => Math.ceil(side / 2)), half = new Uint8ClampedArray(4 * wide * high);
    for (let i = 0; i < half.length; i++) {
      const x = (i >> 2) % wide, y = Math.floor((i >> 2) / wide);
      const [left, right] = [2 * x, Math.min(2 * x + 1, width - 1)], [top, bottom] = [2 * y, Math.min(2 * y + 1, height - 1)];
      const at = (column, row) => data[4 * (row * width + column) + (i & 3)];
      half[i] = (at(left, top) + at(right, top) + at(left, bottom) + at(right, bottom)) / 4;
    }
    levels.push({ width: wide, height: high, data: half });
  }
  return levels;
}

// ---- points ----

const plus = ([a, b], [c, d]) => [a + c, b + d];
const minus = ([a, b], [c, d]) => [a - c, b - d];
const times = ([a, b], [c, d]) => [a * c - b * d, a * d + b * c];
const over = (one, [c, d]) => scaled(times(one, [c, -d]), 1 / (c * c + d * d));
const scaled = ([a, b], factor) => [a * factor, b * factor];
const length = ([a, b]) => Math.hypot(a, b);
const mean = points => scaled(points.reduce(plus), 1 / points.length);
const turned = (point, far) => scaled(point, far / length(point)); // the same way, so far

// From any picture to the form that a model was trained on, as vae/pictures/framing.py does it: a square, MNIST's digits, Fashion-MNIST's
// garments. A picture is ImageData, what is made of it bytes (H, W, C).
import {
  clipped, closed, cropped, cut, even, fitted, gaussian, joined, KERNELS, laid, mapped, most, percentile, pixels, planes, resized,
  separately,
} from "./planes.js";

const LONGEST = 1600; // pixels of the longer side of what is opened; no model here looks closer
const [SHORTEST, SLIMMEST] = [8, 20]; // a side in pixels, and a side over the other, as vae.pictures.images takes them

// A visitor's file -> upright, on white. Throws "unreadable" for what is no picture, "misshapen" for one too small or too long.
export async function opened(blob) {
  const bitmap = await createImageBitmap(blob).catch(() => { throw new Error("unreadable"); });
  const sides = [bitmap.width, bitmap.height], [low, high] = [Math.min(...sides), Math.max(...sides)];
  if (low < SHORTEST || high > SLIMMEST * low) throw new Error("misshapen");
  const [width, height] = sides.map(side => Math.round(side * Math.min(1, LONGEST / high)));
  const brush = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  Object.assign(brush, { fillStyle: "#fff", imageSmoothingQuality: "high" });
  brush.fillRect(0, 0, width, height);
  brush.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return brush.getImageData(0, 0, width, height);
}

// The largest centred square, resized; grey is Rec. 601 luma.
export function square(image, size, channels) {
  const side = Math.min(image.width, image.height);
  const box = [(image.width - side) >> 1, (image.height - side) >> 1, side, side];
  return pixels(planes(image, channels).map(plane => resized(plane, size, size, KERNELS.lanczos, box)));
}

// The one shape in the picture, light on black, its longer side `box` pixels -> size * size bytes. By mass: a stroke, its paper
// taken away, its pen brought to MNIST's width, its centre of mass at the centre; else a garment, greys kept. Throws "nothing".
export function centredShape(image, size, box, byMass) {
  const isSmall = Math.max(image.width, image.height) < 2 * size; // then the soft edge already lies inside the box
  let shade = byMass ? stroke(grey(image)) : silhouette(grey(image));
  shade = cropped(shade, isSmall ? 0.03 : byMass ? 0.3 : 0.15);
  if (byMass) shade = withUsualPen(shade, box);
  const shape = mapped(resized(shade, ...fitted(shade, box), KERNELS.lanczos), clipped), { width, height } = shape;
  let [column, row] = [(size - width) / 2, (size - height) / 2];
  if (byMass) {
    let [mass, across, down] = [0, 0, 0];
    shape.data.forEach((value, i) => {
      mass += value;
      across += value * (i % width);
      down += value * Math.floor(i / width);
    });
    [column, row] = [size / 2 - across / mass, size / 2 - down / mass];
  }
  [column, row] = [[column, width], [row, height]].map(([at, side]) => Math.max(0, Math.min(size - side, Math.floor(at + 0.5))));
  return Uint8Array.from(laid(shape, column, row, size, size).data, value => Math.round(255 * value));
}

export const FRAMINGS = {
  square,
  digit: (image, size, channels) => framed(image, size, channels, 20, true),
  garment: (image, size, channels) => framed(image, size, channels, 28, false),
};

function framed(image, size, channels, box, byMass) {
  const shape = centredShape(image, size, even(box * size / 28), byMass);
  return pixels(Array(channels).fill({ width: size, height: size, data: shape }));
}

const FAINTEST = 0.1; // contrast, relative to the ground, under which a picture counts as empty
const WORKING_SIDE = 400; // pixels; fine enough for a pen, quick enough for a live page

function grey(image) {
  const sides = Math.max(image.width, image.height) > WORKING_SIDE ? fitted(image, WORKING_SIDE) : [image.width, image.height];
  return mapped(resized(planes(image, 1)[0], ...sides, KERNELS.box), value => Math.round(value) / 255);
}

// The shape as it is, greys and all; the ground is what the four corners show.
function silhouette(grey) {
  const { width, height } = grey, patch = Math.max(1, Math.floor(Math.min(width, height) / 14));
  const corners = [0, width - patch].flatMap(x => [0, height - patch].map(y => cut(grey, x, y, patch, patch)));
  const ground = percentile(joined(corners), 50);
  const shade = mapped(grey, value => clipped(ground > 0.5 ? 1 - value / ground : (value - ground) / (1 - ground)));
  if (most(shade.data) < FAINTEST) throw new Error("nothing");
  return mapped(shade, value => (value < 0.03 ? 0 : value));
}

// The ink of a drawn or photographed stroke in [0, 1], soft edges kept; the ground, shadows and specks become 0.
function stroke(grey) {
  const { width, height } = grey, long = Math.max(width, height), rim = Math.max(1, Math.floor(Math.min(width, height) / 25));
  const darkest = grey.data.reduce((a, b) => Math.min(a, b)), lightest = most(grey.data), contrast = lightest - darkest;
  if (contrast < FAINTEST) throw new Error("nothing");
  const edge = joined([
    ...[0, height - rim].map(y => cut(grey, 0, y, width, rim)), ...[0, width - rim].map(x => cut(grey, x, 0, rim, height))]);
  const [low, ground, high] = [4, 50, 96].map(share => percentile(edge, share));
  const isEven = high - low < 0.12 * contrast, negative = plane => mapped(plane, value => 1 - value);
  let paper, level; // level: what the paper would show without ink
  if (isEven) {
    const isDarkOnLight = ground > (darkest + lightest) / 2;
    paper = isDarkOnLight ? grey : negative(grey);
    level = mapped(grey, () => (isDarkOnLight ? ground : 1 - ground));
  } else { // a photograph: the ground is what remains when everything thinner than a pen's stroke is closed
    const soft = gaussian(grey, long / 400), softer = gaussian(soft, long / 12).data;
    const skew = soft.data.reduce((sum, value, i) => sum + (value - softer[i]) ** 3, 0);
    paper = skew < 0 ? soft : negative(soft); // strokes are few and stand out to one side
    level = gaussian(closed(paper, Math.floor(long / 5)), long / 20);
  }
  const ink = mapped(paper, (value, i) => clipped(1 - value / Math.max(level.data[i], 0.05)));
  if (most(ink.data) < FAINTEST) throw new Error("nothing");
  const threshold = otsu(ink.data), noise = high - low < 0.004 ? 0 : 0.5 * threshold;
  const full = percentile(ink.data.filter(value => value > threshold), 80);
  const clear = mapped(ink, value => clipped((value - noise) / (full - noise)));
  const keep = kept(mapped(clear, value => value > 0.4), !isEven);
  return mapped(clear, (value, i) => value * keep[i]);
}

// The threshold that parts values in [0, 1] into two groups with the largest variance between them (Otsu 1979).
function otsu(values) {
  const counts = new Float64Array(256);
  for (const value of values) counts[Math.min(255, Math.floor(256 * value))]++;
  const total = counts.reduce((sum, count, i) => sum + count * (i + 0.5), 0);
  let [below, sum, widest, threshold] = [0, 0, -1, 0];
  counts.forEach((count, i) => {
    below += count;
    sum += count * (i + 0.5);
    const above = values.length - below, between = below * above * (sum / below - (total - sum) / above) ** 2;
    if (between > widest) [widest, threshold] = [between, (i + 1) / 256]; // never where a group is empty: NaN
  });
  return threshold;
}

// A mask -> the same, grown a little, without specks; of a photograph also without what hangs on its edge, unless that is all.
function kept({ width, height, data }, isPhotograph) {
  const parts = new Int32Array(data.length).fill(-1), inner = [];
  let sizes = [];
  data.forEach((value, start) => {
    if (!value || parts[start] >= 0) return;
    const part = sizes.push(0) - 1, open = [start];
    let isInner = true;
    parts[start] = part;
    while (open.length) {
      const at = open.pop(), x = at % width, y = Math.floor(at / width);
      sizes[part]++;
      isInner &&= x > 0 && y > 0 && x < width - 1 && y < height - 1;
      for (let row = Math.max(0, y - 1); row <= Math.min(height - 1, y + 1); row++) {
        for (let next = row * width + Math.max(0, x - 1); next <= row * width + Math.min(width - 1, x + 1); next++) {
          if (!data[next] || parts[next] >= 0) continue;
          parts[next] = part;
          open.push(next);
        }
      }
    }
    inner.push(isInner ? sizes[part] : 0);
  });
  if (isPhotograph && Math.max(...inner) > 0.1 * Math.max(...sizes)) sizes = inner;
  const least = 0.03 * Math.max(...sizes);
  let keep = Uint8Array.from(parts, part => part >= 0 && sizes[part] > least);
  for (let step = 0; step <= Math.floor(Math.max(width, height) / 60); step++) {
    keep = keep.map((value, i, before) => value || before[i - width] || before[i + width]
      || (i % width > 0 && before[i - 1]) || ((i + 1) % width > 0 && before[i + 1]));
  }
  return keep;
}

const FINE = 8; // the pen is measured and changed at this many times the final size
const USUAL_PEN = [1.6, 2.5, 4.8]; // pixels in the 20-pixel box: percentiles 1, 50 and 99 over MNIST

// A stroke far thinner or thicker than MNIST's is grown or shrunk to its middle width; the others stay as they are.
function withUsualPen(shade, box) {
  const [width, height] = fitted(shade, box * FINE).map(side => Math.max(FINE, side)), border = 2 * FINE;
  const large = laid(resized(shade, width, height, KERNELS.bicubic), border, border, width + 2 * border, height + 2 * border);
  const depth = depths(mapped(large, value => value > 0.5)), inside = depth.data.filter(value => value > 0);
  const pen = 4 * inside.reduce((sum, value) => sum + value, 0) / inside.length; // distances average a quarter of a band's width
  const [thinnest, usual, thickest] = USUAL_PEN.map(side => side * FINE * box / 20);
  if (pen >= thinnest && pen <= thickest) return shade;
  const change = Math.max((usual - pen) / 2, 1 - 0.8 * percentile(inside, 90)); // thinning must leave a line
  const outside = depths(mapped(large, value => !(value > 0.5))).data;
  return cropped(mapped(depth, (value, i) => clipped(value - outside[i] + change + 0.5)), 0.5);
}

// A mask -> each inner pixel's distance to the nearest outer one: the least sum of squares, one way and then the other.
function depths(mask) {
  const squares = separately(mapped(mask, value => 1e9 * value), line => line.map((best, i) => {
    for (let d = 1; d * d < best && d < line.length; d++) {
      best = Math.min(best, d * d + Math.min(line[i - d] ?? 1e9, line[i + d] ?? 1e9));
    }
    return best;
  }));
  return mapped(squares, Math.sqrt);
}

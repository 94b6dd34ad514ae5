// Looks: a picture finished so that it looks well at display size, drawn by the browser's own filters. They show what the
// model did not make: never compare a finished picture with an original.
const SCALE = 4; // times the model's size
const MOST_SIDE = 512; // pixels

const XDOG = 12; // how far edges are pushed below and above the picture's own grey
const BEND = Array.from({ length: 21 }, (_, i) => i / 20).map(value => (value > 0.45 ? 1 : Math.max(0, 1 + Math.tanh(6 * (value - 0.45)))).toFixed(3));
const SEPIA = "0.45 0.50 0.12 0 0.047  0.38 0.46 0.11 0 0.024  0.28 0.36 0.10 0 0.008  0 0 0 1 0";

// Each takes the picture as SourceGraphic; side: pixels of the finished one.
const FILTERS = {
  // An unsharp mask, and a little more contrast.
  polished: side => `<feGaussianBlur stdDeviation="${side / 200}" result="soft"/>
    <feComposite in="SourceGraphic" in2="soft" operator="arithmetic" k2="1.7" k3="-0.7"/>
    <feComponentTransfer>${["R", "G", "B"].map(one => `<feFunc${one} type="linear" slope="1.06" intercept="-0.03"/>`).join("")}</feComponentTransfer>`,
  // That in sepia, with grain; edges fade into the paper by FADED.
  retro: side => `${FILTERS.polished(side)}<feColorMatrix values="${SEPIA}" result="sepia"/>
    <feTurbulence type="fractalNoise" baseFrequency="0.9" numOctaves="2" seed="1"/>
    <feColorMatrix values="0.33 0.33 0.33 0 0  0.33 0.33 0.33 0 0  0.33 0.33 0.33 0 0  0 0 0 0 1" result="grain"/>
    <feComposite in="sepia" in2="grain" operator="arithmetic" k2="1" k3="0.16" k4="-0.08"/>`,
  // Edges as a difference of two blurs, bent into black and white (Winnemoeller 2011, "XDoG").
  ink: side => `<feColorMatrix type="saturate" values="0" result="grey"/>
    <feGaussianBlur in="grey" stdDeviation="${side / 256}" result="fine"/><feGaussianBlur in="grey" stdDeviation="${side / 160}" result="coarse"/>
    <feComposite in="fine" in2="coarse" operator="arithmetic" k2="${1 + XDOG}" k3="${-XDOG}"/>
    <feComponentTransfer>${["R", "G", "B"].map(one => `<feFunc${one} type="table" tableValues="${BEND.join(" ")}"/>`).join("")}</feComponentTransfer>`,
};
const FADED = `<radialGradient id="paper" r="0.75"><stop offset="0.6" stop-color="#ece0c8" stop-opacity="0"/><stop offset="1" stop-color="#ece0c8" stop-opacity="0.8"/></radialGradient>`;

export const LOOKS = Object.keys(FILTERS);

// The data URL of a picture of `size` pixels -> one of it in this look; another name leaves it as drawn.
export function finished(url, size, look) {
  if (!FILTERS[look]) return url;
  const side = Math.min(MOST_SIDE, SCALE * size), whole = `width="${side}" height="${side}"`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" ${whole}><defs>${FADED}
    <filter id="look" x="0" y="0" width="1" height="1" color-interpolation-filters="sRGB">${FILTERS[look](side)}</filter></defs>
    <image href="${url}" ${whole} filter="url(#look)"/>${look === "retro" ? `<rect ${whole} fill="url(#paper)"/>` : ""}</svg>`;
  return `data:image/svg+xml,${encodeURIComponent(svg)}`;
}

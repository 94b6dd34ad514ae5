// Dice that fall the same way in every browser, though not as the server's do: the same seed, the same latents.
import { read } from "./latent.js";

const TRIES = 10_000; // draws among which those with a trait are looked for
const SLICE = 250; // draws in one go: a few frames' time

// -> a function that gives numbers from 0 to 1 (mulberry32, by Tommy Ettinger, public domain).
export function dice(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

// A draw from N(0, 1) (Box and Muller 1958).
export function normal(uniform = Math.random) {
  return Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

// Latents from the prior called "mixture" or "normal", or "near" the latent `around`: of all kinds that `only` names, knobs with a
// {trait} whose reading they exceed; of several values of one column ("label=3") one will do. As Atlas.prior in Python, but for the
// dice. null where TRIES draws leave fewer than `least`, or isOver() says so.
export async function thrown(atlas, { prior, count, seed, temperature, only = [], around, spread, least = count }, isOver = () => false) {
  const uniform = dice(seed), found = [], column = knob => knob.key.split("=")[0];
  const kinds = only.map(knob => only.filter(other => column(other) === column(knob)));
  for (let tries = only.length ? TRIES : count; tries && found.length < count; tries--) {
    if (tries % SLICE === 0) await new Promise(resolve => setTimeout(resolve)); // the page goes on meanwhile
    if (isOver()) return null;
    const noise = Array.from({ length: atlas.latent }, () => normal(uniform));
    const z = drawn(atlas, { prior, temperature, around, spread }, noise, uniform);
    if (kinds.every(knobs => knobs.some(knob => read(z, knob) > knob.trait.reading))) found.push(z);
  }
  return found.length < least ? null : found;
}

function drawn(atlas, { prior, temperature, around, spread }, noise, uniform) {
  if (prior === "near") return atlas.around(around, noise, spread);
  return prior === "normal" ? noise.map(value => temperature * value) : atlas.sample(pick(atlas.parts, uniform()), noise, temperature);
}

function pick(parts, share) {
  let left = share;
  const place = parts.findIndex(({ weight }) => (left -= weight) < 0);
  return place < 0 ? parts.length - 1 : place; // the weights' sum is 1 up to rounding
}

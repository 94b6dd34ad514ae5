// The best of many draws: like real pictures, and unlike each other. As vae.measure.best in Python.
const LEAST_DISTANCE = 1e-6;
const SLICE = 100; // latents judged in one go: a few frames' time

// Points and their merits -> `count` places: the one of greatest merit, then ever the one that is best beside those before.
export function farthest(points, count, merit, share) {
  const nearest = Array(points.length).fill(Infinity), places = [top(merit)];
  while (places.length < count) {
    const last = points[places.at(-1)];
    points.forEach((point, i) => (nearest[i] = Math.min(nearest[i], point.reduce((sum, value, k) => sum + (value - last[k]) ** 2, 0))));
    const values = nearest.map((square, i) => share * Math.log(Math.max(square, LEAST_DISTANCE ** 2)) + (1 - share) * merit[i]);
    for (const place of places) values[place] = -Infinity;
    places.push(top(values));
  }
  return places;
}

// Latents -> {kept: the best of them, left: all others, the least real first}; null once isOver() says so.
export async function bestOf(atlas, zs, { count, difference }, isOver = () => false) {
  if (zs.length <= count) return { kept: zs, left: [] };
  const realism = [];
  for (const [place, z] of zs.entries()) {
    if (place % SLICE === 0) await new Promise(resolve => setTimeout(resolve)); // the page goes on meanwhile
    if (isOver()) return null;
    realism.push(atlas.realism(z));
  }
  const mean = realism.reduce((sum, value) => sum + value, 0) / zs.length;
  const std = Math.sqrt(realism.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (zs.length - 1));
  const merit = realism.map(value => (value - mean) / Math.max(std, 1e-9));
  const places = farthest(zs.map(z => atlas.coordinates(z)), count, merit, difference), kept = new Set(places);
  const order = zs.map((_, place) => place).sort((a, b) => realism[a] - realism[b]);
  return { kept: places.map(place => zs[place]), left: order.filter(place => !kept.has(place)).map(place => zs[place]) };
}

function top(values) {
  return values.reduce((best, value, place) => (value > values[best] ? place : best), 0);
}

// A file's bytes by its URL, inflated where it is a gzip: most servers would send large files as they are.
export async function bytes(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`could not fetch ${url.slice(0, 200)}: ${answer.status}`);
  const data = await answer.arrayBuffer(), [first, second] = new Uint8Array(data, 0, Math.min(2, data.byteLength));
  if (first !== 0x1f || second !== 0x8b) return data;
  return new Response(new Blob([data]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

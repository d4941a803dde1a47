// Questions to the server whose answers a page can do without.

/** Return the answer of `fetch`, null where the server refuses; the body of a refusal is given up, or the browser would wait for it. */
export async function ask(address, options) {
  const answer = await fetch(address, options);
  if (answer.ok) return answer;
  await answer.body?.cancel();
  return null;
}

// Waits for a condition, for a minute.

export async function eventually(what, condition) {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline;) {
    const found = await condition();
    if (found) return found;
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
  throw new Error(`not within a minute: ${what}`);
}

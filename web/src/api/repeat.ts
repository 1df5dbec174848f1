/** Waits before a write is sent again; with three consoles the second one is seldom dead too. */
const WAITS_MS = [200, 600, 1_500];

/** What a proxy says when the console that it asked died over the answer. */
const GONE = new Set([502, 503, 504]);

/**
 * Sends a request. A write with an idempotency key is sent again when nobody knows what became of it: a proxy does not
 * dare to, for it does not know the key. Reads are repeated by whoever asked.
 */
export async function send(request: Request, fetch_: (request: Request) => Promise<Response> = fetch) {
  const waits = request.headers.has('Idempotency-Key') ? WAITS_MS : [];
  for (const wait of waits) {
    const answer = await fetch_(request.clone()).catch((error: unknown) => {
      if (request.signal.aborted) throw error;
      return undefined;
    });
    if (answer && !GONE.has(answer.status)) return answer;
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
  return await fetch_(request);
}

import { asProblem, type ProblemError } from '#/api/problem';

/** Requests of a bulk action in progress at once: enough to be quick, too few to crowd out the page's own. */
const AT_ONCE = 6;

export interface BulkResult<Item> {
  done: Item[];
  refused: { item: Item; problem: ProblemError }[];
}

/** Does the same to many, a few at a time; one refusal does not keep the others from being done. */
export async function forAll<Item>(
  items: readonly Item[],
  act: (item: Item) => Promise<unknown>,
): Promise<BulkResult<Item>> {
  const result: BulkResult<Item> = { done: [], refused: [] };
  const waiting = [...items];
  async function lane() {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
      try {
        await act(item);
        result.done.push(item);
      } catch (error) {
        result.refused.push({ item, problem: asProblem(error) });
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, items.length) }, lane));
  return result;
}

/** What a bulk operation of the API takes at most. */
const MOST_IDS = 200;

export interface Treated {
  treated: number;
  refused: { id: string; code: string; detail: string }[];
}

/** Asks a bulk operation of the API for many ids, as many requests as it needs. */
export async function inBulk<Id>(ids: readonly Id[], ask: (ids: Id[]) => Promise<Treated>): Promise<Treated> {
  const sum: Treated = { treated: 0, refused: [] };
  for (let from = 0; from < ids.length; from += MOST_IDS) {
    const answer = await ask(ids.slice(from, from + MOST_IDS));
    sum.treated += answer.treated;
    sum.refused.push(...answer.refused);
  }
  return sum;
}

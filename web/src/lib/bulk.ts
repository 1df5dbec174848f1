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

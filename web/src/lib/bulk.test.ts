import { expect, test } from 'vitest';
import { ProblemError } from '#/api/problem';
import { forAll } from './bulk';

test('one refusal does not keep the others from being done, and few are asked at once', async () => {
  let running = 0;
  let most = 0;
  const result = await forAll([...Array(40).keys()], async (item) => {
    running += 1;
    most = Math.max(most, running);
    await new Promise((resolve) => setTimeout(resolve, 1));
    running -= 1;
    if (item === 7) throw new ProblemError(409, { code: 'conflict', detail: 'seven is taken' });
  });
  expect(result.done).toHaveLength(39);
  expect(result.refused.map(({ item, problem }) => [item, problem.code])).toEqual([[7, 'conflict']]);
  expect(most).toBe(6);
});

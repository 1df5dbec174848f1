import { expect, test } from 'vitest';
import { emptyDraft } from '../draft';
import { waitsOf } from './backoff';

const retry = emptyDraft('101-1-2-6601', 'UTC').retry;

test('exponential waits double up to the longest one', () => {
  const waits = waitsOf({ ...retry, max_attempts: '6', initial: '1s', max: '5s', jitter: '0' });
  expect(waits?.map((wait) => wait.longest)).toEqual([1_000, 2_000, 4_000, 5_000, 5_000]);
});

test('fixed waits are the same, and the random share only shortens them', () => {
  expect(waitsOf({ ...retry, max_attempts: '3', backoff: 'fixed', initial: '10s', jitter: '0.25' })).toEqual([
    { longest: 10_000, shortest: 7_500 },
    { longest: 10_000, shortest: 7_500 },
  ]);
});

test('one attempt has no wait; what is not right yet has no drawing', () => {
  expect(waitsOf(retry)).toEqual([]);
  expect(waitsOf({ ...retry, max_attempts: '0' })).toBeUndefined();
  expect(waitsOf({ ...retry, initial: 'soon' })).toBeUndefined();
  expect(waitsOf({ ...retry, jitter: '2' })).toBeUndefined();
});

import { expect, test } from 'vitest';
import { draftOf, type JobSpec, specOf } from '../draft';
import { differences, firstChoice, merged } from './differences';

const base = specOf(
  draftOf({
    group: '101-1-2-6601',
    name: 'settle',
    handler: 'settle',
    schedule: { type: 'cron', expression: '0 0 9 * * ?', time_zone: 'UTC' },
    params: { day: 'today' },
    retry: { max_attempts: 2 },
    overlap: { policy: 'queue', limit: 10 },
  } as JobSpec),
);
const mine: JobSpec = {
  ...base,
  description: 'Mine',
  timeout: '10s',
  overlap: { policy: 'parallel', max: 4 },
  retry: { ...base.retry, max_attempts: 5 },
};
const theirs: JobSpec = {
  ...base,
  description: 'Theirs',
  owner: 'billing',
  overlap: { policy: 'skip' },
  retry: { ...base.retry, initial: '9s' },
};

test('each difference says who changed the field', () => {
  expect(Object.fromEntries(differences(base, mine, theirs).map(({ field, by }) => [field, by]))).toEqual({
    description: 'both',
    owner: 'them',
    overlap: 'both',
    'retry.max_attempts': 'me',
    'retry.initial': 'them',
    timeout: 'me',
  });
});

test('what is put together keeps the changes of both, and never mixes two choices', () => {
  const found = differences(base, mine, theirs);
  const result = merged(theirs, found, { description: 'theirs' });
  expect(result).toEqual({
    ...base,
    description: 'Theirs',
    owner: 'billing',
    timeout: '10s',
    overlap: { policy: 'parallel', max: 4 },
    retry: { ...base.retry, max_attempts: 5, initial: '9s' },
  });
  expect(found.filter((difference) => firstChoice(difference) === 'theirs').map(({ field }) => field)).toEqual([
    'owner',
    'retry.initial',
  ]);
});

test('all mine is mine, all theirs is theirs', () => {
  const found = differences(base, mine, theirs);
  const all = (side: 'mine' | 'theirs') => Object.fromEntries(found.map(({ field }) => [field, side]));
  expect(merged(theirs, found, all('mine'))).toEqual(mine);
  expect(merged(theirs, found, all('theirs'))).toEqual(theirs);
});

test('nulls, missing fields and the order of fields are no differences', () => {
  const other = { ...base, timeout: undefined, params: { day: 'today' }, schedule: { ...base.schedule } } as JobSpec;
  expect(differences(base, base, other)).toEqual([]);
  expect(differences(base, { ...base, params: 'today' }, base)).toMatchObject([{ field: 'params', by: 'me' }]);
});

import { expect, test } from 'vitest';
import { placeOf } from './target';

test.each([
  ['job/17', '/jobs/$job', { job: '17' }],
  ['jobs/17/runs', '/jobs/$job', { job: '17' }],
  ['runs/01jd4xk3r0000007/cancel', '/runs/$run', { run: '01jd4xk3r0000007' }],
  ['dead-letters/01jd4xk3r0000007/discard', '/runs/$run', { run: '01jd4xk3r0000007' }],
  ['group/101-1-2-6601', '/groups/$group', { group: '101-1-2-6601' }],
])('%s is shown at %s', (target, to, params) => {
  expect(placeOf(target)).toEqual({ to, params });
});

test.each(['', 'server/one', 'jobs', 'jobs/x', 'dead-letters/retry'])('%j has no page', (target) => {
  expect(placeOf(target)).toBeUndefined();
});

test('a grant is shown among the permissions of its task group', () => {
  expect(placeOf('grant/101-1-2-6601/ann')).toEqual({
    to: '/users',
    search: { tab: 'permissions', group: '101-1-2-6601' },
  });
});

import { expect, test } from 'vitest';
import { changes } from './diff';

test('tells what people changed, by path', () => {
  const before = {
    revision: 1,
    name: 'hello',
    schedule: { type: 'cron', expression: '0 0 9 * * ?' },
    labels: { team: 'a' },
    params: [1, 2],
  };
  const after = {
    revision: 2,
    name: 'hello',
    schedule: { type: 'cron', expression: '0 0 10 * * ?' },
    labels: {},
    params: [1, 3],
  };
  expect(changes(before, after)).toEqual([
    { field: 'schedule.expression', before: '0 0 9 * * ?', after: '0 0 10 * * ?' },
    { field: 'labels.team', before: 'a', after: undefined },
    { field: 'params', before: [1, 2], after: [1, 3] },
  ]);
  expect(changes(before, before)).toEqual([]);
});

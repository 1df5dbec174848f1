import { expect, test } from 'vitest';
import { readQualifiers, writeQualifiers } from './qualifiers';

test('what the box shows is what it reads', () => {
  const text = 'state:failed,dead job:"nightly report" group:samples since:24h made:api late:1s worker:w1';
  const asked = readQualifiers(text);
  expect(asked).toEqual({
    states: ['failed', 'dead'],
    job: 'nightly report',
    group: 'samples',
    since: '24h',
    made: 'api',
    late: '1s',
    worker: 'w1',
    unknown: [],
  });
  expect(writeQualifiers(asked)).toBe(text);
});

test('a bare word is a job, a run id leads to its run, nonsense is told', () => {
  expect(readQualifiers('hello')).toMatchObject({ job: 'hello', unknown: [] });
  expect(readQualifiers('1m7wfer100000002')).toMatchObject({ run: '1m7wfer100000002' });
  expect(readQualifiers('1m7wn9be600000036d9y0s7w6ja').run).toBe('1m7wn9be600000036d9y0s7w6ja');
  expect(readQualifiers('state:broken since:3h made:chance late:much shard:0').unknown).toEqual([
    'broken',
    'since:3h',
    'made:chance',
    'late:much',
    'shard:0',
  ]);
  expect(readQualifiers('')).toEqual({ states: [], unknown: [] });
});

import { expect, test } from 'vitest';
import { ProblemError } from '#/api/problem';
import { emptyDraft } from './draft';
import { faultsOf, faultsOfRefusal } from './save';

const draft = { ...emptyDraft('101-1-2-6601', 'UTC'), name: 'a', handler: 'b' };
const fields = (faults: { field: string }[]) => faults.map(({ field }) => field);

test('what is left empty is told before anybody is asked', () => {
  expect(faultsOf(draft)).toEqual([]);
  expect(fields(faultsOf({ ...draft, name: ' ', group: '', handler: '' }))).toEqual(['name', 'group', 'handler']);
  const schedule = { ...draft.schedule, type: 'once' as const };
  expect(fields(faultsOf({ ...draft, schedule }))).toEqual(['schedule.at']);
  expect(fields(faultsOf({ ...draft, routing: { policy: 'hash', field: '' } }))).toEqual(['routing.field']);
});

test('params have to be JSON only where they are written as JSON', () => {
  expect(fields(faultsOf({ ...draft, params: { mode: 'json', text: '{"a": }' } }))).toEqual(['params']);
  expect(faultsOf({ ...draft, params: { mode: 'text', text: '{"a": }' } })).toEqual([]);
});

test('a refusal stands at its fields, and at none where it names none', () => {
  const errors = [
    { field: 'retry.max', message: '1s is shorter than retry.initial 2s' },
    { field: 'timeout', message: 'not a duration' },
  ];
  expect(faultsOfRefusal(new ProblemError(422, { code: 'invalid', errors }))).toEqual(errors);
  expect(faultsOfRefusal(new ProblemError(409, { code: 'name_taken', detail: 'there is one' }))).toEqual([
    { field: 'name', message: 'there is one' },
  ]);
  expect(faultsOfRefusal(new ProblemError(503, { detail: 'no server' }))).toEqual([
    { field: '', message: 'no server' },
  ]);
});

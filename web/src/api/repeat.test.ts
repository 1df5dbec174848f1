import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { send } from './repeat';

const URL_ = 'http://console/api/v1/jobs/7/runs';
const keyed = () => new Request(URL_, { method: 'POST', headers: { 'Idempotency-Key': 'k' }, body: '{"params":1}' });

/** Answers one after the other; an undefined one is a connection that breaks. */
function console_(...answers: (number | undefined)[]) {
  const bodies: string[] = [];
  const fetch_ = async (request: Request) => {
    bodies.push(await request.text());
    const status = answers.shift();
    if (status === undefined) throw new TypeError('Failed to fetch');
    return new Response(null, { status });
  };
  return { bodies, fetch_ };
}

beforeEach(() => {
  vi.useFakeTimers({ shouldAdvanceTime: true, advanceTimeDelta: 100 });
});

afterEach(() => {
  vi.useRealTimers();
});

test('a write with a key survives the consoles that die over it, with its body', async () => {
  const { bodies, fetch_ } = console_(502, undefined, 202);
  expect((await send(keyed(), fetch_)).status).toBe(202);
  expect(bodies).toEqual(['{"params":1}', '{"params":1}', '{"params":1}']);
});

test('what a console says itself is not asked again', async () => {
  const { bodies, fetch_ } = console_(409, 202);
  expect((await send(keyed(), fetch_)).status).toBe(409);
  expect(bodies).toHaveLength(1);
});

test('it ends when all are gone', async () => {
  const { bodies, fetch_ } = console_(502, 502, 502, 502, 202);
  expect((await send(keyed(), fetch_)).status).toBe(502);
  expect(bodies).toHaveLength(4);
});

test('a write without a key is sent once', async () => {
  const { bodies, fetch_ } = console_(502, 202);
  expect((await send(new Request(URL_, { method: 'POST', body: '{}' }), fetch_)).status).toBe(502);
  expect(bodies).toHaveLength(1);
});

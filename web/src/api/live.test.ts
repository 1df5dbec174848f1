import { QueryClient } from '@tanstack/react-query';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { live } from './live';

class Source {
  static last: Source;
  static CLOSED = 2;
  readyState = 1;
  onopen = () => {};
  onerror = () => {};
  listeners = new Map<string, (event: { data: string }) => void>();
  constructor() {
    Source.last = this;
  }
  addEventListener(kind: string, listener: (event: { data: string }) => void) {
    this.listeners.set(kind, listener);
  }
  send(kind: string, data: unknown) {
    this.listeners.get(kind)?.({ data: JSON.stringify(data) });
  }
  refuse() {
    this.readyState = Source.CLOSED;
    this.onerror();
  }
  close() {}
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('EventSource', Source);
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function read(queries: QueryClient): string[] {
  return queries
    .getQueryCache()
    .getAll()
    .filter((query) => query.state.isInvalidated)
    .map((query) => query.queryKey.join(' '));
}

test('many changes of runs are one reading of each list, and long lists stay as they are', async () => {
  const queries = new QueryClient();
  queries.setQueryData(['runs', 'short'], { pages: [1] });
  queries.setQueryData(['runs', 'long'], { pages: [1, 2, 3] });
  queries.setQueryData(['run', 'r1'], {});
  queries.setQueryData(['run', 'r2'], {});
  queries.setQueryData(['servers'], {});
  const invalidate = vi.spyOn(queries, 'invalidateQueries');
  const stop = live.connect(queries, () => {});
  for (let i = 0; i < 50; i++) Source.last.send('run', { run_id: 'r1', job_id: 7 });
  expect(invalidate).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(read(queries)).toEqual(['runs short', 'run r1']);
  expect(invalidate).toHaveBeenCalledTimes(4);
  Source.last.send('changed', { what: 'servers' });
  await vi.advanceTimersByTimeAsync(1_000);
  expect(read(queries)).toContain('servers');
  stop();
});

test('a refused stream is opened again, and then everything is read anew', async () => {
  const queries = new QueryClient();
  queries.setQueryData(['groups'], {});
  queries.setQueryData(['session'], {});
  const refused = vi.fn();
  const stop = live.connect(queries, refused);
  const first = Source.last;
  first.onopen();
  expect(live.state()).toBe('live');
  first.refuse();
  expect(refused).toHaveBeenCalledOnce();
  expect(live.state()).toBe('lost');
  await vi.advanceTimersByTimeAsync(500);
  expect(Source.last).not.toBe(first);
  Source.last.onopen();
  expect(live.state()).toBe('live');
  expect(read(queries)).toEqual(['groups']);
  stop();
});

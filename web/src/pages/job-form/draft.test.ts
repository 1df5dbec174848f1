import { expect, test } from 'vitest';
import { draftOf, emptyDraft, type JobSpec, specOf } from './draft';

const full: JobSpec = {
  group: '101-1-2-6601',
  name: 'settle',
  description: 'Settles the shops',
  handler: 'settle',
  kind: 'parallel',
  owner: 'billing',
  labels: { team: 'billing', tier: 'a=b' },
  enabled: false,
  params: { day: 'yesterday', shops: [1, 2] },
  schedule: {
    type: 'cron',
    expression: '0 30 2 ? * MON-FRI',
    dialect: 'quartz',
    time_zone: 'Asia/Shanghai',
    starts_at: '2026-12-01T00:00:00.000Z',
    ends_at: null,
    jitter: '30s',
  },
  overlap: { policy: 'parallel', max: 3 },
  misfire: { policy: 'fire_all', limit: 5, window: '2h' },
  retry: {
    max_attempts: 4,
    backoff: 'fixed',
    initial: '2s',
    max: '1m',
    jitter: 0.25,
    on: { failure: true, timeout: false },
  },
  routing: { policy: 'hash', field: 'day' },
  selector: { labels: { disk: 'ssd' }, prefer_room: 'east' },
  worker_lost: 'retry_strict',
  timeout: '30s',
  start_window: '10s',
  parallel: {
    max_failed: 7,
    max_attempts: 2,
    retry_delay: '3s',
    timeout: '1m',
    per_worker: 4,
    reissue_stragglers: false,
  },
};

test('a job that is read into the form and sent back is the same job', () => {
  expect(specOf(draftOf(full))).toEqual(full);
});

test.each([
  {
    type: 'fixed_rate',
    every: '10s',
    anchor: '2026-01-01T00:00:00.000Z',
    starts_at: null,
    ends_at: null,
    jitter: null,
  },
  { type: 'fixed_delay', delay: '5m', starts_at: null, ends_at: null, jitter: null },
  { type: 'once', at: '2026-12-24T18:00:00.000Z', starts_at: null, ends_at: null, jitter: null },
  { type: 'api', starts_at: null, ends_at: null, jitter: null },
] as const)('a schedule of type $type keeps its fields and no others', (schedule) => {
  expect(specOf(draftOf({ ...full, schedule })).schedule).toEqual(schedule);
});

test.each([[null], ['plain text'], ['{"looks": "like JSON"}'], [''], [12], [[1, 2]], [{ a: null }]])(
  'params %j stay what they are',
  (params) => {
    expect(specOf(draftOf({ ...full, params })).params).toEqual(params);
  },
);

test('what was typed wrong is sent as it is, and what was left empty means the default', () => {
  const draft = emptyDraft('101-1-2-6601', 'UTC');
  const spec = specOf({
    ...draft,
    timeout: ' 1 h 30 m ',
    misfire: { ...draft.misfire, limit: '', window: 'soon' },
    retry: { ...draft.retry, max_attempts: 'three' },
  }) as unknown as Record<string, Record<string, unknown>>;
  expect(spec.timeout).toBe('1h30m');
  expect(spec.misfire).toEqual({ policy: 'fire_once', limit: null, window: 'soon' });
  expect(spec.retry?.max_attempts).toBe('three');
});

test('fields of choices that were not taken are kept in the form and not sent', () => {
  const draft = draftOf(full);
  const other = { ...draft, schedule: { ...draft.schedule, type: 'fixed_rate' as const } };
  expect(specOf(other).schedule).toEqual({
    type: 'fixed_rate',
    every: '1m',
    anchor: null,
    starts_at: '2026-12-01T00:00:00.000Z',
    ends_at: null,
    jitter: '30s',
  });
  expect(specOf({ ...other, schedule: { ...other.schedule, type: 'cron' } }).schedule).toEqual(full.schedule);
});

test('numbers may be typed with the separators that the pages write', () => {
  const draft = draftOf(full);
  const limited = (limit: string) =>
    specOf({ ...draft, overlap: { ...draft.overlap, policy: 'queue', limit } }).overlap;
  expect(limited('10,000')).toEqual({ policy: 'queue', limit: 10_000 });
  expect(limited(' 1000 ')).toEqual({ policy: 'queue', limit: 1_000 });
  // Refused by the API, which says why.
  expect(limited('1,5')).toEqual({ policy: 'queue', limit: '1,5' });
});

import type { Schemas } from '#/api/client';
import { parseJson } from '#/ui/json';

export type JobSpec = Schemas['JobSpec'];
export type Schedule = Schemas['Schedule'];
export type ScheduleType = Schedule['type'];
export type OverlapPolicy = Schemas['Overlap']['policy'];
export type RoutingPolicy = Schemas['Routing']['policy'];

/**
 * What stands in the form: texts as they were typed, wrong ones too, and the fields of choices not taken, so that
 * going back and forth loses nothing. Empty numbers and durations mean the default.
 */
export interface Draft {
  group: string;
  name: string;
  description: string;
  handler: string;
  kind: Schemas['JobKind'];
  owner: string;
  /** `key=value`. */
  labels: string[];
  enabled: boolean;
  params: { mode: 'json' | 'text'; text: string };
  schedule: {
    type: ScheduleType;
    expression: string;
    dialect: Schemas['CronDialect'];
    time_zone: string;
    every: string;
    anchor: string;
    delay: string;
    at: string;
    starts_at: string;
    ends_at: string;
    jitter: string;
  };
  overlap: { policy: OverlapPolicy; max: string; limit: string };
  misfire: { policy: Schemas['MisfirePolicy']; limit: string; window: string };
  retry: {
    max_attempts: string;
    backoff: Schemas['Backoff'];
    initial: string;
    max: string;
    jitter: string;
    on: { failure: boolean; timeout: boolean };
  };
  routing: { policy: RoutingPolicy; field: string };
  selector: { labels: string[]; prefer_room: string };
  worker_lost: Schemas['WorkerLost'];
  timeout: string;
  start_window: string;
  parallel: {
    max_failed: string;
    max_attempts: string;
    retry_delay: string;
    timeout: string;
    per_worker: string;
    reissue_stragglers: boolean;
  };
}

/** A job that nobody has thought about yet: the API's defaults. */
export function emptyDraft(group: string, zone: string): Draft {
  return {
    group,
    name: '',
    description: '',
    handler: '',
    kind: 'simple',
    owner: '',
    labels: [],
    enabled: true,
    params: { mode: 'json', text: '' },
    schedule: {
      type: 'cron',
      expression: '0 0/5 * * * ?',
      dialect: 'quartz',
      time_zone: zone,
      every: '1m',
      anchor: '',
      delay: '1m',
      at: '',
      starts_at: '',
      ends_at: '',
      jitter: '',
    },
    overlap: { policy: 'queue', max: '16', limit: '1000' },
    misfire: { policy: 'fire_once', limit: '10', window: '1h' },
    retry: {
      max_attempts: '1',
      backoff: 'exponential',
      initial: '1s',
      max: '5m',
      jitter: '0.1',
      on: { failure: true, timeout: true },
    },
    routing: { policy: 'any', field: '' },
    selector: { labels: [], prefer_room: '' },
    worker_lost: 'retry',
    timeout: '',
    start_window: '',
    parallel: {
      max_failed: '0',
      max_attempts: '3',
      retry_delay: '1s',
      timeout: '',
      per_worker: '0',
      reissue_stragglers: true,
    },
  };
}

/** The form's texts of a job that is there. */
export function draftOf(spec: JobSpec): Draft {
  const empty = emptyDraft(spec.group, 'UTC');
  const { schedule } = spec;
  return {
    ...empty,
    name: spec.name,
    description: spec.description ?? '',
    handler: spec.handler,
    kind: spec.kind ?? empty.kind,
    owner: spec.owner ?? '',
    labels: labelTexts(spec.labels),
    enabled: spec.enabled ?? true,
    params: paramsOf(spec.params),
    schedule: {
      ...empty.schedule,
      type: schedule.type,
      ...(schedule.type === 'cron' && {
        expression: schedule.expression,
        dialect: schedule.dialect ?? 'quartz',
        time_zone: schedule.time_zone ?? 'UTC',
      }),
      ...(schedule.type === 'fixed_rate' && { every: schedule.every, anchor: schedule.anchor ?? '' }),
      ...(schedule.type === 'fixed_delay' && { delay: schedule.delay }),
      ...(schedule.type === 'once' && { at: schedule.at }),
      starts_at: schedule.starts_at ?? '',
      ends_at: schedule.ends_at ?? '',
      jitter: schedule.jitter ?? '',
    },
    overlap: {
      ...empty.overlap,
      policy: spec.overlap?.policy ?? empty.overlap.policy,
      ...(spec.overlap?.policy === 'parallel' && { max: text(spec.overlap.max, empty.overlap.max) }),
      ...(spec.overlap?.policy === 'queue' && { limit: text(spec.overlap.limit, empty.overlap.limit) }),
    },
    misfire: {
      policy: spec.misfire?.policy ?? empty.misfire.policy,
      limit: text(spec.misfire?.limit, empty.misfire.limit),
      window: text(spec.misfire?.window, empty.misfire.window),
    },
    retry: {
      max_attempts: text(spec.retry?.max_attempts, empty.retry.max_attempts),
      backoff: spec.retry?.backoff ?? empty.retry.backoff,
      initial: text(spec.retry?.initial, empty.retry.initial),
      max: text(spec.retry?.max, empty.retry.max),
      jitter: text(spec.retry?.jitter, empty.retry.jitter),
      on: { failure: spec.retry?.on?.failure ?? true, timeout: spec.retry?.on?.timeout ?? true },
    },
    routing: {
      policy: spec.routing?.policy ?? empty.routing.policy,
      field: spec.routing?.policy === 'hash' ? spec.routing.field : '',
    },
    selector: { labels: labelTexts(spec.selector?.labels), prefer_room: spec.selector?.prefer_room ?? '' },
    worker_lost: spec.worker_lost ?? empty.worker_lost,
    timeout: spec.timeout ?? '',
    start_window: spec.start_window ?? '',
    parallel: {
      max_failed: text(spec.parallel?.max_failed, empty.parallel.max_failed),
      max_attempts: text(spec.parallel?.max_attempts, empty.parallel.max_attempts),
      retry_delay: text(spec.parallel?.retry_delay, empty.parallel.retry_delay),
      timeout: spec.parallel?.timeout ?? '',
      per_worker: text(spec.parallel?.per_worker, empty.parallel.per_worker),
      reissue_stragglers: spec.parallel?.reissue_stragglers ?? true,
    },
  };
}

/** What is sent. A number that is none goes as its text, so that the API's refusal names it; JSON was checked before. */
export function specOf(draft: Draft): JobSpec {
  const spec = {
    group: draft.group,
    name: draft.name.trim(),
    description: draft.description,
    handler: draft.handler.trim(),
    kind: draft.kind,
    owner: draft.owner.trim(),
    labels: labelsOf(draft.labels),
    enabled: draft.enabled,
    params: paramsValue(draft),
    schedule: scheduleOf(draft.schedule),
    overlap: overlapOf(draft.overlap),
    misfire: {
      policy: draft.misfire.policy,
      limit: number(draft.misfire.limit),
      window: duration(draft.misfire.window),
    },
    retry: {
      max_attempts: number(draft.retry.max_attempts),
      backoff: draft.retry.backoff,
      initial: duration(draft.retry.initial),
      max: duration(draft.retry.max),
      jitter: number(draft.retry.jitter),
      on: draft.retry.on,
    },
    routing:
      draft.routing.policy === 'hash'
        ? { policy: 'hash', field: draft.routing.field.trim() }
        : { policy: draft.routing.policy },
    selector: { labels: labelsOf(draft.selector.labels), prefer_room: draft.selector.prefer_room.trim() || null },
    worker_lost: draft.worker_lost,
    timeout: duration(draft.timeout),
    start_window: duration(draft.start_window),
    parallel: {
      max_failed: number(draft.parallel.max_failed),
      max_attempts: number(draft.parallel.max_attempts),
      retry_delay: duration(draft.parallel.retry_delay),
      timeout: duration(draft.parallel.timeout),
      per_worker: number(draft.parallel.per_worker),
      reissue_stragglers: draft.parallel.reissue_stragglers,
    },
  };
  return spec as JobSpec;
}

/** The schedule as it is sent: only the fields of its type. */
export function scheduleOf(draft: Draft['schedule']): Schedule {
  const shared = {
    starts_at: draft.starts_at || null,
    ends_at: draft.ends_at || null,
    jitter: duration(draft.jitter),
  };
  switch (draft.type) {
    case 'cron':
      return {
        type: 'cron',
        expression: draft.expression.trim(),
        dialect: draft.dialect,
        time_zone: draft.time_zone,
        ...shared,
      };
    case 'fixed_rate':
      return { type: 'fixed_rate', every: duration(draft.every) ?? '', anchor: draft.anchor || null, ...shared };
    case 'fixed_delay':
      return { type: 'fixed_delay', delay: duration(draft.delay) ?? '', ...shared };
    case 'once':
      return { type: 'once', at: draft.at, ...shared };
    case 'api':
      return { type: 'api', ...shared };
  }
}

function overlapOf(draft: Draft['overlap']) {
  if (draft.policy === 'parallel') return { policy: draft.policy, max: number(draft.max) };
  if (draft.policy === 'queue') return { policy: draft.policy, limit: number(draft.limit) };
  return { policy: draft.policy };
}

function paramsOf(params: unknown): Draft['params'] {
  if (typeof params === 'string') return { mode: 'text', text: params };
  if (params === null || params === undefined) return { mode: 'json', text: '' };
  return { mode: 'json', text: JSON.stringify(params, null, 2) };
}

function paramsValue({ params }: Draft): unknown {
  if (params.mode === 'text') return params.text;
  const parsed = parseJson(params.text);
  return 'value' in parsed ? parsed.value : params.text;
}

function labelTexts(labels: Record<string, string> | null | undefined): string[] {
  return Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`);
}

function labelsOf(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf('=');
      return at < 0 ? [text.trim(), ''] : [text.slice(0, at).trim(), text.slice(at + 1).trim()];
    }),
  );
}

function text(value: string | number | null | undefined, otherwise: string): string {
  return value === null || value === undefined ? otherwise : String(value);
}

/** Numbers may be typed as the pages write them: `10,000`. */
function number(typed: string): number | string | null {
  const trimmed = typed.trim().replace(/(?<=\d),(?=\d{3}(?:,|$))/g, '');
  if (trimmed === '') return null;
  return Number.isFinite(Number(trimmed)) ? Number(trimmed) : trimmed;
}

/** Durations go as typed, but without blanks: the API reads `1h30m`. */
function duration(typed: string): string | null {
  return typed.replace(/\s+/g, '') || null;
}

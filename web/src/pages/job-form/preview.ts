import { useDebouncedValue } from '@mantine/hooks';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { api, data, type Schemas } from '#/api/client';
import { asProblem, type ProblemError } from '#/api/problem';
import type { Place } from './cron/expression';
import type { Schedule } from './draft';
import type { Fault } from './state';

/** A pause in typing after which the schedule is explained. */
const PAUSE_MS = 200;

const SHOWN = 10;

/** What is to come moves on by itself. */
const AGAIN_MS = 30_000;

export interface SchedulePreview {
  view: Schemas['PreviewView'] | undefined;
  /** The view belongs to what was typed before. */
  old: boolean;
  faults: Fault[];
  /** Where the expression is wrong. */
  place: Place | undefined;
  /** The API could not be asked. */
  problem: ProblemError | undefined;
}

/** What the API says a schedule means, while it is being typed. */
export function usePreview(schedule: Schedule): SchedulePreview {
  const [asked] = useDebouncedValue(JSON.stringify(schedule), PAUSE_MS);
  const complete = isComplete(schedule);
  const { data: view, error } = useQuery({
    queryKey: ['preview', asked],
    queryFn: () => data(api.POST('/api/v1/schedules/preview', { body: { schedule: JSON.parse(asked), count: SHOWN } })),
    placeholderData: keepPreviousData,
    refetchInterval: (query) => (query.state.status === 'error' ? false : AGAIN_MS),
    staleTime: AGAIN_MS,
    enabled: complete,
  });
  const settled = asked === JSON.stringify(schedule);
  const problem = complete && error ? asProblem(error) : undefined;
  const refused = problem?.status === 422 ? problem : undefined;
  const { column, length } = (refused?.body ?? {}) as { column?: number; length?: number };
  return {
    view: refused ? undefined : view,
    old: !settled,
    faults: (refused?.fields ?? []).map(({ field, message }) => ({ field, message: withoutExpression(message) })),
    place: settled && column !== undefined ? { column, length: length ?? 1 } : undefined,
    problem: refused ? undefined : problem,
  };
}

/** Whether there is something to ask about: an empty field is no mistake yet. */
function isComplete(schedule: Schedule): boolean {
  if (schedule.type === 'cron') return schedule.expression !== '';
  if (schedule.type === 'fixed_rate') return schedule.every !== '';
  if (schedule.type === 'fixed_delay') return schedule.delay !== '';
  return schedule.type !== 'once' || schedule.at !== '';
}

/** The expression stands right above the sentence: it need not be repeated in it. */
function withoutExpression(message: string): string {
  return message.replace(/^cron expression ".*?": (?=\w+(?:-\w+)* field at column|at column)/, '');
}

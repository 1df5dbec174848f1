import { notifications } from '@mantine/notifications';
import { api, data, type Schemas } from '#/api/client';
import { asProblem } from '#/api/problem';
import { say } from '#/i18n';
import type { Draft, JobSpec } from './draft';
import { jsonFault } from './json-fault';
import type { Fault } from './state';
import { formWords } from './words';

export type Saved = Schemas['ChangedJob'];

/** What can be told without asking: fields left empty, and params that are no JSON. All else is the API's to judge. */
export function faultsOf(draft: Draft): Fault[] {
  const needed: [string, string][] = [
    ['name', draft.name],
    ['group', draft.group],
    ['handler', draft.handler],
  ];
  const { schedule } = draft;
  if (schedule.type === 'cron') needed.push(['schedule.expression', schedule.expression]);
  if (schedule.type === 'fixed_rate') needed.push(['schedule.every', schedule.every]);
  if (schedule.type === 'fixed_delay') needed.push(['schedule.delay', schedule.delay]);
  if (schedule.type === 'once') needed.push(['schedule.at', schedule.at]);
  if (draft.routing.policy === 'hash') needed.push(['routing.field', draft.routing.field]);
  const faults = needed
    .filter(([, text]) => text.trim() === '')
    .map(([field]) => ({ field, message: say(formWords, 'required') }));
  const json = draft.params.mode === 'json' ? jsonFault(draft.params.text) : undefined;
  if (json) {
    const wanted = say(formWords, `wanted.${json.wanted}`);
    faults.push({ field: 'params', message: say(formWords, 'json_fault', { ...json, wanted }) });
  }
  return faults;
}

/** The faults that a refusal names; one about the whole where it names none. */
export function faultsOfRefusal(error: unknown): Fault[] {
  const problem = asProblem(error);
  if (problem.code === 'name_taken') return [{ field: 'name', message: problem.message }];
  if (problem.fields.length === 0) return [{ field: '', message: problem.message }];
  return problem.fields.map(({ field, message }) => ({ field, message }));
}

export function create(spec: JobSpec): Promise<Saved> {
  return data(api.POST('/api/v1/jobs', { body: spec }));
}

/** Replaces the job, if it is still at the revision that was read. */
export function replace(job: number, revision: number, spec: JobSpec): Promise<Saved> {
  return data(
    api.PUT('/api/v1/jobs/{job}', {
      params: { path: { job }, header: { 'If-Match': `"${revision}"` } },
      body: spec,
    }),
  );
}

/** Says that it was saved, and what a person should know: a handler that nobody has, fires that can no longer be stopped. */
export function tellSaved(saved: Saved, created: boolean) {
  notifications.show({
    message: say(formWords, created ? 'created' : 'saved', { name: saved.name }),
    autoClose: 4_000,
  });
  for (const message of saved.warnings) notifications.show({ message, color: 'orange', autoClose: 15_000 });
  const still = saved.may_still_start.length;
  if (still > 0) {
    notifications.show({
      message: say(formWords, 'may_still_start', { count: still }),
      color: 'orange',
      autoClose: 8_000,
    });
  }
}

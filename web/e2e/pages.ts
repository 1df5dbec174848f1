import type { Api } from './fixtures';

/** A page to be looked at from all sides. */
export interface PageToVisit {
  name: string;
  /** Its address, from the base. */
  path: (api: Api) => Promise<string> | string;
  /** The key after `g` that leads there. */
  key?: string;
  signedOut?: boolean;
}

interface Items {
  items: { id: string | number; job?: number; name?: string }[];
}

async function jobNamed(api: Api, name: string): Promise<string | number> {
  const { items } = await api.get<Items>(`/jobs?text=${name}&limit=20`);
  const job = items.find((job) => job.name === name);
  if (!job) throw new Error(`no sample job ${name}`);
  return job.id;
}

async function runOf(api: Api, name: string): Promise<string> {
  const run = await api.trigger(Number(await jobNamed(api, name)));
  await api.runIs(run, 'succeeded');
  return run;
}

/** Every page of the console. */
export const pages: readonly PageToVisit[] = [
  { name: 'sign-in', path: () => 'sign-in', signedOut: true },
  { name: 'overview', path: () => '', key: 'o' },
  { name: 'jobs', path: () => 'jobs', key: 'j' },
  ...['summary', 'runs', 'fires', 'versions'].map((tab) => ({
    name: `job: ${tab}`,
    path: async (api: Api) => `jobs/${await jobNamed(api, 'hello')}?tab=${tab}`,
  })),
  { name: 'new job', path: () => 'jobs/new' },
  { name: 'edit job', path: async (api) => `jobs/${await jobNamed(api, 'each-minute')}/edit` },
  { name: 'runs', path: () => 'runs', key: 'r' },
  { name: 'run', path: async (api) => `runs/${await runOf(api, 'on-demand')}` },
  { name: 'parallel run', path: async (api) => `runs/${await runOf(api, 'count-primes')}/subtasks` },
  { name: 'dead letters', path: () => 'dead-letters', key: 'd' },
  { name: 'task groups', path: () => 'groups', key: 't' },
  { name: 'task group', path: async (api) => `groups/${await api.samples()}` },
  { name: 'workers', path: () => 'workers', key: 'w' },
  { name: 'cluster', path: () => 'cluster', key: 'c' },
  { name: 'people', path: () => 'users', key: 'u' },
  { name: 'permissions', path: () => 'users?tab=permissions' },
  { name: 'tokens', path: () => 'tokens?tab=all', key: 'k' },
  { name: 'audit', path: () => 'audit', key: 'a' },
  { name: 'settings', path: () => 'settings', key: 's' },
];

/** Stands while something is fetched for the first time. */
export const LOADING = /^(Loading|加载中)…$/;

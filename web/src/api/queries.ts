import { infiniteQueryOptions, keepPreviousData, queryOptions } from '@tanstack/react-query';
import { api, data, type Schemas } from './client';

/** A page of a list as the API gives it. */
export interface PageOf<Item> {
  items: Item[];
  next_cursor?: string | null | undefined;
  total?: number | null | undefined;
  total_capped?: boolean | undefined;
}

/** How `useInfiniteQuery` walks along the cursors of a list. */
export function paged<Item>(key: readonly unknown[], fetch: (cursor: string | undefined) => Promise<PageOf<Item>>) {
  return infiniteQueryOptions({
    queryKey: key,
    queryFn: ({ pageParam }) => fetch(pageParam),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page: PageOf<Item>) => page.next_cursor ?? undefined,
    placeholderData: keepPreviousData,
  });
}

/** All items of the pages fetched so far. */
export function itemsOf<Item>(pages: { pages: PageOf<Item>[] } | undefined): Item[] {
  return pages?.pages.flatMap((page) => page.items) ?? [];
}

export type Job = Schemas['JobView'];
export type Run = Schemas['RunView'];
export type RunDetail = Schemas['RunDetail'];
export type Group = Schemas['GroupView'];

export interface JobFilter {
  group?: string | undefined;
  text?: string | undefined;
  enabled?: boolean | undefined;
  kind?: Schemas['JobKind'] | undefined;
  label?: string | undefined;
}

export const jobsQuery = (filter: JobFilter = {}, limit = 100) =>
  paged<Job>(['jobs', filter, limit], (cursor) =>
    data(api.GET('/api/v1/jobs', { params: { query: { ...filter, limit, cursor } } })),
  );

/** The same with each job's last 20 runs. */
export const jobsWithOutcomesQuery = (filter: JobFilter = {}, limit = 100) =>
  paged<Job>(['jobs', filter, limit, 'outcomes'], (cursor) =>
    data(api.GET('/api/v1/jobs', { params: { query: { ...filter, include: 'outcomes', limit, cursor } } })),
  );

/** The next fires of all jobs, soonest first. */
export const nextFiresQuery = (group: string | undefined, limit: number) =>
  queryOptions({
    queryKey: ['jobs', 'next', group, limit],
    queryFn: () => data(api.GET('/api/v1/fires/next', { params: { query: { group, limit } } })),
    refetchInterval: 5_000,
    placeholderData: keepPreviousData,
  });

export const jobQuery = (job: string) =>
  queryOptions({
    queryKey: ['job', job],
    queryFn: () => data(api.GET('/api/v1/jobs/{job}', { params: { path: { job: Number(job) } } })),
  });

export const versionsQuery = (job: string) =>
  paged<Job>(['job', job, 'versions'], (cursor) =>
    data(
      api.GET('/api/v1/jobs/{job}/versions', { params: { path: { job: Number(job) }, query: { limit: 50, cursor } } }),
    ),
  );

export const firesQuery = (job: string, state?: Schemas['RunState'][]) =>
  infiniteQueryOptions({
    queryKey: ['fires', job, state],
    queryFn: ({ pageParam }) =>
      data(
        api.GET('/api/v1/jobs/{job}/fires', {
          params: { path: { job: Number(job) }, query: { state, limit: 50, upcoming: 10, cursor: pageParam } },
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });

export interface RunFilter {
  group?: string | undefined;
  job?: number | undefined;
  state?: Schemas['RunState'][] | undefined;
  trigger?: 'schedule' | 'api' | 'retry' | 'misfire' | undefined;
  /** An incarnation. */
  worker?: string | undefined;
  min_lateness?: string | undefined;
  from?: string | undefined;
  to?: string | undefined;
}

export const runsQuery = (filter: RunFilter = {}, limit = 100) =>
  paged<Run>(['runs', filter, limit], (cursor) =>
    data(api.GET('/api/v1/runs', { params: { query: { ...filter, limit, cursor } } })),
  );

export const runQuery = (run: string) =>
  queryOptions({
    queryKey: ['run', run],
    queryFn: () => data(api.GET('/api/v1/runs/{run}', { params: { path: { run } } })),
  });

export const groupsQuery = () =>
  paged<Group>(['groups'], (cursor) => data(api.GET('/api/v1/groups', { params: { query: { limit: 200, cursor } } })));

/** The same with what lives in each, as the servers say. */
export const groupsWithCountsQuery = () =>
  paged<Group>(['groups', 'counts'], (cursor) =>
    data(api.GET('/api/v1/groups', { params: { query: { include: 'counts', limit: 200, cursor } } })),
  );

export const serversQuery = () =>
  queryOptions({
    queryKey: ['servers'],
    queryFn: () => data(api.GET('/api/v1/servers', { params: { query: { limit: 200 } } })),
    refetchInterval: 10_000,
  });

export const shardsQuery = (group?: string) =>
  queryOptions({
    queryKey: ['shards', group],
    queryFn: () => data(api.GET('/api/v1/shards', { params: { query: { group, limit: 500 } } })),
    refetchInterval: 10_000,
  });

export const workersQuery = (group?: string) =>
  queryOptions({
    queryKey: ['workers', group],
    queryFn: () => data(api.GET('/api/v1/workers', { params: { query: { group, limit: 500 } } })),
    refetchInterval: 10_000,
  });

export const aboutQuery = queryOptions({
  queryKey: ['about'],
  queryFn: () => data(api.GET('/api/v1/about')),
  staleTime: 60_000,
});

/** How far back the overview looks. */
export const overviewQuery = (window: string, group?: string) =>
  queryOptions({
    queryKey: ['overview', window, group],
    queryFn: () => data(api.GET('/api/v1/overview', { params: { query: { window, group } } })),
    // Figures are written every few seconds.
    refetchInterval: 5_000,
    placeholderData: keepPreviousData,
  });

export const histogramQuery = (filter: {
  group?: string | undefined;
  job?: number | undefined;
  from?: string | undefined;
  to?: string | undefined;
}) =>
  queryOptions({
    queryKey: ['histogram', filter],
    queryFn: () => data(api.GET('/api/v1/runs/histogram', { params: { query: { ...filter, bars: 80 } } })),
    refetchInterval: 10_000,
    placeholderData: keepPreviousData,
  });

export const handOversQuery = (from: string, group?: string) =>
  queryOptions({
    queryKey: ['handovers', from, group],
    queryFn: () => data(api.GET('/api/v1/shards/handovers', { params: { query: { from, group, limit: 500 } } })),
    refetchInterval: 10_000,
    placeholderData: keepPreviousData,
  });

import { queryOptions } from '@tanstack/react-query';
import { api, data } from '#/api/client';
import { type RunState, runStates } from '#/ui/state';

/** How many of the last runs a row shows. */
const SHOWN = 20;

const ended: RunState[] = runStates.filter((state) => state !== 'planned');

/** The last runs of a job, oldest first. Asked for only by rows in sight, and not more often than every 15 s. */
export const outcomesQuery = (job: number) =>
  queryOptions({
    queryKey: ['outcomes', job],
    queryFn: async () => {
      const page = await data(api.GET('/api/v1/runs', { params: { query: { job, state: ended, limit: SHOWN } } }));
      return page.items.reverse();
    },
    staleTime: 15_000,
    refetchInterval: 15_000,
  });

import { infiniteQueryOptions, keepPreviousData, queryOptions } from '@tanstack/react-query';
import { api, data, type Schemas } from '#/api/client';

export type MapProgress = Schemas['MapProgress'];
export type Subtask = Schemas['Page_SubtaskView']['items'][number];

/** How far the map of a run is. */
export const progressQuery = (run: string) =>
  queryOptions({
    queryKey: ['run', run, 'progress'],
    queryFn: async () => {
      const answer = await data(
        api.GET('/api/v1/runs/{run}/subtasks', { params: { path: { run }, query: { limit: 1 } } }),
      );
      return answer.progress;
    },
    retry: false,
  });

export interface SubtaskFilter {
  key?: string | undefined;
  state?: 'failed' | undefined;
}

/** Subtasks by their order of emission; the key of the query is apart from the run's, since a run changes more often than anybody scrolls. */
export const subtasksQuery = (run: string, filter: SubtaskFilter, limit = 200) =>
  infiniteQueryOptions({
    queryKey: ['subtasks', run, filter],
    queryFn: ({ pageParam }) =>
      data(
        api.GET('/api/v1/runs/{run}/subtasks', {
          params: { path: { run }, query: { ...filter, limit, cursor: pageParam } },
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    placeholderData: keepPreviousData,
    retry: false,
  });

import { QueryClient } from '@tanstack/react-query';
import { asProblem } from '#/api/problem';

/** Tries after a failure that may pass: one console of three being killed is bridged without a word. */
const RETRIES = 4;

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      retry: (failures, error) => failures < RETRIES && asProblem(error).isPassing,
      retryDelay: (failures) => Math.min(300 * 2 ** failures, 5_000),
      refetchOnWindowFocus: true,
    },
    mutations: { retry: false },
  },
});

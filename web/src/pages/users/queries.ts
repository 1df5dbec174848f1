import { queryOptions } from '@tanstack/react-query';
import { api, data, type Schemas } from '#/api/client';
import { paged } from '#/api/queries';

export type User = Schemas['UserView'];
export type Grant = Schemas['GrantView'];

export const usersQuery = () =>
  paged<User>(['users'], (cursor) => data(api.GET('/api/v1/users', { params: { query: { limit: 500, cursor } } })));

/** Grants on a task group, or those of a person. */
export interface Side {
  group?: string;
  user?: string;
}

export const grantsQuery = (side: Side) =>
  queryOptions({
    queryKey: ['grants', side],
    queryFn: () => data(api.GET('/api/v1/grants', { params: { query: side } })),
  });

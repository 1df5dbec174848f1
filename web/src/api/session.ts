import { queryOptions, useQuery } from '@tanstack/react-query';
import { api, data, type Schemas, setCsrfToken } from './client';
import { ProblemError } from './problem';

export type Role = Schemas['Role'];

/** Roles from the least to the most. */
export const roles: readonly Role[] = ['viewer', 'operator', 'developer', 'owner'];

export interface Session {
  user: Schemas['UserView'];
  administrator: boolean;
  grants: Schemas['GrantView'][];
  expiresAt: string;
}

/** Who is signed in; null for nobody. */
export const sessionQuery = queryOptions({
  queryKey: ['session'],
  queryFn: async (): Promise<Session | null> => {
    try {
      const session = await data(api.GET('/api/v1/sessions/current'));
      setCsrfToken(session.csrf_token);
      const me = await data(api.GET('/api/v1/me'));
      return {
        user: session.user,
        administrator: me.administrator,
        grants: me.grants,
        expiresAt: session.expires_at,
      };
    } catch (error) {
      if (error instanceof ProblemError && error.status === 401) return null;
      throw error;
    }
  },
  staleTime: 5 * 60_000,
});

/** Whether a person with `session` has at least `role` on `group`. */
export function may(session: Session | null | undefined, role: Role, group: string): boolean {
  if (!session) return false;
  if (session.administrator) return true;
  const grant = session.grants.find((grant) => grant.group === group);
  return grant !== undefined && roles.indexOf(grant.role) >= roles.indexOf(role);
}

export interface Can {
  /** Whether one has at least `role` on `group`. */
  (role: Role, group: string | undefined): boolean;
  /** Whether one may do what concerns the whole installation. */
  administrator: boolean;
  /** Whether one has at least `role` on some group. */
  anywhere: (role: Role) => boolean;
}

/** What the person signed in may do. The API refuses the rest anyway: this is for not offering it. */
export function useCan(): Can {
  const { data: session } = useQuery(sessionQuery);
  const can = (role: Role, group: string | undefined) => group !== undefined && may(session, role, group);
  return Object.assign(can, {
    administrator: session?.administrator ?? false,
    anywhere: (role: Role) =>
      session?.administrator === true || (session?.grants.some((grant) => may(session, role, grant.group)) ?? false),
  });
}

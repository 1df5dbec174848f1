/** Where the object of an audit entry is shown. */
export type Place =
  | { to: '/jobs/$job'; params: { job: string } }
  | { to: '/runs/$run'; params: { run: string } }
  | { to: '/groups/$group'; params: { group: string } }
  | { to: '/users'; search: { tab?: string; group?: string; text?: string } }
  | { to: '/tokens' };

/** The page of a target such as `job/17`, `jobs/17/runs` or `grant/101-1-2-6601/ann`; undefined where there is none. */
export function placeOf(target: string): Place | undefined {
  const [kind, first] = target.split('/');
  if (!first) return undefined;
  switch (kind) {
    case 'job':
    case 'jobs':
      return /^\d+$/.test(first) ? { to: '/jobs/$job', params: { job: first } } : undefined;
    case 'run':
    case 'runs':
      return { to: '/runs/$run', params: { run: first } };
    case 'dead-letters':
      return first === 'retry' || first === 'discard' ? undefined : { to: '/runs/$run', params: { run: first } };
    case 'group':
    case 'groups':
      return { to: '/groups/$group', params: { group: first } };
    case 'grant':
      return { to: '/users', search: { tab: 'permissions', group: first } };
    case 'user':
    case 'users':
      return { to: '/users', search: { text: first } };
    case 'token':
    case 'tokens':
      return { to: '/tokens' };
    default:
      return undefined;
  }
}

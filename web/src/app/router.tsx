import type { QueryClient } from '@tanstack/react-query';
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  type ErrorComponentProps,
  lazyRouteComponent,
  Outlet,
  redirect,
} from '@tanstack/react-router';
import { basePath } from '#/api/client';
import { ProblemError } from '#/api/problem';
import { sessionQuery } from '#/api/session';
import { Failed, Loading } from '#/ui/states';
import { queries } from './queries';
import { parseSearch, stringifySearch, texts } from './search';
import { Shell } from './shell';

const root = createRootRouteWithContext<{ queries: QueryClient }>()({ component: Outlet });

const signIn = createRoute({
  getParentRoute: () => root,
  path: '/sign-in',
  validateSearch: (search: Record<string, unknown>) => texts(search, 'next', 'error'),
  component: lazyRouteComponent(() => import('#/pages/sign-in/page'), 'SignInPage'),
});

/** Everything behind the sign-in. */
const signedIn = createRoute({
  getParentRoute: () => root,
  id: 'signed-in',
  beforeLoad: async ({ context, location }) => {
    const session = await context.queries.ensureQueryData(sessionQuery);
    if (!session) {
      const next = location.href === '/' ? undefined : location.href;
      throw redirect({ to: '/sign-in', search: next ? { next } : {} });
    }
  },
  component: Shell,
});

const page = { getParentRoute: () => signedIn } as const;

const overview = createRoute({
  ...page,
  path: '/',
  validateSearch: (search: Record<string, unknown>) => texts(search, 'window', 'group'),
  component: lazyRouteComponent(() => import('#/pages/overview/page'), 'OverviewPage'),
});

const jobs = createRoute({
  ...page,
  path: '/jobs',
  validateSearch: (search: Record<string, unknown>) => texts(search, 'text', 'group', 'enabled', 'kind', 'label'),
  component: lazyRouteComponent(() => import('#/pages/jobs/page'), 'JobsPage'),
});

const job = createRoute({
  ...page,
  path: '/jobs/$job',
  validateSearch: (search: Record<string, unknown>) => texts(search, 'tab', 'state'),
  component: lazyRouteComponent(() => import('#/pages/job/page'), 'JobPage'),
});

const newJob = createRoute({
  ...page,
  path: '/jobs/new',
  validateSearch: (search: Record<string, unknown>) => texts(search, 'copy', 'group'),
  component: lazyRouteComponent(() => import('#/pages/job-form/page'), 'NewJobPage'),
});

const editJob = createRoute({
  ...page,
  path: '/jobs/$job/edit',
  component: lazyRouteComponent(() => import('#/pages/job-form/page'), 'EditJobPage'),
});

const runs = createRoute({
  ...page,
  path: '/runs',
  validateSearch: (search: Record<string, unknown>) =>
    texts(search, 'group', 'job', 'state', 'range', 'from', 'to', 'made', 'late', 'worker'),
  component: lazyRouteComponent(() => import('#/pages/runs/page'), 'RunsPage'),
});

const run = createRoute({
  ...page,
  path: '/runs/$run',
  validateSearch: (search: Record<string, unknown>) => texts(search, 'attempt', 'find'),
  component: lazyRouteComponent(() => import('#/pages/run/page'), 'RunPage'),
});

const subtasks = createRoute({
  ...page,
  path: '/runs/$run/subtasks',
  validateSearch: (search: Record<string, unknown>) => texts(search, 'state', 'key'),
  component: lazyRouteComponent(() => import('#/pages/subtasks/page'), 'SubtasksPage'),
});

const groups = createRoute({
  ...page,
  path: '/groups',
  validateSearch: (search: Record<string, unknown>) => texts(search, 'text'),
  component: lazyRouteComponent(() => import('#/pages/groups/page'), 'GroupsPage'),
});

const group = createRoute({
  ...page,
  path: '/groups/$group',
  component: lazyRouteComponent(() => import('#/pages/groups/group'), 'GroupPage'),
});

const cluster = createRoute({
  ...page,
  path: '/cluster',
  validateSearch: (search: Record<string, unknown>) => texts(search, 'group', 'window'),
  component: lazyRouteComponent(() => import('#/pages/cluster/page'), 'ClusterPage'),
});

const workers = createRoute({
  ...page,
  path: '/workers',
  validateSearch: (search: Record<string, unknown>) => texts(search, 'text', 'group', 'room', 'worker'),
  component: lazyRouteComponent(() => import('#/pages/workers/page'), 'WorkersPage'),
});

const deadLetters = createRoute({
  ...page,
  path: '/dead-letters',
  validateSearch: (search: Record<string, unknown>) => texts(search, 'group', 'job', 'from', 'to'),
  component: lazyRouteComponent(() => import('#/pages/dead-letters/page'), 'DeadLettersPage'),
});

const users = createRoute({
  ...page,
  path: '/users',
  validateSearch: (search: Record<string, unknown>) => texts(search, 'tab', 'text', 'group'),
  component: lazyRouteComponent(() => import('#/pages/users/page'), 'UsersPage'),
});

const tokens = createRoute({
  ...page,
  path: '/tokens',
  validateSearch: (search: Record<string, unknown>) => texts(search, 'tab', 'group'),
  component: lazyRouteComponent(() => import('#/pages/tokens/page'), 'TokensPage'),
});

const audit = createRoute({
  ...page,
  path: '/audit',
  validateSearch: (search: Record<string, unknown>) =>
    texts(search, 'group', 'target', 'actor', 'action', 'outcome', 'range', 'entry'),
  component: lazyRouteComponent(() => import('#/pages/audit/page'), 'AuditPage'),
});

const settings = createRoute({
  ...page,
  path: '/settings',
  component: lazyRouteComponent(() => import('#/pages/settings/page'), 'SettingsPage'),
});

function Problem({ error, reset }: ErrorComponentProps) {
  return <Failed error={error} retry={reset} />;
}

function Nothing() {
  return <Failed error={new ProblemError(404, { code: 'no_such_page' })} />;
}

export const router = createRouter({
  routeTree: root.addChildren([
    signIn,
    signedIn.addChildren([
      overview,
      jobs,
      newJob,
      job,
      editJob,
      runs,
      run,
      subtasks,
      groups,
      group,
      cluster,
      workers,
      deadLetters,
      users,
      tokens,
      audit,
      settings,
    ]),
  ]),
  basepath: basePath(),
  context: { queries },
  parseSearch,
  stringifySearch,
  defaultPreload: 'intent',
  defaultPendingComponent: Loading,
  defaultErrorComponent: Problem,
  defaultNotFoundComponent: Nothing,
  scrollRestoration: true,
});

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}

import { SegmentedControl } from '@mantine/core';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { lazy, type ReactNode, Suspense } from 'react';
import type { Schemas } from '#/api/client';
import { useStats } from '#/api/live';
import { groupsQuery, itemsOf, nextFiresQuery, overviewQuery, runsQuery } from '#/api/queries';
import { useWords } from '#/i18n';
import { useNow } from '#/lib/now';
import { count } from '#/lib/time';
import { GroupSelect } from '#/ui/group';
import { Figure, Page, Panel } from '#/ui/page';
import { type RunState, StateBadge } from '#/ui/state';
import { Empty, Failed, Loading } from '#/ui/states';
import { Duration, Lateness, Time } from '#/ui/time';
import classes from './page.module.css';
import { Slo } from './slo';
import { overviewWords } from './words';

const Charts = lazy(() => import('./charts'));

const route = getRouteApi('/signed-in/');

type Overview = Schemas['Overview'];

export const windows = ['15m', '1h', '24h', '7d', '30d'] as const;
type Window = (typeof windows)[number];

/** Seconds over which the rate is averaged: a single second says little on a quiet installation. */
const RATE_SECONDS = 10;

/** Lines of each list. */
const SHOWN = 7;

const trouble: RunState[] = ['failed', 'dead', 'timed_out', 'missed'];

export function OverviewPage() {
  const say = useWords(overviewWords);
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const window: Window = windows.find((window) => window === search.window) ?? '1h';
  const overview = useQuery(overviewQuery(window, search.group));
  const groups = useInfiniteQuery(groupsQuery());
  const change = (part: typeof search) =>
    void navigate({ search: (before) => ({ ...before, ...part }), replace: true });
  const options = itemsOf(groups.data).map((group) => ({ value: group.id, label: group.name }));
  return (
    <Page
      title={say('title')}
      actions={
        <>
          {options.length > 1 && <GroupSelect value={search.group} onChange={(group) => change({ group })} />}
          <SegmentedControl
            size="xs"
            aria-label={say('window')}
            data={windows.map((window) => ({ value: window, label: say(`window.${window}`) }))}
            value={window}
            onChange={(window) => change({ window: window === '1h' ? undefined : window })}
          />
        </>
      }
    >
      {overview.isPending ? (
        <Loading />
      ) : overview.isError && !overview.data ? (
        <Failed error={overview.error} retry={() => void overview.refetch()} />
      ) : (
        overview.data && <Content overview={overview.data} window={window} group={search.group} />
      )}
    </Page>
  );
}

function Content({ overview, window, group }: { overview: Overview; window: Window; group: string | undefined }) {
  const say = useWords(overviewWords);
  const within = say(`within.${window}`);
  return (
    <>
      <Figures overview={overview} inWindow={within} />
      <div className={classes.top}>
        <Panel className={classes.charts}>
          <Suspense fallback={<Loading compact />}>
            <Charts overview={overview} />
          </Suspense>
        </Panel>
        <Slo slo={overview.slo} />
      </div>
      <div className={classes.columns}>
        <NextFires group={group} />
        <List
          title={say('worst')}
          aside={<span className="muted">{within}</span>}
          empty={say('no_worst')}
          items={overview.worst.slice(0, SHOWN).map((run) => ({
            key: run.id,
            link: (
              <Link to="/runs/$run" params={{ run: run.id }} className="plain ellipsis">
                {run.job_name ?? run.id}
              </Link>
            ),
            end: (
              <>
                <span className="muted">
                  <Time at={run.fire_time} show="relative" />
                </span>
                <Lateness of={run.late_ms} />
              </>
            ),
          }))}
        />
        <Trouble group={group} />
      </div>
      <Rooms rooms={overview.rooms} />
    </>
  );
}

/** Over the step that is not over and the one before it. */
function startsPerSecond({ points, to }: Overview): number {
  const newest = points.slice(-2);
  const [first] = newest;
  if (!first) return 0;
  const seconds = Math.max(1, (Date.parse(to) - Date.parse(first.at)) / 1000);
  return newest.reduce((sum, point) => sum + point.started, 0) / seconds;
}

function Figures({ overview, inWindow }: { overview: Overview; inWindow: string }) {
  const say = useWords(overviewWords);
  const stats = useStats();
  const last = stats.at(-1) ?? overview.now;
  const lately = stats.slice(-RATE_SECONDS);
  // On a page just opened few seconds were heard of: the newest steps of the window know more.
  const rate =
    lately.length < RATE_SECONDS
      ? startsPerSecond(overview)
      : lately.reduce((sum, second) => sum + second.fires_per_second, 0) / lately.length;
  const { total } = overview;
  const micros = (value: number | null | undefined) =>
    value === null || value === undefined ? undefined : value / 1000;
  return (
    <Panel>
      <div className={classes.figures}>
        <Figure name={say('fires')} hint={say(lately.length < RATE_SECONDS ? 'last_steps' : 'last_seconds')}>
          {rate >= 10 ? count(Math.round(rate)) : rate.toFixed(1)}
        </Figure>
        <Figure name={say('running')} hint={say('now')}>
          {count(last.running)}
        </Figure>
        <Figure name={say('waiting')} hint={say('waiting_hint')}>
          {count(last.waiting)}
        </Figure>
        <Figure name={say('p50')} hint={inWindow}>
          <Duration of={micros(total.lateness_p50_us)} />
        </Figure>
        <Figure name={say('p99')} hint={inWindow}>
          <Duration of={micros(total.lateness_p99_us)} />
        </Figure>
        <Figure name={say('max')} hint={inWindow}>
          <Duration of={micros(total.lateness_max_us)} />
        </Figure>
        <Figure name={say('started')} hint={inWindow}>
          {count(total.started)}
        </Figure>
        <Figure name={say('failed')} hint={inWindow}>
          <Bad count={total.failed} />
        </Figure>
        <Figure name={say('missed')} hint={inWindow}>
          <Bad count={total.missed} />
        </Figure>
        <Figure name={say('dead')} hint={say('dead_hint')}>
          <Link to="/runs" search={{ state: 'dead,timed_out' }} className="plain">
            <Bad count={overview.dead_letters} capped={overview.dead_letters_capped} />
          </Link>
        </Figure>
      </div>
    </Panel>
  );
}

/** A count that should be zero. */
function Bad({ count: value, capped = false }: { count: number; capped?: boolean }) {
  return <span style={{ color: value > 0 ? 'var(--s-red)' : undefined }}>{count(value, capped)}</span>;
}

interface Item {
  key: string;
  link: ReactNode;
  end: ReactNode;
}

function List({
  title,
  aside,
  items,
  empty,
}: {
  title: string;
  aside?: ReactNode;
  items: readonly Item[];
  empty: string;
}) {
  return (
    <Panel title={title} flush actions={aside}>
      {items.length === 0 ? (
        <Empty title={empty} compact />
      ) : (
        <ul className={classes.list}>
          {items.map((item) => (
            <li key={item.key}>
              {item.link}
              <span className={classes.end}>{item.end}</span>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

function NextFires({ group }: { group: string | undefined }) {
  const say = useWords(overviewWords);
  const now = useNow();
  // One more than is shown, for the one whose time comes between two looks.
  const list = useQuery(nextFiresQuery(group, SHOWN + 1));
  if (list.isPending || (list.isError && !list.data)) {
    return (
      <Panel title={say('next')} flush>
        {list.isPending ? <Loading compact /> : <Failed error={list.error} retry={() => void list.refetch()} compact />}
      </Panel>
    );
  }
  return (
    <List
      title={say('next')}
      empty={say('no_next')}
      items={(list.data?.items ?? [])
        .filter((fire) => Date.parse(fire.fire_time) > now - 1_000)
        .slice(0, SHOWN)
        .map((fire) => ({
          key: String(fire.job),
          link: (
            <Link to="/jobs/$job" params={{ job: String(fire.job) }} className="plain ellipsis">
              {fire.job_name}
            </Link>
          ),
          end: (
            <span className="muted">
              <Time at={fire.fire_time} show="relative" />
            </span>
          ),
        }))}
    />
  );
}

function Trouble({ group }: { group: string | undefined }) {
  const say = useWords(overviewWords);
  const list = useInfiniteQuery(runsQuery({ state: trouble, group }, SHOWN));
  if (list.isPending || (list.isError && !list.data)) {
    return (
      <Panel title={say('trouble')} flush>
        {list.isPending ? <Loading compact /> : <Failed error={list.error} retry={() => void list.refetch()} compact />}
      </Panel>
    );
  }
  return (
    <List
      title={say('trouble')}
      aside={
        <Link to="/runs" search={{ state: trouble.join(','), group }}>
          {say('all_trouble')}
        </Link>
      }
      empty={say('no_trouble')}
      items={itemsOf(list.data)
        .slice(0, SHOWN)
        .map((run) => ({
          key: run.id,
          link: (
            <Link to="/runs/$run" params={{ run: run.id }} className="plain ellipsis">
              {run.job_name ?? run.id}
            </Link>
          ),
          end: (
            <>
              <span className="muted">
                <Time at={run.fire_time} show="relative" />
              </span>
              <StateBadge state={run.state} {...(run.reason ? { title: run.reason.detail } : {})} />
            </>
          ),
        }))}
    />
  );
}

function Rooms({ rooms }: { rooms: Overview['rooms'] }) {
  const say = useWords(overviewWords);
  return (
    <Panel title={say('rooms')} flush actions={<Link to="/cluster">{say('to_cluster')}</Link>}>
      <ul className={`${classes.list} ${classes.rooms}`}>
        {rooms.map((room) => {
          const silent = room.servers - room.servers_answering;
          return (
            <li key={room.room} className={classes.room}>
              <strong>{room.room || say('no_room')}</strong>
              <span>{say('servers', { count: room.servers })}</span>
              <span className={`muted ${classes.roomLine}`}>
                {say('shards', { owned: room.shards_owned, held: room.shards_held })} ·{' '}
                {say('workers', { count: room.workers })}
              </span>
              {silent > 0 && (
                <span className={`${classes.silent} ${classes.roomLine}`}>
                  {say('not_answering', { count: silent })}
                </span>
              )}
              {room.servers_draining > 0 && (
                <span className={classes.roomLine}>{say('draining', { count: room.servers_draining })}</span>
              )}
            </li>
          );
        })}
      </ul>
    </Panel>
  );
}

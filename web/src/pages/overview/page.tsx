import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { lazy, Suspense, useMemo } from 'react';
import { type Stats, useStats } from '#/api/live';
import { itemsOf, jobsQuery, runsQuery, serversQuery } from '#/api/queries';
import { useWords } from '#/i18n';
import { useNow } from '#/lib/now';
import { count } from '#/lib/time';
import { Figure, Page, Panel } from '#/ui/page';
import { type RunState, StateBadge } from '#/ui/state';
import { Empty, Failed, Loading } from '#/ui/states';
import { Duration, Lateness, Time } from '#/ui/time';
import classes from './page.module.css';
import { overviewWords } from './words';

const Charts = lazy(() => import('./charts'));

/** Seconds over which the figures look back. */
const WINDOW = 60;

const SHOWN = 8;

const trouble: RunState[] = ['failed', 'dead', 'timed_out', 'missed'];

export function OverviewPage() {
  const say = useWords(overviewWords);
  const stats = useStats();
  return (
    <Page title={say('title')}>
      <Figures stats={stats} />
      <Panel>
        <Suspense fallback={<Loading compact />}>
          <Charts stats={stats} />
        </Suspense>
      </Panel>
      <div className={classes.columns}>
        <NextFires />
        <Trouble />
        <Rooms />
      </div>
    </Page>
  );
}

function Figures({ stats }: { stats: readonly Stats[] }) {
  const say = useWords(overviewWords);
  const last = stats.at(-1);
  const minute = stats.slice(-WINDOW);
  const sum = (pick: (stats: Stats) => number) => minute.reduce((sum, stats) => sum + pick(stats), 0);
  const most = (pick: (stats: Stats) => number) => minute.reduce((most, stats) => Math.max(most, pick(stats)), 0);
  const fires = sum((stats) => stats.fires_per_second);
  const p50 = fires > 0 ? sum((stats) => stats.lateness_p50_us * stats.fires_per_second) / fires / 1000 : undefined;
  const perSecond = (total: number) =>
    minute.length === 0 ? '–' : (total / minute.length).toFixed(total / minute.length < 10 ? 1 : 0);
  return (
    <Panel>
      <div className={classes.figures}>
        <Figure name={say('fires')} hint={say('last_minute')}>
          {perSecond(fires)}
        </Figure>
        <Figure name={say('p50')} hint={say('last_minute')}>
          <Duration of={p50} />
        </Figure>
        <Figure name={say('p99')} hint={say('last_minute')}>
          <Duration of={fires > 0 ? most((stats) => stats.lateness_p99_us) / 1000 : undefined} />
        </Figure>
        <Figure name={say('max')} hint={say('last_minute')}>
          {fires > 0 ? <Lateness of={most((stats) => stats.lateness_max_us) / 1000} /> : '–'}
        </Figure>
        <Figure name={say('running')} hint={say('now')}>
          {last ? count(last.running) : '–'}
        </Figure>
        <Figure name={say('waiting')} hint={say('now')}>
          {last ? count(last.waiting) : '–'}
        </Figure>
        <Figure name={say('failed')} hint={say('last_minute')}>
          {perSecond(sum((stats) => stats.failed_per_second))}
        </Figure>
      </div>
    </Panel>
  );
}

function NextFires() {
  const say = useWords(overviewWords);
  const now = useNow();
  const list = useInfiniteQuery({ ...jobsQuery({ enabled: true }, 200), refetchInterval: 10_000 });
  const next = useMemo(
    () =>
      itemsOf(list.data)
        .flatMap((job) => {
          const at = job.next_fires.find((at) => Date.parse(at) > now);
          return at ? [{ job, at }] : [];
        })
        .sort((one, other) => one.at.localeCompare(other.at))
        .slice(0, SHOWN),
    [list.data, now],
  );
  return (
    <Panel title={say('next')} flush>
      {list.isPending ? (
        <Loading compact />
      ) : list.isError && !list.data ? (
        <Failed error={list.error} retry={() => void list.refetch()} compact />
      ) : next.length === 0 ? (
        <Empty title={say('no_next')} compact />
      ) : (
        <ul className={classes.list}>
          {next.map(({ job, at }) => (
            <li key={`${job.id} ${at}`}>
              <Link to="/jobs/$job" params={{ job: String(job.id) }} className="plain ellipsis">
                {job.name}
              </Link>
              <span className="muted">
                <Time at={at} show="relative" />
              </span>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

function Trouble() {
  const say = useWords(overviewWords);
  const list = useInfiniteQuery(runsQuery({ state: trouble }, SHOWN));
  const runs = itemsOf(list.data);
  return (
    <Panel
      title={say('trouble')}
      flush
      actions={
        <Link to="/runs" search={{ state: trouble.join(',') }}>
          {say('all_trouble')}
        </Link>
      }
    >
      {list.isPending ? (
        <Loading compact />
      ) : list.isError && !list.data ? (
        <Failed error={list.error} retry={() => void list.refetch()} compact />
      ) : runs.length === 0 ? (
        <Empty title={say('no_trouble')} compact />
      ) : (
        <ul className={classes.list}>
          {runs.slice(0, SHOWN).map((run) => (
            <li key={run.id}>
              <Link to="/runs/$run" params={{ run: run.id }} className="plain ellipsis">
                {run.job_name ?? run.id}
              </Link>
              <span className={classes.end}>
                <span className="muted">
                  <Time at={run.fire_time} show="relative" />
                </span>
                <StateBadge state={run.state} title={run.reason?.detail} />
              </span>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

function Rooms() {
  const say = useWords(overviewWords);
  const servers = useQuery(serversQuery());
  const rooms = useMemo(() => {
    const rooms = new Map<
      string,
      { name: string; servers: number; silent: number; owned: number; held: number; workers: number }
    >();
    for (const server of servers.data?.items ?? []) {
      const room = rooms.get(server.room) ?? {
        name: server.room,
        servers: 0,
        silent: 0,
        owned: 0,
        held: 0,
        workers: 0,
      };
      room.servers += 1;
      room.silent += server.answers ? 0 : 1;
      room.owned += server.shards_owned;
      room.held += server.shards_held;
      room.workers += server.workers;
      rooms.set(server.room, room);
    }
    return [...rooms.values()].sort((one, other) => one.name.localeCompare(other.name));
  }, [servers.data]);
  return (
    <Panel title={say('rooms')} flush>
      {servers.isPending ? (
        <Loading compact />
      ) : servers.isError && !servers.data ? (
        <Failed error={servers.error} retry={() => void servers.refetch()} compact />
      ) : (
        <ul className={classes.list}>
          {rooms.map((room) => (
            <li key={room.name} className={classes.room}>
              <strong>{room.name}</strong>
              <span>{say('servers', { count: room.servers })}</span>
              <span className="muted">
                {say('shards', { owned: room.owned, held: room.held })} · {say('workers', { count: room.workers })}
              </span>
              {room.silent > 0 && (
                <span className={classes.silent}>{say('not_answering', { count: room.silent })}</span>
              )}
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

import { Button, Switch } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconAlertTriangle, IconCheck, IconCircleDashed, IconRefresh } from '@tabler/icons-react';
import { useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useCallback, useEffect } from 'react';
import { api, data } from '#/api/client';
import { asProblem } from '#/api/problem';
import { type RunDetail, runQuery } from '#/api/queries';
import { useCan } from '#/api/session';
import { useWords } from '#/i18n';
import { count } from '#/lib/time';
import { Confirm } from '#/ui/confirm';
import { FilterBox } from '#/ui/filter';
import { Page, Panel } from '#/ui/page';
import { isFinal, StateBadge, ToneBadge } from '#/ui/state';
import { Empty, Failed, Loading } from '#/ui/states';
import { type Column, Table } from '#/ui/table';
import { tell } from '#/ui/tell';
import { Time } from '#/ui/time';
import classes from './page.module.css';
import { Progress } from './progress';
import { type MapProgress, progressQuery, type Subtask, subtasksQuery } from './queries';
import { subtasksWords } from './words';

const route = getRouteApi('/signed-in/runs/$run/subtasks');

/** While a map runs its progress is looked at this often. */
const LOOK_MS = 1_000;

export function SubtasksPage() {
  const { run: id } = route.useParams();
  const run = useQuery({
    ...runQuery(id),
    refetchInterval: (query) => (query.state.data && isFinal(query.state.data.state) ? false : 3_000),
  });
  if (run.isPending) return <Loading />;
  if (run.isError && !run.data) return <Failed error={run.error} retry={() => void run.refetch()} />;
  return <SubtasksView run={run.data} />;
}

function SubtasksView({ run }: { run: RunDetail }) {
  const say = useWords(subtasksWords);
  const queries = useQueryClient();
  const over = isFinal(run.state);
  const progress = useQuery({
    ...progressQuery(run.id),
    refetchInterval: over ? false : LOOK_MS,
    enabled: Boolean(run.started_at),
  });
  // The end of the run is the last word on its subtasks.
  // biome-ignore lint/correctness/useExhaustiveDependencies: the end is what it depends on
  useEffect(() => {
    if (over) void queries.invalidateQueries({ queryKey: ['subtasks', run.id] });
  }, [over, run.attempt, run.id, queries]);

  const none = progress.isError && asProblem(progress.error).code === 'no_subtasks';
  const map = progress.data;
  return (
    <Page
      title={say('title', { job: run.job_name ?? String(run.job) })}
      fill
      crumbs={[
        { label: say('runs'), to: '/runs' },
        ...(run.job_name ? [{ label: run.job_name, to: `/jobs/${run.job}` }] : []),
        { label: run.id, to: `/runs/${run.id}` },
        { label: say('subtasks') },
      ]}
      aside={<StateBadge state={run.state} />}
      subtitle={<Time at={run.fire_time} />}
      actions={
        <>
          <Button
            variant="default"
            renderRoot={(props) => <Link to="/runs/$run" params={{ run: run.id }} {...props} />}
          >
            {say('to_run')}
          </Button>
          {map && <Rerun run={run} progress={map} />}
        </>
      }
    >
      {none && over ? (
        <Empty title={say('not_parallel')}>{say('not_parallel_hint')}</Empty>
      ) : none || !run.started_at ? (
        <Empty title={say('not_begun')}>{say('not_begun_hint')}</Empty>
      ) : progress.isPending ? (
        <Loading />
      ) : !map ? (
        <Failed error={progress.error} retry={() => void progress.refetch()} />
      ) : (
        <>
          <div className={classes.columns}>
            <Panel title={say('progress')}>
              <Progress progress={map} startedAt={run.started_at} finishedAt={over ? run.finished_at : undefined} />
            </Panel>
            <Panel title={say('workers')}>
              <Shares progress={map} />
            </Panel>
          </div>
          <List run={run.id} failed={map.failed} live={!over} />
        </>
      )}
    </Page>
  );
}

/** What each worker did and does. */
function Shares({ progress }: { progress: MapProgress }) {
  const say = useWords(subtasksWords);
  const most = Math.max(1, ...progress.workers.map((worker) => worker.done + worker.running));
  if (progress.workers.length === 0) return <span className="muted">{say('no_workers')}</span>;
  return (
    <ul className={classes.shares}>
      {progress.workers.map((worker) => (
        <li key={worker.name}>
          <span className={classes.shareHead}>
            <strong>{worker.name}</strong>
            <span className="muted num">
              {say('share', { done: count(worker.done), running: count(worker.running) })}
            </span>
          </span>
          <span className={classes.shareBar}>
            <span style={{ width: `${(worker.done / most) * 100}%` }} data-part="done" />
            <span style={{ width: `${(worker.running / most) * 100}%` }} data-part="running" />
          </span>
        </li>
      ))}
    </ul>
  );
}

function Rerun({ run, progress }: { run: RunDetail; progress: MapProgress }) {
  const say = useWords(subtasksWords);
  const can = useCan();
  const queries = useQueryClient();
  const [asking, dialog] = useDisclosure(false);
  if (progress.failed === 0 || !isFinal(run.state) || run.state === 'succeeded' || !can('operator', run.group)) {
    return null;
  }
  return (
    <>
      <Button leftSection={<IconRefresh size={14} />} onClick={dialog.open}>
        {say('rerun')}
      </Button>
      <Confirm
        opened={asking}
        onClose={dialog.close}
        title={say('rerun_title')}
        verb={say('rerun')}
        onConfirm={async () => {
          const retried = await data(
            api.POST('/api/v1/runs/{run}/retry', {
              params: { path: { run: run.id } },
              body: { failed_subtasks_only: true },
            }),
          );
          tell(say('rerun_done', { number: retried.next_attempt }));
          await queries.invalidateQueries({ queryKey: ['run', run.id] });
        }}
      >
        {say('rerun_text', { number: run.attempt + 1 })}
      </Confirm>
    </>
  );
}

/** Subtasks: those that failed first, then all, searched by key. */
function List({ run, failed, live }: { run: string; failed: number; live: boolean }) {
  const say = useWords(subtasksWords);
  const search = route.useSearch();
  const navigate = route.useNavigate();
  // Without a choice the failed ones come first: they are what one came for.
  const onlyFailed = search.state === 'failed' || (search.state === undefined && failed > 0);
  const filter = { key: search.key, state: onlyFailed ? ('failed' as const) : undefined };
  const list = useInfiniteQuery({
    ...subtasksQuery(run, filter),
    // Only while the first page is all there is: reading many pages anew each second would be too much.
    refetchInterval: (query) => (live && (query.state.data?.pages.length ?? 0) <= 1 ? 2_000 : false),
  });
  const subtasks = list.data?.pages.flatMap((page) => page.items) ?? [];
  const onKey = useCallback(
    (key: string) => void navigate({ search: (before) => ({ ...before, key: key || undefined }), replace: true }),
    [navigate],
  );
  const columns: (Column<Subtask> | false)[] = [
    { id: 'state', header: say('state'), width: 118, cell: (subtask) => <SubtaskState state={subtask.state} /> },
    {
      id: 'key',
      header: say('key'),
      width: 220,
      cell: (subtask) => <span className="mono">{subtask.key || '–'}</span>,
    },
    {
      id: 'index',
      header: say('index'),
      width: 100,
      align: 'right',
      from: 560,
      cell: (subtask) => <span className="num">{count(Number(subtask.index))}</span>,
    },
    {
      id: 'tries',
      header: say('tries'),
      width: 100,
      align: 'right',
      from: 800,
      cell: (subtask) => <span className="num">{subtask.attempt}</span>,
    },
    // Only those that run have one.
    subtasks.some((subtask) => subtask.worker) && {
      id: 'worker',
      header: say('worker'),
      width: 130,
      from: 900,
      cell: (subtask) => subtask.worker ?? '–',
    },
    {
      id: 'error',
      header: onlyFailed ? say('error') : say('payload'),
      from: 480,
      cell: (subtask) =>
        subtask.error ? (
          <span className={classes.error} title={subtask.error}>
            {subtask.error}
          </span>
        ) : (
          <span className="mono muted">{JSON.stringify(subtask.payload)}</span>
        ),
    },
  ];
  return (
    <Panel
      title={onlyFailed ? say('failures') : say('all')}
      flush
      fill
      actions={
        <>
          <div className={classes.search}>
            <FilterBox value={search.key ?? ''} onChange={onKey} placeholder={say('search')} />
          </div>
          <Switch
            size="xs"
            label={say('only_failed')}
            checked={onlyFailed}
            onChange={(event) => {
              const state = event.currentTarget.checked ? 'failed' : 'all';
              void navigate({ search: (before) => ({ ...before, state }), replace: true });
            }}
          />
        </>
      }
    >
      {list.isPending ? (
        <Loading compact />
      ) : list.isError && !list.data ? (
        <Failed error={list.error} retry={() => void list.refetch()} compact />
      ) : (
        <Table
          label={onlyFailed ? say('failures') : say('all')}
          columns={columns.filter((column) => column !== false)}
          rows={subtasks}
          rowKey={(subtask) => subtask.index}
          more={list}
          height="fill"
          rowHeight={36}
          empty={<Empty title={onlyFailed && !search.key ? say('no_failures') : say('empty')} compact />}
        />
      )}
    </Panel>
  );
}

function SubtaskState({ state }: { state: string }) {
  const say = useWords(subtasksWords);
  if (state === 'done') {
    return (
      <ToneBadge tone="green" icon={IconCheck}>
        {say('done')}
      </ToneBadge>
    );
  }
  if (state === 'failed') {
    return (
      <ToneBadge tone="red" icon={IconAlertTriangle}>
        {say('failed')}
      </ToneBadge>
    );
  }
  return (
    <ToneBadge tone="slate" icon={IconCircleDashed}>
      {say('open')}
    </ToneBadge>
  );
}

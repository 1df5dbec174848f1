import { Button, Select } from '@mantine/core';
import { IconBan, IconRefresh } from '@tabler/icons-react';
import { useInfiniteQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { api } from '#/api/client';
import { groupsQuery, itemsOf, jobsQuery, type RunFilter, runsQuery } from '#/api/queries';
import { useCan } from '#/api/session';
import { listOf } from '#/app/search';
import { useWords } from '#/i18n';
import { forAll } from '#/lib/bulk';
import { Choice } from '#/ui/choice';
import { Confirm } from '#/ui/confirm';
import { Page } from '#/ui/page';
import { isFinal, type RunState, runStates } from '#/ui/state';
import { Empty, Failed, Loading } from '#/ui/states';
import { BulkBar, Table } from '#/ui/table';
import { tell, tellRefused } from '#/ui/tell';
import { uiWords } from '#/ui/words';
import classes from '../jobs/page.module.css';
import { useRunColumns } from './columns';
import { runsWords } from './words';

const route = getRouteApi('/signed-in/runs');

/** What is shown unless states are chosen: everything that happened. */
const happened: RunState[] = runStates.filter((state) => state !== 'planned');

const MINUTE = 60_000;
const ranges = { '15m': 15 * MINUTE, '1h': 60 * MINUTE, '24h': 1_440 * MINUTE, '7d': 10_080 * MINUTE } as const;
type Range = keyof typeof ranges;

export function RunsPage() {
  const say = useWords(runsWords);
  const ui = useWords(uiWords);
  const search = route.useSearch();
  const navigate = useNavigate({ from: '/runs' });
  const queries = useQueryClient();
  const can = useCan();
  const [selected, setSelected] = useState<Set<string>>(new Set());
  const [asking, setAsking] = useState<'cancel' | 'retry'>();

  const states = listOf(search.state, runStates);
  const range = search.from && search.from in ranges ? (search.from as Range) : undefined;
  // Rounded to the minute, so that the same question is asked again and not a new one each second.
  const from = range ? new Date(Math.floor(Date.now() / MINUTE) * MINUTE - ranges[range]).toISOString() : search.from;
  const filter: RunFilter = {
    group: search.group,
    job: search.job ? Number(search.job) : undefined,
    state: states.length > 0 ? states : happened,
    from,
    to: search.to,
  };
  const list = useInfiniteQuery(runsQuery(filter));
  const groups = useInfiniteQuery(groupsQuery());
  const jobs = useInfiniteQuery(jobsQuery({ group: search.group }, 500));
  const runs = useMemo(() => itemsOf(list.data), [list.data]);
  const columns = useRunColumns();

  const change = (part: Partial<typeof search>) =>
    void navigate({ search: (before) => ({ ...before, ...part }), replace: true });

  const chosen = runs.filter((run) => selected.has(run.id));
  const mayAct = chosen.length > 0 && chosen.every((run) => can('operator', run.group));
  const open = chosen.filter((run) => !isFinal(run.state));
  const ended = chosen.filter((run) => isFinal(run.state) && run.state !== 'succeeded');

  async function act(action: 'cancel' | 'retry') {
    const result = await forAll(action === 'cancel' ? open : ended, (run) => {
      const params = { path: { run: run.id } };
      return action === 'cancel'
        ? api.POST('/api/v1/runs/{run}/cancel', { params })
        : api.POST('/api/v1/runs/{run}/retry', { params, body: null });
    });
    void queries.invalidateQueries({ queryKey: ['runs'] });
    if (result.done.length > 0) tell(say('done', { count: result.done.length }));
    const [first] = result.refused;
    if (first) tellRefused(say('refused', { count: result.refused.length, why: first.problem.message }));
    setSelected(new Set(result.refused.map(({ item }) => item.id)));
  }

  return (
    <Page title={say('title')} fill>
      <div className={classes.filters}>
        <Select
          data-filter
          aria-label={say('job')}
          placeholder={say('all_jobs')}
          data={itemsOf(jobs.data).map((job) => ({ value: String(job.id), label: job.name }))}
          value={search.job ?? null}
          onChange={(job) => change({ job: job ?? undefined })}
          searchable
          clearable
          limit={50}
          w={210}
        />
        <Choice
          label={say('states')}
          options={runStates.map((state) => ({ value: state, label: ui(`state.${state}`) }))}
          value={states}
          onChange={(chosen) => change({ state: chosen.length > 0 ? chosen.join(',') : undefined })}
        />
        <Select
          aria-label={say('range')}
          data={[
            { value: 'all', label: say('range.all') },
            ...(Object.keys(ranges) as Range[]).map((range) => ({ value: range, label: say(`range.${range}`) })),
          ]}
          value={range ?? 'all'}
          onChange={(range) => change({ from: range === 'all' || range === null ? undefined : range })}
          allowDeselect={false}
          w={150}
        />
        <Select
          aria-label={say('group')}
          placeholder={say('all_groups')}
          data={itemsOf(groups.data).map((group) => ({ value: group.id, label: group.name }))}
          value={search.group ?? null}
          onChange={(group) => change({ group: group ?? undefined, job: undefined })}
          searchable
          clearable
          w={180}
        />
      </div>
      <BulkBar count={selected.size} onClear={() => setSelected(new Set())}>
        {mayAct && (
          <>
            <Button
              variant="default"
              leftSection={<IconBan size={14} />}
              disabled={open.length === 0}
              onClick={() => setAsking('cancel')}
            >
              {say('cancel')}
            </Button>
            <Button
              variant="default"
              leftSection={<IconRefresh size={14} />}
              disabled={ended.length === 0}
              onClick={() => setAsking('retry')}
            >
              {say('retry')}
            </Button>
          </>
        )}
      </BulkBar>
      {list.isPending ? (
        <Loading />
      ) : list.isError && runs.length === 0 ? (
        <Failed error={list.error} retry={() => void list.refetch()} />
      ) : (
        <Table
          label={say('title')}
          height="fill"
          columns={columns}
          rows={runs}
          rowKey={(run) => run.id}
          rowName={(run) => `${run.job_name ?? run.job} ${run.fire_time}`}
          {...(can.anywhere('operator') ? { selected, onSelect: setSelected } : {})}
          more={list}
          total={list.data?.pages[0]?.total ?? undefined}
          totalCapped={list.data?.pages[0]?.total_capped}
          empty={<Empty title={say('empty')}>{say('empty_hint')}</Empty>}
        />
      )}
      <Confirm
        opened={asking !== undefined}
        onClose={() => setAsking(undefined)}
        title={
          asking === 'cancel'
            ? say('cancel_title', { count: open.length })
            : say('retry_title', { count: ended.length })
        }
        verb={asking === 'cancel' ? say('cancel') : say('retry')}
        dangerous={asking === 'cancel'}
        onConfirm={() => act(asking ?? 'retry')}
      >
        {asking === 'cancel' ? say('cancel_text') : say('retry_text')}
      </Confirm>
    </Page>
  );
}

import { Button, Select } from '@mantine/core';
import { IconBan, IconRefresh } from '@tabler/icons-react';
import { useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useCallback, useMemo, useState } from 'react';
import { api, data } from '#/api/client';
import {
  groupsQuery,
  histogramQuery,
  itemsOf,
  jobQuery,
  jobsQuery,
  type RunFilter,
  runsQuery,
  workersQuery,
} from '#/api/queries';
import { useCan } from '#/api/session';
import { listOf } from '#/app/search';
import { useWords } from '#/i18n';
import { inBulk } from '#/lib/bulk';
import { formatDuration, parseDuration } from '#/lib/duration';
import { useNow } from '#/lib/now';
import { Choice } from '#/ui/choice';
import { Confirm } from '#/ui/confirm';
import { FilterBox, Filters } from '#/ui/filter';
import { GroupSelect } from '#/ui/group';
import { List } from '#/ui/list';
import { Notice } from '#/ui/notice';
import { Page } from '#/ui/page';
import { isFinal, type RunState, runStates } from '#/ui/state';
import { Empty } from '#/ui/states';
import { BulkBar } from '#/ui/table';
import { tell, tellRefused } from '#/ui/tell';
import { uiWords } from '#/ui/words';
import { useRunColumns } from './columns';
import { Histogram } from './histogram';
import { type Maker, makers, type Range, ranges, readQualifiers, writeQualifiers } from './qualifiers';
import { runsWords } from './words';

const route = getRouteApi('/signed-in/runs');

/** What is shown unless states are chosen: everything that happened. */
const happened: RunState[] = runStates.filter((state) => state !== 'planned');

const MINUTE = 60_000;
const lengths: Record<Range, number> = {
  '15m': 15 * MINUTE,
  '1h': 60 * MINUTE,
  '24h': 1_440 * MINUTE,
  '7d': 10_080 * MINUTE,
};

/** Lateness to choose from. */
const lates = ['10ms', '100ms', '1s', '10s', '1m'];

/** A worker's incarnation as the API writes it. */
const INCARNATION = /^[0-9a-f]{16}$/i;

/** The histogram covers this unless a range is chosen. */
const HISTOGRAM: Range = '24h';

/** The instant a range begins; to the minute, so that the same question is asked again and not a new one each second. */
function beginOf(range: Range, now: number): string {
  return new Date(Math.floor(now / MINUTE) * MINUTE - lengths[range]).toISOString();
}

export function RunsPage() {
  const say = useWords(runsWords);
  const ui = useWords(uiWords);
  const search = route.useSearch();
  const navigate = useNavigate({ from: '/runs' });
  const queries = useQueryClient();
  const can = useCan();
  const [selected, setSelected] = useState<Set<string>>(new Set());
  const [asking, setAsking] = useState<'cancel' | 'retry'>();
  const [complaint, setComplaint] = useState<string>();
  const minute = Math.floor(useNow() / MINUTE) * MINUTE;

  const states = listOf(search.state, runStates);
  const range = ranges.find((range) => range === search.range);
  const job = search.job ? Number(search.job) : undefined;
  const made = makers.find((made) => made === search.made);
  const filter: RunFilter = {
    group: search.group,
    job,
    state: states.length > 0 ? states : happened,
    from: search.from ?? (range && beginOf(range, minute)),
    to: search.to,
    trigger: made,
    min_lateness: search.late,
    worker: search.worker,
  };
  const list = useInfiniteQuery(runsQuery(filter));
  const histogram = useQuery(histogramQuery({ group: search.group, job, from: beginOf(range ?? HISTOGRAM, minute) }));
  const groups = useInfiniteQuery(groupsQuery());
  const jobs = useInfiniteQuery(jobsQuery({ group: search.group }, 500));
  const one = useQuery({ ...jobQuery(search.job ?? ''), enabled: job !== undefined, staleTime: 60_000 });
  const workers = useQuery({ ...workersQuery(), enabled: search.worker !== undefined });
  const runs = useMemo(() => itemsOf(list.data), [list.data]);
  const columns = useRunColumns();

  const change = useCallback(
    (part: Partial<typeof search>) => void navigate({ search: (before) => ({ ...before, ...part }), replace: true }),
    [navigate],
  );

  const groupName = itemsOf(groups.data).find((group) => group.id === search.group)?.name ?? search.group;
  const jobName = one.data?.name ?? search.job;
  const workerName = workers.data?.items.find((worker) => worker.incarnation === search.worker)?.name;
  const box = writeQualifiers({
    states,
    ...(jobName ? { job: jobName } : {}),
    ...(groupName ? { group: groupName } : {}),
    ...(range ? { since: range } : {}),
    ...(made ? { made } : {}),
    ...(search.late ? { late: search.late } : {}),
    ...(search.worker ? { worker: workerName ?? search.worker } : {}),
  });

  /** Takes what the box says; names become numbers here, so that the address holds for renamed jobs. */
  const onBox = useCallback(
    async (text: string) => {
      const asked = readQualifiers(text);
      setComplaint(asked.unknown.length > 0 ? say('box_unknown', { words: asked.unknown.join(' ') }) : undefined);
      if (asked.run) {
        void navigate({ to: '/runs/$run', params: { run: asked.run } });
        return;
      }
      let group: string | undefined;
      if (asked.group) {
        group = itemsOf(groups.data).find((group) => group.name === asked.group || group.id === asked.group)?.id;
        if (!group) return setComplaint(say('box_no_group', { name: asked.group }));
      }
      let job: string | undefined;
      if (asked.job) {
        const found = await data(api.GET('/api/v1/jobs', { params: { query: { group, text: asked.job, limit: 50 } } }));
        const match =
          found.items.find((job) => job.name === asked.job || String(job.id) === asked.job) ?? found.items[0];
        if (match) job = String(match.id);
        else if (/^\d+$/.test(asked.job)) job = asked.job;
        else return setComplaint(say('box_no_job', { name: asked.job }));
      }
      let worker: string | undefined;
      if (asked.worker) {
        const { items } = await queries.fetchQuery(workersQuery());
        // One that is connected by its name; any that ever was by its incarnation.
        worker = items.find((worker) => worker.name === asked.worker)?.incarnation;
        if (!worker && INCARNATION.test(asked.worker)) worker = asked.worker;
        if (!worker) return setComplaint(say('box_no_worker', { name: asked.worker }));
      }
      const { since: range, made, late } = asked;
      change({ state: asked.states.join(',') || undefined, group, job, range, made, late, worker });
    },
    [change, groups.data, navigate, queries, say],
  );

  const jobOptions = useMemo(() => {
    const options = itemsOf(jobs.data).map((job) => ({ value: String(job.id), label: job.name }));
    // A job beyond the first page of the list is an option once it is chosen.
    return !search.job || options.some((option) => option.value === search.job)
      ? options
      : [{ value: search.job, label: jobName ?? search.job }, ...options];
  }, [jobs.data, search.job, jobName]);

  const chosen = runs.filter((run) => selected.has(run.id));
  const mayAct = chosen.length > 0 && chosen.every((run) => can('operator', run.group));
  const open = chosen.filter((run) => !isFinal(run.state));
  const ended = chosen.filter((run) => isFinal(run.state) && run.state !== 'succeeded');

  async function act(action: 'cancel' | 'retry') {
    const ids = (action === 'cancel' ? open : ended).map((run) => run.id);
    const result = await inBulk(ids, (ids) =>
      data(
        action === 'cancel'
          ? api.POST('/api/v1/runs/cancel', { body: { ids } })
          : api.POST('/api/v1/runs/retry', { body: { ids } }),
      ),
    );
    void queries.invalidateQueries({ queryKey: ['runs'] });
    if (result.treated > 0) tell(say('done', { count: result.treated }));
    const [first] = result.refused;
    if (first) tellRefused(say('refused', { count: result.refused.length, why: first.detail }));
    setSelected(new Set(result.refused.map(({ id }) => id)));
  }

  return (
    <Page title={say('title')} fill>
      <Filters>
        <FilterBox
          value={box}
          onChange={(text) => void onBox(text)}
          placeholder={say('box')}
          label={say('box_hint')}
          commit="enter"
          wide
        />
        <Select
          aria-label={say('job')}
          placeholder={say('all_jobs')}
          data={jobOptions}
          value={search.job ?? null}
          onChange={(job) => change({ job: job ?? undefined })}
          searchable
          clearable
          limit={50}
          w={180}
        />
        <Choice
          label={say('states')}
          options={runStates.map((state) => ({ value: state, label: ui(`state.${state}`) }))}
          value={states}
          onChange={(chosen) => change({ state: chosen.length > 0 ? chosen.join(',') : undefined })}
        />
        <Select
          aria-label={say('range')}
          placeholder={say('range.all')}
          data={ranges.map((range) => ({ value: range, label: say(`range.${range}`) }))}
          value={range ?? null}
          onChange={(range) => change({ range: range ?? undefined, from: undefined, to: undefined })}
          clearable
          w={150}
        />
        <Select
          aria-label={say('trigger')}
          placeholder={say('made_any')}
          data={makers.map((made) => ({ value: made, label: ui(`trigger.${made}`) }))}
          value={made ?? null}
          onChange={(made) => change({ made: (made as Maker | null) ?? undefined })}
          clearable
          w={140}
        />
        <Select
          aria-label={say('lateness')}
          placeholder={say('late_any')}
          data={[...new Set([...lates, ...(search.late ? [search.late] : [])])].map((late) => ({
            value: late,
            label: say('late_least', { late: formatDuration(parseDuration(late) ?? 0) }),
          }))}
          value={search.late ?? null}
          onChange={(late) => change({ late: late ?? undefined })}
          clearable
          w={140}
        />
        <GroupSelect value={search.group} onChange={(group) => change({ group, job: undefined })} />
      </Filters>
      {complaint && <Notice tone="orange">{complaint}</Notice>}
      {histogram.data && (
        <Histogram
          histogram={histogram.data}
          span={say(`range.${range ?? HISTOGRAM}`)}
          chosen={search.from && search.to ? [Date.parse(search.from), Date.parse(search.to)] : undefined}
          onChoose={(range) =>
            change({
              from: range && new Date(range[0]).toISOString(),
              to: range && new Date(range[1]).toISOString(),
            })
          }
        />
      )}
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
      <List
        query={list}
        label={say('title')}
        height="fill"
        columns={columns}
        rows={runs}
        rowKey={(run) => run.id}
        rowName={(run) => `${run.job_name ?? run.job} ${run.fire_time}`}
        {...(can.anywhere('operator') ? { selected, onSelect: setSelected } : {})}
        empty={<Empty title={say('empty')}>{say('empty_hint')}</Empty>}
      />
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

import { Button, Menu, Select } from '@mantine/core';
import { IconChevronDown, IconRefresh, IconTrash } from '@tabler/icons-react';
import { useInfiniteQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { api, data } from '#/api/client';
import { groupsQuery, itemsOf, jobsQuery, paged, type Run } from '#/api/queries';
import { useCan } from '#/api/session';
import { useWords } from '#/i18n';
import { inBulk } from '#/lib/bulk';
import { count } from '#/lib/time';
import { Confirm } from '#/ui/confirm';
import { Filters } from '#/ui/filter';
import { GroupSelect } from '#/ui/group';
import { List } from '#/ui/list';
import { Page } from '#/ui/page';
import { Empty } from '#/ui/states';
import { BulkBar } from '#/ui/table';
import { tell, tellRefused } from '#/ui/tell';
import { useDeadLetterColumns } from './columns';
import { RetryOne } from './retry';
import { deadLettersWords } from './words';

const route = getRouteApi('/signed-in/dead-letters');

const HOUR = 3_600_000;
const ranges = { '1h': HOUR, '24h': 24 * HOUR, '7d': 168 * HOUR } as const;
type Range = keyof typeof ranges;

export type Action = 'retry' | 'discard';

interface Filter {
  group?: string | undefined;
  job?: number | undefined;
  from?: string | undefined;
  to?: string | undefined;
}

/** The key begins with `runs`, so that the list is read again when runs change. */
const deadLettersQuery = (filter: Filter) =>
  paged<Run>(['runs', 'dead-letters', filter], (cursor) =>
    data(api.GET('/api/v1/dead-letters', { params: { query: { ...filter, limit: 100, cursor } } })),
  );

export function DeadLettersPage() {
  const say = useWords(deadLettersWords);
  const search = route.useSearch();
  const navigate = useNavigate({ from: '/dead-letters' });
  const queries = useQueryClient();
  const can = useCan();
  const [selected, setSelected] = useState<Set<string>>(new Set());
  const [asked, setAsked] = useState<{ action: Action; of: readonly Run[] | 'all' }>();
  const [retrying, setRetrying] = useState<Run>();

  const range = search.from && search.from in ranges ? (search.from as Range) : undefined;
  // Rounded to the minute, so that the same question is asked again and not a new one each second.
  const from = range ? new Date(Math.floor(Date.now() / 60_000) * 60_000 - ranges[range]).toISOString() : search.from;
  const filter: Filter = {
    group: search.group,
    job: search.job ? Number(search.job) : undefined,
    from,
    to: search.to,
  };
  const list = useInfiniteQuery(deadLettersQuery(filter));
  const groups = useInfiniteQuery(groupsQuery());
  const jobs = useInfiniteQuery(jobsQuery({ group: search.group }, 500));
  const runs = useMemo(() => itemsOf(list.data), [list.data]);
  const [first] = list.data?.pages ?? [];
  const total = first?.total ?? undefined;

  const change = (part: Partial<typeof search>) =>
    void navigate({ search: (before) => ({ ...before, ...part }), replace: true });

  const columns = useDeadLetterColumns({
    onRetry: setRetrying,
    onDiscard: (run) => setAsked({ action: 'discard', of: [run] }),
  });
  const chosen = runs.filter((run) => selected.has(run.id));
  const mayAct = chosen.length > 0 && chosen.every((run) => can('operator', run.group));
  const groupName = itemsOf(groups.data).find((group) => group.id === search.group)?.name ?? search.group ?? '';

  async function act({ action, of }: { action: Action; of: readonly Run[] | 'all' }) {
    const result = of === 'all' ? await actOnAll(action, filter) : await actOnEach(action, of);
    void queries.invalidateQueries({ queryKey: ['runs'] });
    if (result.done > 0) tell(say('done', { count: result.done }));
    const [why] = result.refused;
    if (why) tellRefused(say('refused', { count: result.refused.length, why: why.detail }));
    setSelected(new Set(result.refused.map(({ run }) => run)));
  }

  return (
    <Page
      title={say('title')}
      subtitle={say('subtitle')}
      fill
      actions={
        search.group &&
        can('operator', search.group) &&
        runs.length > 0 && (
          <Menu>
            <Menu.Target>
              <Button variant="default" rightSection={<IconChevronDown size={13} />}>
                {say('all_matching')}
              </Button>
            </Menu.Target>
            <Menu.Dropdown>
              <Menu.Item
                leftSection={<IconRefresh size={15} />}
                onClick={() => setAsked({ action: 'retry', of: 'all' })}
              >
                {say('all_retry')}
              </Menu.Item>
              <Menu.Item
                leftSection={<IconTrash size={15} />}
                color="red"
                onClick={() => setAsked({ action: 'discard', of: 'all' })}
              >
                {say('all_discard')}
              </Menu.Item>
            </Menu.Dropdown>
          </Menu>
        )
      }
    >
      <Filters>
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
        <Select
          aria-label={say('range')}
          placeholder={say('range.all')}
          data={(Object.keys(ranges) as Range[]).map((range) => ({ value: range, label: say(`range.${range}`) }))}
          value={range ?? null}
          onChange={(range) => change({ from: range ?? undefined })}
          clearable
          w={150}
        />
        <GroupSelect value={search.group} onChange={(group) => change({ group, job: undefined })} />
      </Filters>
      <BulkBar count={chosen.length} onClear={() => setSelected(new Set())}>
        {mayAct && (
          <>
            <Button
              variant="default"
              leftSection={<IconRefresh size={14} />}
              onClick={() => setAsked({ action: 'retry', of: chosen })}
            >
              {say('retry')}
            </Button>
            <Button
              variant="default"
              leftSection={<IconTrash size={14} />}
              onClick={() => setAsked({ action: 'discard', of: chosen })}
            >
              {say('discard')}
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
        empty={
          search.group || search.job || search.from ? (
            <Empty title={say('empty_filtered')} />
          ) : (
            <Empty title={say('empty')}>{say('empty_hint')}</Empty>
          )
        }
      />
      {retrying && <RetryOne run={retrying} onClose={() => setRetrying(undefined)} />}
      {asked && (
        <Confirm
          opened
          onClose={() => setAsked(undefined)}
          title={
            asked.of === 'all'
              ? say(asked.action === 'retry' ? 'all_retry_title' : 'all_discard_title')
              : say(asked.action === 'retry' ? 'retry_many_title' : 'discard_title', { count: asked.of.length })
          }
          verb={say(asked.action)}
          dangerous={asked.action === 'discard'}
          onConfirm={() => act(asked)}
        >
          {asked.of === 'all' && (
            <p style={{ marginTop: 0 }}>
              {say('all_text', {
                group: groupName,
                count: total === undefined ? `${runs.length}+` : count(total, first?.total_capped),
              })}
            </p>
          )}
          {say(asked.action === 'retry' ? 'retry_many_text' : 'discard_text')}
        </Confirm>
      )}
    </Page>
  );
}

interface Treated {
  done: number;
  refused: { run: string; detail: string }[];
}

/** Those with these ids; what is refused is told of each. */
async function actOnEach(action: Action, runs: readonly Run[]): Promise<Treated> {
  const { treated, refused } = await inBulk(
    runs.map((run) => run.id),
    (ids) =>
      data(
        action === 'retry'
          ? api.POST('/api/v1/runs/retry', { body: { ids } })
          : api.POST('/api/v1/runs/discard', { body: { ids } }),
      ),
  );
  return { done: treated, refused: refused.map(({ id, detail }) => ({ run: id, detail })) };
}

/** Asks again while the API says that more match; it stops when only refusals are left. */
async function actOnAll(action: Action, { group, ...filter }: Filter): Promise<Treated> {
  if (group === undefined) return { done: 0, refused: [] };
  // What is retried now must not be caught again when it fails anew.
  const body = { ...filter, group, to: filter.to ?? new Date().toISOString() };
  const all: Treated = { done: 0, refused: [] };
  for (;;) {
    const treated = await data(
      action === 'retry'
        ? api.POST('/api/v1/dead-letters/retry', { body })
        : api.POST('/api/v1/dead-letters/discard', { body }),
    );
    all.done += treated.treated;
    all.refused = treated.refused;
    if (!treated.more || treated.treated === 0) return all;
  }
}

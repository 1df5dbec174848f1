import { Select, UnstyledButton } from '@mantine/core';
import { IconBan, IconCheck } from '@tabler/icons-react';
import { useInfiniteQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { useCallback, useMemo } from 'react';
import { api, data, type Schemas } from '#/api/client';
import { groupsQuery, itemsOf, paged } from '#/api/queries';
import { known, useWords } from '#/i18n';
import { actorText } from '#/lib/actor';
import { useNow } from '#/lib/now';
import { FilterBox, Filters } from '#/ui/filter';
import { GroupSelect } from '#/ui/group';
import { List } from '#/ui/list';
import { Page } from '#/ui/page';
import { ToneBadge } from '#/ui/state';
import { Empty } from '#/ui/states';
import { type Column, TwoLines } from '#/ui/table';
import { Time } from '#/ui/time';
import { Entry } from './entry';
import classes from './page.module.css';
import { auditWords } from './words';

export type AuditEntry = Schemas['AuditView'];

const route = getRouteApi('/signed-in/audit');

interface Filter {
  group?: string | undefined;
  target?: string | undefined;
  actor?: string | undefined;
  action?: string | undefined;
  outcome?: string | undefined;
  from?: string | undefined;
}

/** From this width on what was done, on what and when stand side by side. */
const BESIDE = 720;

const HOUR = 3_600_000;
const ranges = { '1h': HOUR, '24h': 24 * HOUR, '7d': 168 * HOUR, '30d': 720 * HOUR } as const;
type Range = keyof typeof ranges;

const auditQuery = (filter: Filter) =>
  paged<AuditEntry>(['audit', filter], (cursor) =>
    data(api.GET('/api/v1/audit', { params: { query: { ...filter, limit: 100, cursor } } })),
  );

/** The actions that are recorded, in the order of their words. */
const actions = Object.keys(auditWords.en).flatMap((key) =>
  key.startsWith('action.') ? [key.slice('action.'.length)] : [],
);

/** The word of an action; one that the pages do not know is shown as it is. */
export function useActionName(): (action: string) => string {
  const say = useWords(auditWords);
  return (action) => {
    const key = `action.${action}`;
    return known(auditWords, key) ? say(key) : action;
  };
}

export function AuditPage() {
  const say = useWords(auditWords);
  const actionName = useActionName();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const { entry: chosen, range: since, ...asked } = search;
  const range = since && since in ranges ? (since as Range) : undefined;
  // To the minute, so that the same question is asked again and not a new one each second.
  const minute = Math.floor(useNow() / 60_000) * 60_000;
  const filter = { ...asked, from: range && new Date(minute - ranges[range]).toISOString() };
  // Nothing says that the trail grew: it is asked for anew now and then while it is looked at.
  const list = useInfiniteQuery({ ...auditQuery(filter), refetchInterval: 15_000 });
  const groups = useInfiniteQuery(groupsQuery());
  const entries = useMemo(() => itemsOf(list.data), [list.data]);
  const names = useMemo(() => new Map(itemsOf(groups.data).map((group) => [group.id, group.name])), [groups.data]);
  // The codes of refusals that were seen so far, and the one that is chosen.
  const refusals = useMemo(() => {
    const codes = entries.map((entry) => entry.outcome).concat(search.outcome ?? []);
    return [...new Set(codes)].filter((code) => code !== 'ok').sort();
  }, [entries, search.outcome]);

  const change = useCallback(
    (part: Partial<typeof search>) =>
      void navigate({ search: (before) => ({ ...before, ...part }), replace: true, resetScroll: false }),
    [navigate],
  );
  const onActor = useCallback((text: string) => change({ actor: text || undefined }), [change]);
  const onTarget = useCallback((text: string) => change({ target: text || undefined }), [change]);

  const what = (entry: AuditEntry) => (
    <UnstyledButton
      className={classes.what}
      onClick={() => change({ entry: entry.id })}
      aria-label={say('show', { what: actionName(entry.action), target: entry.target })}
    >
      {actionName(entry.action)}
    </UnstyledButton>
  );
  const columns: Column<AuditEntry>[] = [
    { id: 'what', header: say('what'), width: 190, from: BESIDE, cell: what },
    {
      id: 'in_brief',
      header: say('what'),
      until: BESIDE,
      cell: (entry) => (
        <TwoLines
          first={
            <span className={classes.brief}>
              {what(entry)}
              {entry.outcome !== 'ok' && <RefusedMark code={entry.outcome} />}
            </span>
          }
          second={
            <>
              <Time at={entry.at} show="relative" /> · <span className="mono">{entry.target}</span>
            </>
          }
        />
      ),
    },
    {
      id: 'target',
      header: say('target'),
      from: BESIDE,
      cell: (entry) => <span className="mono">{entry.target}</span>,
    },
    { id: 'actor', header: say('actor'), from: BESIDE, cell: (entry) => actorText(entry.actor) },
    { id: 'actor_in_brief', header: say('actor'), width: 104, until: BESIDE, cell: (entry) => actorText(entry.actor) },
    {
      id: 'group',
      header: say('group'),
      width: 150,
      from: 1060,
      cell: (entry) => (entry.group ? (names.get(entry.group) ?? entry.group) : '–'),
    },
    {
      id: 'source',
      header: say('source'),
      width: 130,
      from: 1180,
      cell: (entry) => <span className="mono">{entry.source}</span>,
    },
    {
      id: 'outcome',
      header: say('outcome'),
      width: 190,
      from: 880,
      cell: (entry) => <OutcomeBadge outcome={entry.outcome} />,
    },
    {
      id: 'at',
      header: say('at'),
      width: 236,
      from: BESIDE,
      cell: (entry) => <Time at={entry.at} milliseconds={false} />,
    },
  ];

  return (
    <Page title={say('title')} subtitle={say('subtitle')} fill>
      <Filters>
        <FilterBox value={search.target ?? ''} onChange={onTarget} placeholder={say('target_filter')} />
        <FilterBox
          value={search.actor ?? ''}
          onChange={onActor}
          placeholder={say('actor_filter')}
          label={say('actor')}
          first={false}
        />
        <Select
          aria-label={say('action')}
          placeholder={say('all_actions')}
          data={actions.map((action) => ({ value: action, label: actionName(action) }))}
          value={search.action ?? null}
          onChange={(action) => change({ action: action ?? undefined })}
          searchable
          clearable
          w={165}
        />
        <Select
          aria-label={say('outcome')}
          placeholder={say('all_outcomes')}
          data={[
            { value: 'ok', label: say('ok') },
            ...refusals.map((code) => ({ value: code, label: say('refused', { code }) })),
          ]}
          value={search.outcome ?? null}
          onChange={(outcome) => change({ outcome: outcome ?? undefined })}
          clearable
          w={150}
        />
        <Select
          aria-label={say('range')}
          placeholder={say('any_time')}
          data={(Object.keys(ranges) as Range[]).map((range) => ({ value: range, label: say(`range.${range}`) }))}
          value={range ?? null}
          onChange={(range) => change({ range: range ?? undefined })}
          clearable
          w={140}
        />
        <GroupSelect value={search.group} onChange={(group) => change({ group })} />
      </Filters>
      <List
        query={list}
        label={say('title')}
        height="fill"
        columns={columns}
        rows={entries}
        rowKey={(entry) => entry.id}
        empty={<Empty title={say('empty')} />}
      />
      {chosen && !list.isPending && (
        <Entry
          entry={entries.find((entry) => entry.id === chosen)}
          groupName={(group) => names.get(group) ?? group}
          onClose={() => change({ entry: undefined })}
        />
      )}
    </Page>
  );
}

/** An attempt that was refused, where there is no room for the words. */
function RefusedMark({ code }: { code: string }) {
  const say = useWords(auditWords);
  return (
    <span className={classes.refused} title={say('refused', { code })}>
      <IconBan size={14} aria-hidden />
      <span className="sr-only">{say('refused', { code })}</span>
    </span>
  );
}

export function OutcomeBadge({ outcome }: { outcome: string }) {
  const say = useWords(auditWords);
  return outcome === 'ok' ? (
    <ToneBadge tone="green" icon={IconCheck}>
      {say('ok')}
    </ToneBadge>
  ) : (
    <ToneBadge tone="orange" icon={IconBan} title={outcome}>
      {say('refused', { code: outcome })}
    </ToneBadge>
  );
}

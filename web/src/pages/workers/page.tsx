import { Button, Select } from '@mantine/core';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useCallback, useMemo } from 'react';
import type { Schemas } from '#/api/client';
import { groupsQuery, itemsOf, workersQuery } from '#/api/queries';
import { useCan } from '#/api/session';
import { useWords } from '#/i18n';
import { count } from '#/lib/time';
import { FilterBox, Filters } from '#/ui/filter';
import { GroupSelect } from '#/ui/group';
import { Page, Panel } from '#/ui/page';
import { Empty, Failed, Loading } from '#/ui/states';
import { Details } from './details';
import { WorkerTable } from './table';
import { workersWords } from './words';

export type Worker = Schemas['WorkerView'];

const route = getRouteApi('/signed-in/workers');

/** Stands in the address for workers that name no machine room. */
const NO_ROOM = '-';

/** The connected workers, by task group and machine room; one chosen is shown with what it runs. */
export function WorkersPage() {
  const say = useWords(workersWords);
  const can = useCan();
  const search = route.useSearch();
  const navigate = useNavigate({ from: '/workers' });
  // Workers report what they run about each second; a list this small is read often.
  const list = useQuery({ ...workersQuery(search.group), refetchInterval: 3_000 });
  const groups = useInfiniteQuery(groupsQuery());
  const names = useMemo(() => new Map(itemsOf(groups.data).map((group) => [group.id, group.name])), [groups.data]);
  const all = useMemo(() => list.data?.items ?? [], [list.data]);
  const shown = useMemo(() => all.filter((worker) => matches(worker, search.text, search.room)), [all, search]);
  const parts = useMemo(() => byGroupAndRoom(shown), [shown]);
  const rooms = useMemo(() => [...new Set(all.map((worker) => worker.room || NO_ROOM))].sort(), [all]);
  const chosen = all.find((worker) => worker.incarnation === search.worker);

  const change = useCallback(
    (part: Partial<typeof search>) =>
      void navigate({ search: (before) => ({ ...before, ...part }), replace: true, resetScroll: false }),
    [navigate],
  );
  const onText = useCallback((text: string) => change({ text: text || undefined }), [change]);
  const running = all.reduce((sum, worker) => sum + worker.running, 0);

  return (
    <Page
      title={say('title')}
      subtitle={
        all.length > 0 &&
        `${say('workers', { count: all.length })} · ${say('running_count', { count: count(running) })}`
      }
    >
      <Filters>
        <FilterBox value={search.text ?? ''} onChange={onText} placeholder={say('filter')} />
        <GroupSelect value={search.group} onChange={(group) => change({ group })} />
        <Select
          aria-label={say('room')}
          placeholder={say('all_rooms')}
          data={rooms.map((room) => ({ value: room, label: room === NO_ROOM ? say('no_room') : room }))}
          value={search.room ?? null}
          onChange={(room) => change({ room: room ?? undefined })}
          clearable
          w={170}
        />
      </Filters>
      {list.isPending ? (
        <Loading />
      ) : list.isError && !list.data ? (
        <Failed error={list.error} retry={() => void list.refetch()} />
      ) : all.length === 0 ? (
        <Empty
          title={say('empty')}
          action={
            can.anywhere('owner') && (
              <Button renderRoot={(props) => <Link to="/tokens" search={{ tab: 'workers' }} {...props} />}>
                {say('to_tokens')}
              </Button>
            )
          }
        >
          {say('empty_hint')}
        </Empty>
      ) : parts.length === 0 ? (
        <Empty title={say('none_match')} />
      ) : (
        parts.map(({ group, room, workers }) => (
          <Panel
            key={`${group} ${room}`}
            title={`${names.get(group) ?? group} · ${room || say('no_room')}`}
            actions={
              <span className="muted num">
                {say('workers', { count: workers.length })} ·{' '}
                {say('running_count', { count: count(workers.reduce((sum, worker) => sum + worker.running, 0)) })}
              </span>
            }
            flush
          >
            <WorkerTable
              label={`${say('title')}: ${names.get(group) ?? group}, ${room || say('no_room')}`}
              workers={workers}
              onChoose={(worker) => change({ worker: worker.incarnation })}
            />
          </Panel>
        ))
      )}
      {chosen && (
        <Details
          worker={chosen}
          groupName={names.get(chosen.group) ?? chosen.group}
          onClose={() => change({ worker: undefined })}
        />
      )}
    </Page>
  );
}

function matches(worker: Worker, text: string | undefined, room: string | undefined): boolean {
  if (room && (worker.room || NO_ROOM) !== room) return false;
  if (!text) return true;
  const labels = Object.entries(worker.labels).map(([name, value]) => `${name}=${value}`);
  const handlers = worker.handlers.map((handler) => handler.name);
  return [worker.name, worker.address, worker.incarnation, ...labels, ...handlers].some((one) =>
    one.toLowerCase().includes(text.toLowerCase()),
  );
}

function byGroupAndRoom(workers: readonly Worker[]) {
  const parts = new Map<string, { group: string; room: string; workers: Worker[] }>();
  for (const worker of workers) {
    const key = `${worker.group} ${worker.room}`;
    const part = parts.get(key) ?? { group: worker.group, room: worker.room, workers: [] };
    part.workers.push(worker);
    parts.set(key, part);
  }
  return [...parts.values()].sort(
    (one, other) => one.group.localeCompare(other.group) || one.room.localeCompare(other.room),
  );
}

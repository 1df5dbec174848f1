import { Button, Group as Line, Modal, NumberInput } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconPlus } from '@tabler/icons-react';
import { useInfiniteQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useCallback, useState } from 'react';
import { api, data } from '#/api/client';
import { type Group, groupsWithCountsQuery, itemsOf } from '#/api/queries';
import { useCan } from '#/api/session';
import { useWords } from '#/i18n';
import { count } from '#/lib/time';
import { FilterBox } from '#/ui/filter';
import { List } from '#/ui/list';
import { Notice } from '#/ui/notice';
import { Page } from '#/ui/page';
import { Empty } from '#/ui/states';
import { useSubmission } from '#/ui/submission';
import type { Column } from '#/ui/table';
import { tell } from '#/ui/tell';
import { Time } from '#/ui/time';
import { uiWords } from '#/ui/words';
import classes from './page.module.css';
import { groupsWords } from './words';
import { WordsOfGroup } from './words-of-group';

const route = getRouteApi('/signed-in/groups');

export function GroupsPage() {
  const say = useWords(groupsWords);
  const search = route.useSearch();
  const navigate = useNavigate({ from: '/groups' });
  const can = useCan();
  const [creating, dialog] = useDisclosure(false);
  const list = useInfiniteQuery({ ...groupsWithCountsQuery(), refetchInterval: 15_000 });
  const text = (search.text ?? '').toLowerCase();
  const groups = itemsOf(list.data).filter(
    (group) => group.name.toLowerCase().includes(text) || group.id.includes(text),
  );
  const onText = useCallback(
    (text: string) => void navigate({ search: { text: text || undefined }, replace: true }),
    [navigate],
  );
  const columns: Column<Group>[] = [
    {
      id: 'name',
      header: say('name'),
      cell: (group) => (
        <Link to="/groups/$group" params={{ group: group.id }} className="plain" preload="intent">
          <strong style={{ fontWeight: 550 }}>{group.name}</strong> <span className="muted">{group.description}</span>
        </Link>
      ),
    },
    { id: 'id', header: say('id'), width: 150, cell: (group) => <span className="mono">{group.id}</span> },
    {
      id: 'jobs',
      header: say('jobs'),
      width: 80,
      align: 'right',
      from: 480,
      cell: (group) => <Counted of={group.counts?.jobs} />,
    },
    {
      id: 'workers',
      header: say('workers'),
      width: 90,
      align: 'right',
      from: 560,
      cell: (group) => <Counted of={group.counts?.workers} zeroIsBad={(group.counts?.jobs ?? 0) > 0} />,
    },
    {
      id: 'open',
      header: say('open'),
      width: 96,
      align: 'right',
      from: 760,
      cell: (group) => <Counted of={group.counts?.open_runs} />,
    },
    {
      id: 'rooms',
      header: say('room'),
      width: 170,
      from: 980,
      cell: (group) => group.counts?.owner_rooms.join(', ') || <span className="muted">–</span>,
    },
    {
      id: 'backups',
      header: say('backups'),
      width: 90,
      align: 'right',
      from: 860,
      cell: (group) => <span className="num">{group.backups}</span>,
    },
    {
      id: 'shards',
      header: say('shards'),
      width: 80,
      align: 'right',
      from: 560,
      cell: (group) => <span className="num">{group.shards}</span>,
    },
    {
      id: 'created',
      header: say('created'),
      width: 230,
      from: 1250,
      cell: (group) => <Time at={group.created_at} milliseconds={false} />,
    },
  ];
  return (
    <Page
      title={say('title')}
      fill
      actions={
        can.administrator && (
          <Button leftSection={<IconPlus size={14} />} onClick={dialog.open}>
            {say('new')}
          </Button>
        )
      }
    >
      <div className={classes.filters}>
        <FilterBox value={search.text ?? ''} onChange={onText} placeholder={say('filter')} />
      </div>
      <List
        query={list}
        label={say('title')}
        height="fill"
        columns={columns}
        rows={groups}
        rowKey={(group) => group.id}
        empty={<Empty title={say('empty')}>{say('empty_hint')}</Empty>}
      />
      {creating && <NewGroup onClose={dialog.close} />}
    </Page>
  );
}

function Counted({ of, zeroIsBad = false }: { of: number | undefined; zeroIsBad?: boolean }) {
  if (of === undefined) return <span className="muted">–</span>;
  return (
    <span className="num" style={of === 0 && zeroIsBad ? { color: 'var(--s-red)', fontWeight: 600 } : undefined}>
      {count(of)}
    </span>
  );
}

function NewGroup({ onClose }: { onClose: () => void }) {
  const say = useWords(groupsWords);
  const ui = useWords(uiWords);
  const navigate = useNavigate();
  const queries = useQueryClient();
  const [name, setName] = useState('');
  const [description, setDescription] = useState('');
  const [serverGroup, setServerGroup] = useState(1);
  const [backups, setBackups] = useState(2);
  const [shards, setShards] = useState(1);

  const { busy, problem, fault, onSubmit } = useSubmission(async () => {
    const group = await data(
      api.POST('/api/v1/groups', { body: { name, description, server_group: serverGroup, backups, shards } }),
    );
    tell(say('created_done', { name: group.name }));
    for (const warning of group.warnings ?? []) tell(warning);
    void queries.invalidateQueries({ queryKey: ['groups'] });
    onClose();
    void navigate({ to: '/groups/$group', params: { group: group.id } });
  });

  return (
    <Modal opened onClose={onClose} title={say('new')} closeButtonProps={{ 'aria-label': ui('close') }}>
      <form onSubmit={onSubmit} className={classes.form}>
        <p className="muted" style={{ margin: 0 }}>
          {say('new_text')}
        </p>
        <WordsOfGroup
          name={name}
          onName={setName}
          description={description}
          onDescription={setDescription}
          fault={fault}
        />
        <Line grow align="flex-start">
          <NumberInput
            size="xs"
            label={say('server_group')}
            value={serverGroup}
            onChange={(value) => setServerGroup(Number(value))}
            min={1}
            error={fault('server_group')}
          />
          <NumberInput
            size="xs"
            label={say('backups')}
            value={backups}
            onChange={(value) => setBackups(Number(value))}
            min={1}
            error={fault('backups')}
          />
          <NumberInput
            size="xs"
            label={say('shards')}
            value={shards}
            onChange={(value) => setShards(Number(value))}
            min={1}
            max={256}
            error={fault('shards')}
          />
        </Line>
        <p className="muted" style={{ margin: 0, fontSize: 12 }}>
          {say('backups_hint')} {say('shards_hint')}
        </p>
        {problem && <Notice tone="red">{problem.message}</Notice>}
        <Line justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>
            {ui('cancel')}
          </Button>
          <Button type="submit" loading={busy}>
            {say('create')}
          </Button>
        </Line>
      </form>
    </Modal>
  );
}

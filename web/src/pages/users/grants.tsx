import { ActionIcon, Button, Select, TextInput, Tooltip } from '@mantine/core';
import { IconUserMinus } from '@tabler/icons-react';
import { useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';
import { api } from '#/api/client';
import { asProblem } from '#/api/problem';
import { groupsQuery, itemsOf } from '#/api/queries';
import { type Role, roles, useCan } from '#/api/session';
import { useWords } from '#/i18n';
import { actorText } from '#/lib/actor';
import { Confirm } from '#/ui/confirm';
import { Notice } from '#/ui/notice';
import { Empty, Failed, Loading } from '#/ui/states';
import { type Column, Table } from '#/ui/table';
import { tell, tellRefused } from '#/ui/tell';
import { Time } from '#/ui/time';
import classes from './page.module.css';
import { type Grant, grantsQuery, usersQuery } from './queries';
import { usersWords } from './words';

type Of = { group: string; user?: undefined } | { user: string; group?: undefined };

/** The roles on a task group, or those of a person, with what owners and administrators may change. */
export function Grants({ of }: { of: Of }) {
  const say = useWords(usersWords);
  const can = useCan();
  const queries = useQueryClient();
  const list = useQuery(grantsQuery(of));
  const groups = useInfiniteQuery(groupsQuery());
  const [withdrawing, setWithdrawing] = useState<Grant>();
  const names = new Map(itemsOf(groups.data).map((group) => [group.id, group.name]));
  const groupName = (group: string) => names.get(group) ?? group;

  const refresh = () => {
    void queries.invalidateQueries({ queryKey: ['session'] });
    return queries.invalidateQueries({ queryKey: ['grants'] });
  };

  async function grant(user: string, group: string, role: Role) {
    await api.PUT('/api/v1/grants', { body: { user, group, role } });
    tell(say('granted_done', { user, role: say(`role.${role}`), group: groupName(group) }));
    await refresh();
  }

  if (list.isPending) return <Loading compact />;
  if (list.isError && !list.data) return <Failed error={list.error} retry={() => void list.refetch()} compact />;
  const columns: Column<Grant>[] = [
    of.group === undefined
      ? { id: 'group', header: say('group'), cell: (grant) => groupName(grant.group) }
      : { id: 'user', header: say('person'), cell: (grant) => <strong>{grant.user ?? grant.user_id}</strong> },
    {
      id: 'role',
      header: say('role'),
      width: 150,
      cell: (grant) =>
        can('owner', grant.group) && grant.user ? (
          <Select
            aria-label={say('role_of', { name: of.group ? grant.user : groupName(grant.group) })}
            data={roles.map((role) => ({ value: role, label: say(`role.${role}`) }))}
            value={grant.role}
            onChange={(role) => {
              if (role && role !== grant.role) void grantTo(grant, role as Role);
            }}
            allowDeselect={false}
          />
        ) : (
          say(`role.${grant.role}`)
        ),
    },
    {
      id: 'granted',
      header: say('granted'),
      width: 250,
      from: 560,
      cell: (grant) => (
        <span className="muted" title={grant.granted_by ? say('by', { name: actorText(grant.granted_by) }) : undefined}>
          <Time at={grant.granted_at} show="relative" />{' '}
          {grant.granted_by && say('by', { name: actorText(grant.granted_by) })}
        </span>
      ),
    },
    {
      id: 'withdraw',
      header: '',
      width: 56,
      align: 'right',
      cell: (grant) =>
        can('owner', grant.group) && (
          <Tooltip label={say('withdraw')}>
            <ActionIcon
              aria-label={say('withdraw_of', { name: of.group ? (grant.user ?? '') : groupName(grant.group) })}
              onClick={() => setWithdrawing(grant)}
            >
              <IconUserMinus size={16} />
            </ActionIcon>
          </Tooltip>
        ),
    },
  ];

  async function grantTo({ user, group }: Grant, role: Role) {
    if (user) await grant(user, group, role).catch(tellRefused);
  }

  const values = {
    user: withdrawing?.user ?? '',
    role: withdrawing ? say(`role.${withdrawing.role}`) : '',
    group: withdrawing ? groupName(withdrawing.group) : '',
  };
  return (
    <>
      <GrantForm of={of} grant={grant} />
      <Table
        label={say('tab.permissions')}
        columns={columns}
        rows={list.data.items}
        rowKey={(grant) => `${grant.group} ${grant.user_id}`}
        empty={<Empty title={say(of.group === undefined ? 'no_grants_user' : 'no_grants_group')} compact />}
      />
      <Confirm
        opened={withdrawing !== undefined}
        onClose={() => setWithdrawing(undefined)}
        title={say('withdraw_title', values)}
        verb={say('withdraw')}
        dangerous
        onConfirm={async () => {
          if (!withdrawing?.user) return;
          await api.DELETE('/api/v1/grants', {
            params: { query: { user: withdrawing.user, group: withdrawing.group } },
          });
          tell(say('withdrawn', values));
          await refresh();
        }}
      >
        {say('withdraw_text', values)}
      </Confirm>
    </>
  );
}

interface GrantFormProps {
  of: Of;
  grant: (user: string, group: string, role: Role) => Promise<void>;
}

function GrantForm({ of, grant }: GrantFormProps) {
  const say = useWords(usersWords);
  const can = useCan();
  const users = useInfiniteQuery({ ...usersQuery(), enabled: can.administrator && of.user === undefined });
  const groups = useInfiniteQuery({ ...groupsQuery(), enabled: of.group === undefined });
  const [user, setUser] = useState('');
  const [group, setGroup] = useState<string | null>(null);
  const [role, setRole] = useState<Role>('viewer');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string>();
  const toWhom = of.user ?? user;
  const on = of.group ?? group;
  if (of.group !== undefined && !can('owner', of.group)) return null;

  async function submit(event: FormEvent) {
    event.preventDefault();
    if (!toWhom || !on) return;
    setBusy(true);
    setError(undefined);
    try {
      await grant(toWhom, on, role);
      setUser('');
      setGroup(null);
    } catch (error) {
      setError(asProblem(error).message);
    } finally {
      setBusy(false);
    }
  }

  return (
    <>
      <form onSubmit={(event) => void submit(event)} className={classes.grant} aria-label={say('grant_title')}>
        {of.group === undefined ? (
          <Select
            label={say('group')}
            data={itemsOf(groups.data)
              .filter((group) => can('owner', group.id))
              .map((group) => ({ value: group.id, label: group.name }))}
            value={group}
            onChange={setGroup}
            searchable
            w={220}
          />
        ) : can.administrator ? (
          <Select
            label={say('person')}
            data={itemsOf(users.data)
              .filter((user) => !user.administrator)
              .map((user) => ({
                value: user.name,
                label: user.display_name === user.name ? user.name : `${user.display_name} (${user.name})`,
              }))}
            value={user || null}
            onChange={(user) => setUser(user ?? '')}
            searchable
            w={220}
          />
        ) : (
          // Only administrators may list people: owners name whom they mean.
          <TextInput
            label={say('name')}
            value={user}
            onChange={(event) => setUser(event.currentTarget.value)}
            maxLength={64}
            w={220}
          />
        )}
        <Select
          label={say('role')}
          data={roles.map((role) => ({ value: role, label: say(`role.${role}`) }))}
          value={role}
          onChange={(role) => setRole((role as Role | null) ?? 'viewer')}
          allowDeselect={false}
          w={140}
        />
        <Button type="submit" loading={busy} disabled={!toWhom || !on}>
          {say('grant')}
        </Button>
      </form>
      {error && (
        <Notice tone="red" mt={8}>
          {error}
        </Notice>
      )}
    </>
  );
}

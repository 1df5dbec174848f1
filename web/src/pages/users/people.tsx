import { ActionIcon, Button, Drawer, Menu } from '@mantine/core';
import {
  IconDots,
  IconHistory,
  IconKey,
  IconPencil,
  IconPlus,
  IconShieldCheck,
  IconTrash,
  IconUserCheck,
  IconUserOff,
  IconUsersGroup,
} from '@tabler/icons-react';
import { useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useCallback, useState } from 'react';
import { api } from '#/api/client';
import { asProblem } from '#/api/problem';
import { itemsOf } from '#/api/queries';
import { sessionQuery } from '#/api/session';
import { useWords } from '#/i18n';
import { Confirm } from '#/ui/confirm';
import { FilterBox } from '#/ui/filter';
import { List } from '#/ui/list';
import { SecretOnce } from '#/ui/secret';
import { ToneBadge } from '#/ui/state';
import { Empty } from '#/ui/states';
import { type Column, TwoLines } from '#/ui/table';
import { tell, tellRefused } from '#/ui/tell';
import { Time } from '#/ui/time';
import { uiWords } from '#/ui/words';
import { Grants } from './grants';
import classes from './page.module.css';
import { newPassword, PersonForm } from './person';
import { type User, usersQuery } from './queries';
import { usersWords } from './words';

const route = getRouteApi('/signed-in/users');

/** From these widths on the name to sign in with, and the rights, have columns of their own. */
const SIGN_IN = 480;
const RIGHTS = 620;

type Open = { what: 'new' } | { what: 'edit' | 'reset' | 'disable' | 'delete' | 'permissions'; user: User };

/** Everybody who can sign in. */
export function People() {
  const say = useWords(usersWords);
  const ui = useWords(uiWords);
  const queries = useQueryClient();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const { data: session } = useQuery(sessionQuery);
  const list = useInfiniteQuery(usersQuery());
  const [open, setOpen] = useState<Open>();
  const [secret, setSecret] = useState<{ name: string; password: string }>();
  const text = (search.text ?? '').toLowerCase();
  const users = itemsOf(list.data).filter(
    (user) => user.name.toLowerCase().includes(text) || user.display_name.toLowerCase().includes(text),
  );
  const onText = useCallback(
    (text: string) => void navigate({ search: (before) => ({ ...before, text: text || undefined }), replace: true }),
    [navigate],
  );
  const refresh = () => queries.invalidateQueries({ queryKey: ['users'] });
  const close = () => setOpen(undefined);

  async function setDisabled(user: User, disabled: boolean) {
    await api.PATCH('/api/v1/users/{user}', {
      params: { path: { user: user.id }, header: { 'If-Match': `"${user.revision}"` } },
      body: { disabled },
    });
    tell(say(disabled ? 'disabled_done' : 'enabled_done', { name: user.display_name }));
    await refresh();
  }

  async function reset(user: User) {
    const password = newPassword();
    await api.PATCH('/api/v1/users/{user}', {
      params: { path: { user: user.id }, header: { 'If-Match': `"${user.revision}"` } },
      body: { password },
    });
    setSecret({ name: user.name, password });
    await refresh();
  }

  const nameShown = (user: User) => (
    <span className={classes.name}>
      <strong style={{ fontWeight: 550 }} className="ellipsis">
        {user.display_name}
      </strong>
      {user.id === session?.user.id && <span className="muted">{say('that_is_you')}</span>}
    </span>
  );
  const signIn = (user: User) => <span className="mono">{user.name}</span>;
  const columns: Column<User>[] = [
    { id: 'name', header: say('display_name'), from: SIGN_IN, cell: nameShown },
    {
      id: 'names',
      header: say('display_name'),
      until: SIGN_IN,
      cell: (user) => <TwoLines first={nameShown(user)} second={signIn(user)} />,
    },
    { id: 'sign_in', header: say('name'), from: SIGN_IN, cell: signIn },
    {
      id: 'rights',
      header: say('rights'),
      width: 260,
      from: RIGHTS,
      cell: (user) => (
        <span className={classes.badges}>
          {user.administrator ? <AdministratorBadge /> : <span className="muted">{say('by_roles')}</span>}
          {user.disabled && <DisabledBadge />}
        </span>
      ),
    },
    {
      id: 'rights_in_brief',
      header: say('rights'),
      width: 136,
      until: RIGHTS,
      // What somebody disabled might do does not matter.
      cell: (user) => (user.disabled ? <DisabledBadge /> : user.administrator && <AdministratorBadge />),
    },
    {
      id: 'created',
      header: say('created'),
      width: 220,
      from: 900,
      cell: (user) => <Time at={user.created_at} milliseconds={false} />,
    },
    {
      id: 'more',
      header: '',
      width: 60,
      align: 'right',
      cell: (user) => {
        const self = user.id === session?.user.id;
        return (
          <Menu width={230}>
            <Menu.Target>
              <ActionIcon aria-label={say('more_of', { name: user.display_name })}>
                <IconDots size={16} />
              </ActionIcon>
            </Menu.Target>
            <Menu.Dropdown>
              <Menu.Item leftSection={<IconPencil size={15} />} onClick={() => setOpen({ what: 'edit', user })}>
                {say('edit')}
              </Menu.Item>
              {!user.administrator && (
                <Menu.Item
                  leftSection={<IconUsersGroup size={15} />}
                  onClick={() => setOpen({ what: 'permissions', user })}
                >
                  {say('permissions_of', { name: user.display_name })}
                </Menu.Item>
              )}
              <Menu.Item
                leftSection={<IconHistory size={15} />}
                renderRoot={(props) => <Link to="/audit" search={{ actor: user.name }} {...props} />}
              >
                {say('audit_of', { name: user.display_name })}
              </Menu.Item>
              {!self && (
                <>
                  <Menu.Divider />
                  <Menu.Item leftSection={<IconKey size={15} />} onClick={() => setOpen({ what: 'reset', user })}>
                    {say('reset')}
                  </Menu.Item>
                  {user.disabled ? (
                    <Menu.Item
                      leftSection={<IconUserCheck size={15} />}
                      onClick={() => void setDisabled(user, false).catch(tellRefused)}
                    >
                      {say('enable')}
                    </Menu.Item>
                  ) : (
                    <Menu.Item
                      leftSection={<IconUserOff size={15} />}
                      onClick={() => setOpen({ what: 'disable', user })}
                    >
                      {say('disable')}
                    </Menu.Item>
                  )}
                  <Menu.Item
                    color="red"
                    leftSection={<IconTrash size={15} />}
                    onClick={() => setOpen({ what: 'delete', user })}
                  >
                    {say('delete')}
                  </Menu.Item>
                </>
              )}
            </Menu.Dropdown>
          </Menu>
        );
      },
    },
  ];

  const user = open && 'user' in open ? open.user : undefined;
  const name = user?.display_name ?? '';
  return (
    <>
      <div style={{ display: 'flex', flexWrap: 'wrap', gap: 8, marginBottom: 12, justifyContent: 'space-between' }}>
        <FilterBox value={search.text ?? ''} onChange={onText} placeholder={say('filter')} />
        <Button leftSection={<IconPlus size={14} />} onClick={() => setOpen({ what: 'new' })}>
          {say('new')}
        </Button>
      </div>
      <List
        query={list}
        framed
        label={say('tab.people')}
        columns={columns}
        rows={users}
        rowKey={(user) => user.id}
        empty={<Empty title={say('no_people')} compact />}
      />
      {(open?.what === 'new' || open?.what === 'edit') && (
        <PersonForm
          user={user}
          self={user?.id === session?.user.id}
          onClose={close}
          onSaved={(name, password) => {
            close();
            if (password) setSecret({ name, password });
            void refresh();
          }}
        />
      )}
      <Confirm
        opened={open?.what === 'reset'}
        onClose={close}
        title={say('reset_title', { name })}
        verb={say('reset')}
        onConfirm={async () => {
          if (user) await reset(user).catch(meanwhile(say('changed_meanwhile')));
        }}
      >
        {say('reset_text')}
      </Confirm>
      <Confirm
        opened={open?.what === 'disable'}
        onClose={close}
        title={say('disable_title', { name })}
        verb={say('disable')}
        dangerous
        onConfirm={async () => {
          if (user) await setDisabled(user, true).catch(meanwhile(say('changed_meanwhile')));
        }}
      >
        {say('disable_text')}
      </Confirm>
      <Confirm
        opened={open?.what === 'delete'}
        onClose={close}
        title={say('delete_title', { name })}
        verb={say('delete')}
        dangerous
        onConfirm={async () => {
          if (!user) return;
          await api.DELETE('/api/v1/users/{user}', { params: { path: { user: user.id } } });
          tell(say('deleted', { name }));
          await refresh();
        }}
      >
        {say('delete_text')}
      </Confirm>
      {open?.what === 'permissions' && (
        <Drawer
          opened
          onClose={close}
          position="right"
          size="min(620px, 100vw)"
          title={<strong>{say('permissions_of', { name })}</strong>}
          closeButtonProps={{ 'aria-label': ui('close') }}
        >
          <Grants of={{ user: open.user.name }} />
        </Drawer>
      )}
      {secret && (
        <SecretOnce
          title={say('password_title', { name: secret.name })}
          name={say('password')}
          secret={secret.password}
          onClose={() => setSecret(undefined)}
        >
          {say('password_text')}
        </SecretOnce>
      )}
    </>
  );
}

/** Says in the page's words that somebody else was faster. */
function meanwhile(sentence: string) {
  return (error: unknown) => {
    throw asProblem(error).status === 412 ? new Error(sentence) : error;
  };
}

function AdministratorBadge() {
  const say = useWords(usersWords);
  return (
    <ToneBadge tone="blue" icon={IconShieldCheck} title={say('administrator_hint')}>
      {say('administrator')}
    </ToneBadge>
  );
}

function DisabledBadge() {
  const say = useWords(usersWords);
  return (
    <ToneBadge tone="orange" icon={IconUserOff} title={say('disabled_hint')}>
      {say('disabled')}
    </ToneBadge>
  );
}

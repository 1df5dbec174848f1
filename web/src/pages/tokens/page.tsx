import { Button, Select, Tabs } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { useInfiniteQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { useState } from 'react';
import { api, baseUrl, data, type Schemas } from '#/api/client';
import { groupsQuery, itemsOf, paged } from '#/api/queries';
import { useCan } from '#/api/session';
import { useWords } from '#/i18n';
import { Confirm } from '#/ui/confirm';
import { CopyButton } from '#/ui/copy';
import { List } from '#/ui/list';
import { Page } from '#/ui/page';
import { SecretOnce } from '#/ui/secret';
import { Empty } from '#/ui/states';
import { tell } from '#/ui/tell';
import { usersQuery } from '../users/queries';
import { useTokenColumns } from './columns';
import { TokenForm } from './form';
import classes from './page.module.css';
import { tokensWords } from './words';

export type Token = Schemas['TokenView'];
type Created = Schemas['CreatedToken'];

const route = getRouteApi('/signed-in/tokens');

type Tab = 'mine' | 'workers' | 'all';

const tokensQuery = (tab: Tab, group: string | undefined) =>
  paged<Token>(['tokens', tab, group], (cursor) =>
    data(
      api.GET('/api/v1/tokens', {
        params: {
          query: {
            limit: 100,
            cursor,
            ...(tab === 'all' ? { all: true } : {}),
            ...(tab === 'workers' ? { group } : {}),
          },
        },
      }),
    ),
  );

export function TokensPage() {
  const say = useWords(tokensWords);
  const can = useCan();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const tabs: Tab[] = [
    'mine',
    ...(can.anywhere('owner') ? (['workers'] as const) : []),
    ...(can.administrator ? (['all'] as const) : []),
  ];
  const tab = tabs.find((tab) => tab === search.tab) ?? 'mine';
  return (
    <Page title={say('title')}>
      <Tabs
        value={tab}
        onChange={(tab) => void navigate({ search: { tab: tab === 'mine' ? undefined : (tab ?? undefined) } })}
        keepMounted={false}
      >
        <Tabs.List mb="md">
          {tabs.map((tab) => (
            <Tabs.Tab key={tab} value={tab}>
              {say(`tab.${tab}`)}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        {tabs.map((tab) => (
          <Tabs.Panel key={tab} value={tab}>
            <Tokens tab={tab} />
          </Tabs.Panel>
        ))}
      </Tabs>
    </Page>
  );
}

function Tokens({ tab }: { tab: Tab }) {
  const say = useWords(tokensWords);
  const can = useCan();
  const queries = useQueryClient();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const groups = useInfiniteQuery(groupsQuery());
  const owned = itemsOf(groups.data).filter((group) => can('owner', group.id));
  const group = search.group ?? owned[0]?.id;
  const groupName = (id: string) => itemsOf(groups.data).find((group) => group.id === id)?.name ?? id;
  const list = useInfiniteQuery({ ...tokensQuery(tab, group), enabled: tab !== 'workers' || group !== undefined });
  const users = useInfiniteQuery({ ...usersQuery(), enabled: tab === 'all' });
  const personName = (id: string) => itemsOf(users.data).find((user) => user.id === id)?.display_name;
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<Created>();
  const [revoking, setRevoking] = useState<Token>();
  const columns = useTokenColumns({ tab, groupName, personName, onRevoke: setRevoking });
  const refresh = () => queries.invalidateQueries({ queryKey: ['tokens'] });

  return (
    <>
      <div className={classes.head}>
        <span className="muted">{say(`text.${tab}`)}</span>
        <div className={classes.actions}>
          {tab === 'workers' && (
            <Select
              data-filter
              aria-label={say('group')}
              placeholder={say('choose_group')}
              data={owned.map((group) => ({ value: group.id, label: group.name }))}
              value={group ?? null}
              onChange={(group) =>
                void navigate({ search: { tab, group: group ?? undefined }, replace: true, resetScroll: false })
              }
              searchable
              allowDeselect={false}
              w={200}
            />
          )}
          {(tab === 'mine' || (tab === 'workers' && group !== undefined)) && (
            <Button leftSection={<IconPlus size={14} />} onClick={() => setMaking(true)}>
              {say(tab === 'mine' ? 'new_mine' : 'new_workers')}
            </Button>
          )}
        </div>
      </div>
      <List
        query={list}
        framed
        label={say(`tab.${tab}`)}
        columns={columns}
        rows={itemsOf(list.data)}
        rowKey={(token) => token.id}
        empty={<Empty title={say(`empty_${tab}`)} compact />}
      />
      {making && (
        <TokenForm
          group={tab === 'workers' && group ? { id: group, name: groupName(group) } : undefined}
          onClose={() => setMaking(false)}
          onMade={(token) => {
            setMaking(false);
            setMade(token);
            void refresh();
          }}
        />
      )}
      {made && (
        <SecretOnce title={made.name} name={say('token')} secret={made.token} onClose={() => setMade(undefined)}>
          {say('shown_once')}
          {made.worker_of && <WorkerEnvironment group={made.worker_of} token={made.token} />}
        </SecretOnce>
      )}
      <Confirm
        opened={revoking !== undefined}
        onClose={() => setRevoking(undefined)}
        title={say('revoke_title', { name: revoking?.name ?? '' })}
        verb={say('revoke')}
        dangerous
        onConfirm={async () => {
          if (!revoking) return;
          await api.DELETE('/api/v1/tokens/{token}', { params: { path: { token: revoking.id } } });
          tell(say('revoked', { name: revoking.name }));
          await refresh();
        }}
      >
        {say('revoke_text')}
      </Confirm>
    </>
  );
}

/** What a worker of the group is started with. */
function WorkerEnvironment({ group, token }: { group: string; token: string }) {
  const say = useWords(tokensWords);
  const text = `CARILLON_CONSOLES=${baseUrl()}\nCARILLON_GROUP=${group}\nCARILLON_TOKEN=${token}`;
  return (
    <div className={classes.environment}>
      <span>
        {say('worker_env')} <CopyButton text={text} label={say('variables')} />
      </span>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <pre tabIndex={0}>{text}</pre>
    </div>
  );
}

import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { api, data, type Schemas } from '#/api/client';
import { aboutQuery, shardsQuery, workersQuery } from '#/api/queries';
import { useCan } from '#/api/session';
import { useWords } from '#/i18n';
import { Facts, Page, Panel } from '#/ui/page';
import { Empty, Failed, Loading } from '#/ui/states';
import { type Column, Table } from '#/ui/table';
import { Time } from '#/ui/time';
import { GroupChanges } from './change';
import classes from './page.module.css';
import { groupsWords } from './words';

const route = getRouteApi('/signed-in/groups/$group');

type Shard = Schemas['ShardView'];
type Worker = Schemas['WorkerView'];
type Grant = Schemas['GrantView'];

export function GroupPage() {
  const { group: id } = route.useParams();
  const say = useWords(groupsWords);
  const about = useQuery(aboutQuery);
  const group = useQuery({
    queryKey: ['groups', id],
    queryFn: () => data(api.GET('/api/v1/groups/{group}', { params: { path: { group: id } } })),
  });
  if (group.isPending) return <Loading />;
  if (group.isError && !group.data) return <Failed error={group.error} retry={() => void group.refetch()} />;
  const { data: it } = group;
  return (
    <Page
      title={it.name}
      crumbs={[{ label: say('title'), to: '/groups' }, { label: it.id }]}
      subtitle={it.description}
      actions={
        <>
          <Button variant="default" renderRoot={(props) => <Link to="/runs" search={{ group: id }} {...props} />}>
            {say('open_runs')}
          </Button>
          <Button variant="default" renderRoot={(props) => <Link to="/jobs" search={{ group: id }} {...props} />}>
            {say('open_jobs')}
          </Button>
          <GroupChanges group={it} />
        </>
      }
    >
      <div className={classes.columns}>
        <div className={classes.column}>
          <Placement group={id} />
          <Workers group={id} />
        </div>
        <div className={classes.column}>
          <Panel title={say('facts')}>
            <Facts
              facts={[
                [
                  say('id'),
                  <span key="id" className="mono">
                    {it.id}
                  </span>,
                ],
                [say('cluster'), it.cluster],
                [say('server_group'), it.server_group],
                [
                  say('backups'),
                  <span key="backups" title={say('backups_hint')}>
                    {it.backups}
                  </span>,
                ],
                [say('shards'), it.shards],
                [
                  say('kept_for'),
                  it.keep_days != null
                    ? say('keep_days_count', { count: it.keep_days })
                    : about.data && say('keep_days_default', { count: about.data.limits.keep_days }),
                ],
                [say('created'), <Time key="created" at={it.created_at} milliseconds={false} />],
              ]}
            />
          </Panel>
          <Permissions group={id} />
        </div>
      </div>
    </Page>
  );
}

function Placement({ group }: { group: string }) {
  const say = useWords(groupsWords);
  const shards = useQuery(shardsQuery(group));
  const columns: Column<Shard>[] = [
    { id: 'shard', header: say('shard'), width: 80, cell: (shard) => <span className="num">{shard.index}</span> },
    {
      id: 'owner',
      header: say('owner'),
      cell: (shard) =>
        shard.owner && shard.owner_live ? (
          <strong style={{ fontWeight: 550 }}>{shard.owner}</strong>
        ) : (
          <span className={classes.gone}>{shard.owner ? `${shard.owner} (${say('gone')})` : say('no_owner')}</span>
        ),
    },
    {
      id: 'standbys',
      header: say('standbys'),
      from: 420,
      cell: (shard) => shard.standbys.join(', ') || <span className="muted">{say('no_standbys')}</span>,
    },
    {
      id: 'epoch',
      header: say('epoch'),
      width: 72,
      align: 'right',
      from: 520,
      cell: (shard) => <span className="num">{shard.epoch}</span>,
    },
    {
      id: 'planned',
      header: say('planned_until'),
      width: 120,
      from: 640,
      cell: (shard) => <Time at={shard.planned_until} show="clock" milliseconds={false} />,
    },
    {
      id: 'open',
      header: say('open'),
      width: 116,
      align: 'right',
      from: 640,
      cell: (shard) => <span className="num">{shard.open_runs ?? '–'}</span>,
    },
  ];
  return (
    <Panel title={say('placement')} flush>
      {shards.isPending ? (
        <Loading compact />
      ) : shards.isError && !shards.data ? (
        <Failed error={shards.error} retry={() => void shards.refetch()} compact />
      ) : (
        <Table
          label={say('placement')}
          columns={columns}
          rows={shards.data?.items ?? []}
          rowKey={(shard) => shard.id}
          height={420}
        />
      )}
    </Panel>
  );
}

function Workers({ group }: { group: string }) {
  const say = useWords(groupsWords);
  const workers = useQuery(workersQuery(group));
  const columns: Column<Worker>[] = [
    {
      id: 'name',
      header: say('name'),
      cell: (worker) => <strong style={{ fontWeight: 550 }}>{worker.name}</strong>,
    },
    { id: 'room', header: say('room'), width: 120, from: 480, cell: (worker) => worker.room || '–' },
    {
      id: 'handlers',
      header: say('handlers'),
      from: 600,
      cell: (worker) => (
        <span className="muted" title={worker.handlers.map((handler) => handler.name).join(', ')}>
          {worker.handlers.map((handler) => handler.name).join(', ')}
        </span>
      ),
    },
    {
      id: 'running',
      header: say('running'),
      width: 80,
      align: 'right',
      cell: (worker) => <span className="num">{worker.running}</span>,
    },
    {
      id: 'since',
      header: say('since'),
      width: 120,
      from: 700,
      cell: (worker) => <Time at={worker.connected_at} show="relative" />,
    },
  ];
  return (
    <Panel title={say('workers')} flush>
      {workers.isPending ? (
        <Loading compact />
      ) : workers.isError && !workers.data ? (
        <Failed error={workers.error} retry={() => void workers.refetch()} compact />
      ) : (
        <Table
          label={say('workers')}
          columns={columns}
          rows={workers.data?.items ?? []}
          rowKey={(worker) => worker.incarnation}
          height={420}
          empty={<Empty title={say('no_workers')} compact />}
        />
      )}
    </Panel>
  );
}

function Permissions({ group }: { group: string }) {
  const say = useWords(groupsWords);
  const can = useCan();
  const mayLook = can('owner', group);
  const grants = useQuery({
    queryKey: ['grants', group],
    queryFn: () => data(api.GET('/api/v1/grants', { params: { query: { group, limit: 200 } } })),
    enabled: mayLook,
  });
  if (!mayLook) return null;
  const columns: Column<Grant>[] = [
    { id: 'user', header: say('user'), cell: (grant) => grant.user ?? '–' },
    { id: 'role', header: say('role'), width: 110, cell: (grant) => say(`role.${grant.role}`) },
  ];
  return (
    <Panel title={say('permissions')} flush>
      {grants.isPending ? (
        <Loading compact />
      ) : grants.isError && !grants.data ? (
        <Failed error={grants.error} retry={() => void grants.refetch()} compact />
      ) : (
        <Table
          label={say('permissions')}
          columns={columns}
          rows={grants.data?.items ?? []}
          rowKey={(grant) => `${grant.user_id} ${grant.role}`}
          empty={<Empty title={say('no_permissions')} compact />}
        />
      )}
    </Panel>
  );
}

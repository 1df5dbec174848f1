import { Button, Tooltip } from '@mantine/core';
import { IconAlertTriangle, IconBellRinging, IconCheck, IconLogout, IconShield } from '@tabler/icons-react';
import { useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { api, data } from '#/api/client';
import { groupsQuery, itemsOf, serversQuery, shardsQuery } from '#/api/queries';
import { useCan } from '#/api/session';
import { useWords } from '#/i18n';
import { formatDuration } from '#/lib/duration';
import { Confirm } from '#/ui/confirm';
import { GroupSelect } from '#/ui/group';
import { Notice } from '#/ui/notice';
import { Facts, Page } from '#/ui/page';
import { ToneBadge } from '#/ui/state';
import { Empty, Failed, Loading } from '#/ui/states';
import { tell } from '#/ui/tell';
import { Time } from '#/ui/time';
import { HandOvers } from './handovers';
import classes from './page.module.css';
import { type Held, heldBy, roomsOf, type Server, type Warning, warningsOf } from './placement';
import { clusterWords } from './words';

const route = getRouteApi('/signed-in/cluster');

/** Warnings written out; the rest is counted. */
const WARNINGS_SHOWN = 5;

export function ClusterPage() {
  const say = useWords(clusterWords);
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const servers = useQuery(serversQuery());
  const shards = useQuery(shardsQuery(search.group));
  const groups = useInfiniteQuery(groupsQuery());
  const [selected, setSelected] = useState<string>();

  const names = useMemo(() => new Map(itemsOf(groups.data).map((group) => [group.id, group.name])), [groups.data]);
  const backups = useMemo(() => new Map(itemsOf(groups.data).map((group) => [group.id, group.backups])), [groups.data]);
  const rooms = useMemo(() => roomsOf(servers.data?.items ?? []), [servers.data]);
  const held = useMemo(() => heldBy(shards.data?.items ?? []), [shards.data]);
  const warnings = useMemo(
    () => warningsOf(shards.data?.items ?? [], servers.data?.items ?? [], backups),
    [shards.data, servers.data, backups],
  );
  const nameOf = (entry: { group: string; index: number }) => `${names.get(entry.group) ?? entry.group}.${entry.index}`;

  if (servers.isPending || shards.isPending) return <Loading />;
  const failure = (servers.isError && !servers.data && servers) || (shards.isError && !shards.data && shards);
  if (failure) return <Failed error={failure.error} retry={() => void failure.refetch()} />;

  return (
    <Page
      title={say('title')}
      subtitle={[
        say('rooms', { count: rooms.length }),
        say('servers', { count: servers.data?.items.length ?? 0 }),
        say('shards', { count: shards.data?.items.length ?? 0 }),
      ].join(' · ')}
      actions={
        <GroupSelect
          value={search.group}
          onChange={(group) => void navigate({ search: (before) => ({ ...before, group }), replace: true })}
        />
      }
    >
      {warnings.length > 0 && <Warnings warnings={warnings} nameOf={nameOf} />}
      {rooms.length === 0 ? (
        <Empty title={say('empty')}>{say('empty_hint')}</Empty>
      ) : (
        <>
          <p className={`muted ${classes.legend}`}>
            <span>
              <IconBellRinging size={13} /> {say('legend_owner')}
            </span>
            <span>
              <IconShield size={13} /> {say('legend_standby')}
            </span>
          </p>
          <div className={classes.rooms}>
            {rooms.map((room) => (
              <section key={room.name} className={classes.room} aria-label={room.name || say('no_room')}>
                <h2 className={classes.roomName}>
                  {room.name || say('no_room')}
                  <span className="muted">{say('servers', { count: room.servers.length })}</span>
                </h2>
                {room.servers.map((server) => (
                  <ServerCard
                    key={server.id}
                    server={server}
                    held={held.get(server.id) ?? []}
                    nameOf={nameOf}
                    selected={selected}
                    onSelect={setSelected}
                  />
                ))}
              </section>
            ))}
          </div>
          <HandOvers
            rooms={rooms.map((room) => room.name)}
            group={search.group}
            window={search.window}
            onWindow={(window) => void navigate({ search: (before) => ({ ...before, window }), replace: true })}
            nameOf={nameOf}
          />
        </>
      )}
    </Page>
  );
}

function Warnings({ warnings, nameOf }: { warnings: readonly Warning[]; nameOf: (shard: Held['shard']) => string }) {
  const say = useWords(clusterWords);
  return (
    <Notice tone={warnings[0]?.kind === 'no_owner' ? 'red' : 'orange'}>
      <strong>{say('warnings')}</strong>
      <ul className={classes.warnings}>
        {warnings.slice(0, WARNINGS_SHOWN).map((warning) => {
          const shard = nameOf(warning.shard);
          return (
            <li key={`${warning.kind} ${warning.shard.id}`}>
              {warning.kind === 'no_owner' && say('no_owner', { shard })}
              {warning.kind === 'few_holders' &&
                say('few_holders', { shard, held: warning.held, backups: warning.backups })}
              {warning.kind === 'one_room' && say('one_room', { shard, room: warning.room || say('no_room') })}
            </li>
          );
        })}
        {warnings.length > WARNINGS_SHOWN && (
          <li>{say('more_warnings', { count: warnings.length - WARNINGS_SHOWN })}</li>
        )}
      </ul>
    </Notice>
  );
}

interface CardProps {
  server: Server;
  held: readonly Held[];
  nameOf: (shard: Held['shard']) => string;
  /** The shard whose holders stand out. */
  selected: string | undefined;
  onSelect: (shard: string | undefined) => void;
}

function ServerCard({ server, held, nameOf, selected, onSelect }: CardProps) {
  const say = useWords(clusterWords);
  const can = useCan();
  const queries = useQueryClient();
  const [asking, setAsking] = useState(false);
  return (
    <article className={classes.server} data-silent={!server.answers} aria-label={server.id}>
      <header className={classes.serverHead}>
        <h3 className={classes.serverName}>{server.id}</h3>
        {!server.answers ? (
          <ToneBadge tone="red" icon={IconAlertTriangle}>
            {say('silent')}
          </ToneBadge>
        ) : server.draining ? (
          <ToneBadge tone="orange" icon={IconLogout}>
            {say('draining')}
          </ToneBadge>
        ) : (
          <ToneBadge tone="green" icon={IconCheck}>
            {say('answers')}
          </ToneBadge>
        )}
        {can.administrator && server.answers && !server.draining && (
          <Button
            size="compact-xs"
            variant="default"
            className={classes.drain}
            aria-label={say('drain_server', { server: server.id })}
            onClick={() => setAsking(true)}
          >
            {say('drain')}
          </Button>
        )}
      </header>
      <ul className={classes.chips}>
        {held.length === 0 && <li className="muted">{say('nothing_held')}</li>}
        {held.map(({ shard, owner }) => {
          const name = nameOf(shard);
          return (
            <li key={shard.id}>
              <Tooltip label={`${shard.id} · ${say('selected', { shard: name })}`}>
                <button
                  type="button"
                  className={classes.chip}
                  data-owner={owner}
                  data-dim={selected !== undefined && selected !== shard.id}
                  aria-pressed={selected === shard.id}
                  aria-label={say(owner ? 'owner_of' : 'standby_of', { shard: name })}
                  onClick={() => onSelect(selected === shard.id ? undefined : shard.id)}
                >
                  {owner ? <IconBellRinging size={12} /> : <IconShield size={12} />}
                  {name}
                </button>
              </Tooltip>
            </li>
          );
        })}
      </ul>
      <Facts
        facts={[
          [say('owns'), <span key="owns" className="num">{`${server.shards_owned} / ${server.shards_held}`}</span>],
          [
            say('workers'),
            <span key="workers" className="num">
              {server.workers}
            </span>,
          ],
          [say('version'), server.version],
          [
            say('address'),
            <span key="address" className="mono">
              {server.address}
            </span>,
          ],
          [say('since'), <Time key="since" at={server.joined_at} show="relative" />],
          server.clock_offset_ms !== null &&
            server.clock_offset_ms !== undefined && [
              say('clock'),
              <span key="clock" className="num" title={say('clock_hint')}>
                {server.clock_offset_ms > 0 ? '+' : ''}
                {formatDuration(server.clock_offset_ms)}
              </span>,
            ],
        ]}
      />
      <Confirm
        opened={asking}
        onClose={() => setAsking(false)}
        title={say('drain_title', { server: server.id })}
        verb={say('drain')}
        dangerous
        onConfirm={async () => {
          const drained = await data(
            api.POST('/api/v1/servers/{server}/drain', { params: { path: { server: server.id } } }),
          );
          tell(say('drained', { count: drained.shards }));
          await queries.invalidateQueries({ queryKey: ['servers'] });
        }}
      >
        {say('drain_text')}
      </Confirm>
    </article>
  );
}

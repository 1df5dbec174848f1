import { SegmentedControl } from '@mantine/core';
import {
  IconArrowsExchange,
  IconBellPlus,
  IconHourglass,
  IconLockOpen,
  IconPlugConnectedX,
  IconRefresh,
} from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import type { Schemas } from '#/api/client';
import { handOversQuery } from '#/api/queries';
import { useWords } from '#/i18n';
import { useZone } from '#/lib/preferences';
import { clock, instant } from '#/lib/time';
import { Panel } from '#/ui/page';
import { type Tone, ToneBadge } from '#/ui/state';
import { Empty, Failed, Loading } from '#/ui/states';
import { type Column, Table } from '#/ui/table';
import { Time } from '#/ui/time';
import classes from './page.module.css';
import { clusterWords } from './words';

const causes = ['owner_gone', 'lock_lost', 'owner_lags', 'handed_over', 'first', 'again'] as const;

/** From the worst to the most harmless. */
export type Cause = (typeof causes)[number];

export type HandOver = Omit<Schemas['HandOverView'], 'cause'> & { cause: Cause };

const HOUR = 3_600_000;
const windows = { '1h': HOUR, '24h': 24 * HOUR, '7d': 168 * HOUR } as const;
export type Window = keyof typeof windows;

const looks: Record<Cause, { tone: Tone; icon: typeof IconRefresh }> = {
  first: { tone: 'slate', icon: IconBellPlus },
  handed_over: { tone: 'blue', icon: IconArrowsExchange },
  owner_gone: { tone: 'red', icon: IconPlugConnectedX },
  lock_lost: { tone: 'plum', icon: IconLockOpen },
  owner_lags: { tone: 'orange', icon: IconHourglass },
  again: { tone: 'slate', icon: IconRefresh },
};

interface HandOversProps {
  rooms: readonly string[];
  group: string | undefined;
  window: string | undefined;
  onWindow: (window: Window) => void;
  nameOf: (shard: { group: string; index: number }) => string;
}

/** Who took which shard when, and why: as lanes by machine room, and as a list. */
export function HandOvers({ rooms, group, window: chosen, onWindow, nameOf }: HandOversProps) {
  const say = useWords(clusterWords);
  const window: Window = chosen && chosen in windows ? (chosen as Window) : '24h';
  const [opened] = useState(Date.now);
  // Rounded, so that the same question is asked again and not a new one each time.
  const from = new Date(Math.floor(opened / 60_000) * 60_000 - windows[window]).toISOString();
  const list = useQuery(handOversQuery(from, group));
  const handOvers = useMemo(() => (list.data?.items ?? []) as unknown as HandOver[], [list.data]);
  const shardName = (entry: HandOver) =>
    nameOf({ group: entry.group, index: Number(entry.shard.slice(entry.shard.lastIndexOf('.') + 1)) });

  const columns: Column<HandOver>[] = [
    { id: 'at', header: say('at'), width: 250, from: 640, cell: (entry) => <Time at={entry.at} /> },
    {
      id: 'ago',
      header: say('at'),
      width: 100,
      until: 640,
      cell: (entry) => <Time at={entry.at} show="relative" />,
    },
    {
      id: 'shard',
      header: say('shard'),
      cell: (entry) => <span title={entry.shard}>{shardName(entry)}</span>,
    },
    {
      id: 'cause',
      header: say('cause'),
      width: 150,
      from: 560,
      cell: (entry) => <CauseBadge cause={entry.cause} />,
    },
    {
      id: 'from',
      header: say('from'),
      from: 760,
      cell: (entry) => <Place server={entry.from_server} room={entry.from_room} />,
    },
    { id: 'to', header: say('to'), cell: (entry) => <Place server={entry.to_server} room={entry.to_room} /> },
    {
      id: 'epoch',
      header: say('epoch'),
      width: 80,
      align: 'right',
      from: 680,
      cell: (entry) => <span className="num">{entry.epoch}</span>,
    },
  ];

  return (
    <Panel
      title={say('handovers')}
      flush
      actions={
        <SegmentedControl
          size="xs"
          aria-label={say('window')}
          data={(Object.keys(windows) as Window[]).map((window) => ({ value: window, label: say(`window.${window}`) }))}
          value={window}
          onChange={(window) => onWindow(window)}
        />
      }
    >
      {list.isPending ? (
        <Loading compact />
      ) : list.isError && !list.data ? (
        <Failed error={list.error} retry={() => void list.refetch()} compact />
      ) : handOvers.length === 0 ? (
        <Empty title={say('no_handovers')} compact />
      ) : (
        <>
          <Lanes rooms={rooms} handOvers={handOvers} from={Date.parse(from)} shardName={shardName} />
          <Table
            label={say('handovers')}
            columns={columns}
            rows={handOvers}
            rowKey={(entry) => `${entry.shard} ${entry.epoch}`}
            height={420}
            rowHeight={36}
          />
        </>
      )}
    </Panel>
  );
}

function CauseBadge({ cause }: { cause: Cause }) {
  const say = useWords(clusterWords);
  const { tone, icon } = looks[cause];
  return (
    <ToneBadge tone={tone} icon={icon}>
      {say(`cause.${cause}`)}
    </ToneBadge>
  );
}

function Place({ server, room }: { server: string | null | undefined; room: string | null | undefined }) {
  if (!server) return <span className="muted">–</span>;
  return (
    <>
      {server} {room && <span className="muted">· {room}</span>}
    </>
  );
}

/** Marks closer than this share of the lane are drawn as one. */
const NEAR = 0.012;

interface Mark {
  at: number;
  entries: HandOver[];
}

/** One lane for each machine room; a mark stands in the room that took the shard. */
function Lanes({
  rooms,
  handOvers,
  from,
  shardName,
}: {
  rooms: readonly string[];
  handOvers: readonly HandOver[];
  from: number;
  shardName: (entry: HandOver) => string;
}) {
  const say = useWords(clusterWords);
  const zone = useZone();
  const to = Math.max(Date.now(), ...handOvers.map((entry) => Date.parse(entry.at)));
  const lanes = useMemo(() => {
    const names = [...new Set([...rooms, ...handOvers.map((entry) => entry.to_room)])].sort();
    return names.map((room) => {
      const marks: Mark[] = [];
      const own = handOvers.filter((entry) => entry.to_room === room).reverse();
      for (const entry of own) {
        const at = (Date.parse(entry.at) - from) / (to - from);
        const last = marks.at(-1);
        if (last && at - last.at < NEAR) last.entries.push(entry);
        else marks.push({ at, entries: [entry] });
      }
      return { room, marks };
    });
  }, [rooms, handOvers, from, to]);
  const hours = (to - from) / HOUR;
  /** Days where there are several; where it may be another day, that of both ends. */
  const edge = (share: number) => {
    const at = new Date(from + (to - from) * share);
    if (hours > 36) return instant(at, zone).slice(5, 10);
    return hours > 12 && (share === 0 || share === 1) ? instant(at, zone).slice(5, 16) : clock(at, zone).slice(0, 5);
  };
  return (
    <figure className={classes.lanes} aria-label={say('timeline')}>
      {lanes.map(({ room, marks }) => (
        <div key={room} className={classes.lane}>
          <span className="ellipsis">{room || say('no_room')}</span>
          <span className={classes.track}>
            {marks.map((mark) => {
              // The worst cause stands for those that are drawn as one.

              const cause = causes.find((cause) => mark.entries.some((entry) => entry.cause === cause)) ?? 'again';
              const Icon = looks[cause].icon;
              const title = mark.entries
                .slice(0, 8)
                .map(
                  (entry) =>
                    `${clock(new Date(entry.at), zone)} ${shardName(entry)}: ${entry.from_server ?? '–'} → ${entry.to_server} (${say(`cause.${entry.cause}`)})`,
                )
                .join('\n');
              return (
                <span
                  key={mark.entries[0]?.at}
                  className={classes.mark}
                  data-cause={cause}
                  style={{ left: `${mark.at * 100}%` }}
                  title={title}
                >
                  {mark.entries.length > 1 ? (
                    <span className={classes.markCount}>{mark.entries.length}</span>
                  ) : (
                    <Icon size={12} stroke={2.4} />
                  )}
                </span>
              );
            })}
          </span>
        </div>
      ))}
      <div className={classes.axis}>
        {[0, 0.25, 0.5, 0.75, 1].map((share) => (
          <span key={share} className="num">
            {edge(share)}
          </span>
        ))}
      </div>
    </figure>
  );
}

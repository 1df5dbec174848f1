import { Switch } from '@mantine/core';
import { IconCalendarTime } from '@tabler/icons-react';
import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import type { Schemas } from '#/api/client';
import { firesQuery, type Job } from '#/api/queries';
import { useWords } from '#/i18n';
import { Panel } from '#/ui/page';
import { StateBadge, ToneBadge, useReasonName, useTriggerName } from '#/ui/state';
import { Empty, Failed, Loading } from '#/ui/states';
import { type Column, Table } from '#/ui/table';
import { Lateness, Time } from '#/ui/time';
import classes from './page.module.css';
import { jobWords } from './words';

type Fire = Schemas['FireView'];

/** The states of fires that nothing ran for. */
const didNotRun: Schemas['RunState'][] = ['missed', 'skipped', 'cancelled'];

/** From this width on there is room for a whole time; the reason has its place on every screen. */
const WIDE = 640;

/** Every fire time with its outcome: the answer to "why did it (not) run?". */
export function Ledger({ job }: { job: Job }) {
  const say = useWords(jobWords);
  const reasonName = useReasonName();
  const triggerName = useTriggerName();
  const [onlyNot, setOnlyNot] = useState(false);
  const list = useInfiniteQuery({
    ...firesQuery(String(job.id), onlyNot ? didNotRun : undefined),
    placeholderData: keepPreviousData,
    refetchInterval: 10_000,
  });
  const fires = useMemo(() => {
    const pages = list.data?.pages ?? [];
    // What is to come stands above what was, latest first like the rest.
    return [...(pages[0]?.upcoming ?? [])].reverse().concat(pages.flatMap((page) => page.items));
  }, [list.data]);

  const columns: Column<Fire>[] = [
    {
      id: 'outcome',
      header: say('outcome'),
      width: 124,
      cell: (fire) =>
        fire.state === 'upcoming' ? (
          <ToneBadge tone="slate" icon={IconCalendarTime}>
            {say('fire.upcoming')}
          </ToneBadge>
        ) : (
          <StateBadge state={fire.state} />
        ),
    },
    {
      id: 'fire_time',
      header: say('fire_time'),
      width: 246,
      from: WIDE,
      cell: (fire) => <FireTime fire={fire} show="full" />,
    },
    {
      id: 'when',
      header: say('fire_time'),
      width: 92,
      until: WIDE,
      cell: (fire) => <FireTime fire={fire} show="relative" />,
    },
    {
      id: 'lateness',
      header: say('lateness'),
      width: 100,
      align: 'right',
      from: 520,
      cell: (fire) => <Lateness of={fire.lateness} />,
    },
    {
      id: 'reason',
      header: say('reason'),
      cell: (fire) =>
        fire.reason ? (
          <span title={fire.reason.detail}>
            {reasonName(fire.reason.code)} <span className="muted">{fire.reason.detail}</span>
          </span>
        ) : (
          <span className="muted">{fire.trigger ? triggerName(fire.trigger) : ''}</span>
        ),
    },
  ];

  if (list.isPending) return <Loading />;
  if (list.isError && !list.data) return <Failed error={list.error} retry={() => void list.refetch()} />;
  return (
    <Panel flush fill>
      <div className={classes.hint}>
        {say('ledger_hint')}
        <Switch
          size="xs"
          label={say('only_not_run')}
          checked={onlyNot}
          onChange={(event) => setOnlyNot(event.currentTarget.checked)}
        />
      </div>
      <Table
        label={say('tab.fires')}
        columns={columns}
        rows={fires}
        rowKey={(fire) => fire.run ?? fire.fire_time}
        more={list}
        height="fill"
        empty={<Empty title={say(onlyNot ? 'all_ran' : 'no_ledger')} />}
      />
    </Panel>
  );
}

function FireTime({ fire, show }: { fire: Fire; show: 'full' | 'relative' }) {
  const time = <Time at={fire.fire_time} show={show} />;
  if (!fire.run) return time;
  return (
    <Link to="/runs/$run" params={{ run: fire.run }} className="plain">
      {time}
    </Link>
  );
}

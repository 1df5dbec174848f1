import { UnstyledButton } from '@mantine/core';
import { IconCircleCheck, IconDoorExit } from '@tabler/icons-react';
import { useWords } from '#/i18n';
import { ToneBadge } from '#/ui/state';
import { type Column, Table } from '#/ui/table';
import { Time } from '#/ui/time';
import type { Worker } from './page';
import classes from './page.module.css';
import { workersWords } from './words';

interface WorkerTableProps {
  label: string;
  workers: readonly Worker[];
  onChoose: (worker: Worker) => void;
}

/** The workers of one task group in one machine room. */
export function WorkerTable({ label, workers, onChoose }: WorkerTableProps) {
  const say = useWords(workersWords);
  const columns: Column<Worker>[] = [
    {
      id: 'name',
      header: say('name'),
      cell: (worker) => (
        <UnstyledButton
          className={classes.name}
          onClick={() => onChoose(worker)}
          aria-label={say('details', { name: worker.name })}
        >
          {worker.name}
        </UnstyledButton>
      ),
    },
    { id: 'state', header: say('state'), width: 110, cell: (worker) => <WorkerState worker={worker} /> },
    {
      id: 'handlers',
      header: say('handlers'),
      from: 620,
      cell: (worker) => (
        <span className="muted" title={worker.handlers.map((handler) => handler.name).join(', ')}>
          {worker.handlers.map((handler) => handler.name).join(', ')}
        </span>
      ),
    },
    {
      id: 'labels',
      header: say('labels'),
      width: 200,
      from: 1000,
      cell: (worker) => <Labels labels={worker.labels} />,
    },
    {
      id: 'running',
      header: say('running'),
      width: 90,
      align: 'right',
      from: 320,
      cell: (worker) => <span className="num">{worker.running}</span>,
    },
    {
      id: 'version',
      header: say('version'),
      width: 110,
      from: 880,
      cell: (worker) => <span className="mono">{worker.sdk_version}</span>,
    },
    {
      id: 'since',
      header: say('since'),
      width: 130,
      from: 760,
      cell: (worker) => <Time at={worker.connected_at} show="relative" />,
    },
  ];
  return <Table label={label} columns={columns} rows={workers} rowKey={(worker) => worker.incarnation} />;
}

/** Whether a worker takes new runs. */
export function WorkerState({ worker }: { worker: Worker }) {
  const say = useWords(workersWords);
  return worker.draining ? (
    <ToneBadge tone="orange" icon={IconDoorExit} title={say('draining_hint')}>
      {say('draining')}
    </ToneBadge>
  ) : (
    <ToneBadge tone="green" icon={IconCircleCheck}>
      {say('ready')}
    </ToneBadge>
  );
}

export function Labels({ labels }: { labels: Record<string, string> }) {
  const entries = Object.entries(labels);
  if (entries.length === 0) return <span className="muted">–</span>;
  return (
    <span className={classes.labels}>
      {entries.map(([name, value]) => (
        <span key={name} className={classes.label}>
          {name}={value}
        </span>
      ))}
    </span>
  );
}

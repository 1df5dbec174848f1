import { ActionIcon, Tooltip } from '@mantine/core';
import { IconFileText } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import { useMemo } from 'react';
import type { Run } from '#/api/queries';
import { useWords } from '#/i18n';
import { StateBadge, useReasonName, useTriggerName } from '#/ui/state';
import { type Column, TwoLines } from '#/ui/table';
import { Duration, Lateness, Time } from '#/ui/time';
import { uiWords } from '#/ui/words';
import { runsWords } from './words';

/** From this width on there is room for a whole time. */
const WIDE = 640;

/** From this width on a run's job and its time stand side by side. */
const BESIDE = 460;

/** The columns of a list of runs; the job's is left out on the job's own page. */
export function useRunColumns({ job: withJob = true }: { job?: boolean } = {}): Column<Run>[] {
  const say = useWords(runsWords);
  const ui = useWords(uiWords);
  const reasonName = useReasonName();
  const triggerName = useTriggerName();
  return useMemo(() => {
    const jobLink = (run: Run) => (
      <Link to="/runs/$run" params={{ run: run.id }} className="plain" preload="intent">
        <strong style={{ fontWeight: 550 }}>{run.job_name ?? say('deleted_job', { id: run.job })}</strong>
      </Link>
    );
    const columns: (Column<Run> | false)[] = [
      { id: 'state', header: ui('state'), width: 130, cell: (run) => <StateBadge state={run.state} /> },
      withJob && { id: 'job', header: say('job'), from: BESIDE, cell: jobLink },
      withJob && {
        id: 'job_and_when',
        header: say('job'),
        until: BESIDE,
        cell: (run) => (
          <TwoLines
            first={jobLink(run)}
            second={
              <>
                <Time at={run.fire_time} show="relative" /> · <Lateness of={run.lateness} />
              </>
            }
          />
        ),
      },
      {
        id: 'fire_time',
        header: say('fire_time'),
        width: 246,
        from: WIDE,
        cell: (run) =>
          withJob ? (
            <Time at={run.fire_time} />
          ) : (
            <Link to="/runs/$run" params={{ run: run.id }} className="plain" preload="intent">
              <Time at={run.fire_time} />
            </Link>
          ),
      },
      {
        id: 'when',
        header: say('fire_time'),
        width: 92,
        ...(withJob ? { from: BESIDE } : {}),
        until: WIDE,
        cell: (run) =>
          withJob ? (
            <Time at={run.fire_time} show="relative" />
          ) : (
            <Link to="/runs/$run" params={{ run: run.id }} className="plain" preload="intent">
              <Time at={run.fire_time} show="relative" />
            </Link>
          ),
      },
      {
        id: 'lateness',
        header: say('lateness'),
        width: 96,
        align: 'right',
        from: withJob ? BESIDE : 340,
        cell: (run) => <Lateness of={run.lateness} />,
      },
      {
        id: 'duration',
        header: say('duration'),
        width: 100,
        align: 'right',
        from: 560,
        cell: (run) => <Duration of={run.duration} />,
      },
      { id: 'worker', header: say('worker'), width: 130, from: 980, cell: (run) => run.worker?.name ?? '–' },
      { id: 'trigger', header: say('trigger'), width: 110, from: 1080, cell: (run) => triggerName(run.trigger) },
      {
        id: 'attempt',
        header: say('attempt'),
        width: 84,
        align: 'right',
        from: 1180,
        cell: (run) => <span className="num">{run.attempt}</span>,
      },
      {
        id: 'reason',
        header: say('reason'),
        from: 900,
        cell: (run) =>
          run.reason && (
            <span className="muted" title={run.reason.detail}>
              {reasonName(run.reason.code)}
            </span>
          ),
      },
      {
        id: 'log',
        header: '',
        width: 48,
        align: 'right',
        // Before that the line's link alone leads there.
        from: BESIDE,
        cell: (run) => (
          <Tooltip label={say('log')}>
            <ActionIcon
              aria-label={say('log_of', { name: run.job_name ?? String(run.job) })}
              renderRoot={(props) => <Link to="/runs/$run" params={{ run: run.id }} {...props} />}
            >
              <IconFileText size={16} />
            </ActionIcon>
          </Tooltip>
        ),
      },
    ];
    return columns.filter((column) => column !== false);
  }, [say, ui, reasonName, triggerName, withJob]);
}

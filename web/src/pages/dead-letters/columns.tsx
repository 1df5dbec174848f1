import { ActionIcon, Group, Tooltip } from '@mantine/core';
import { IconFileText, IconRefresh, IconTrash } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import { useMemo } from 'react';
import type { Run } from '#/api/queries';
import { useCan } from '#/api/session';
import { useWords } from '#/i18n';
import { StateBadge, useReasonName } from '#/ui/state';
import { type Column, TwoLines } from '#/ui/table';
import { Time } from '#/ui/time';
import { uiWords } from '#/ui/words';
import { deadLettersWords } from './words';

/** From this width on there is room for reasons; from that on for whole times. */
const REASONS = 560;
const TIMES = 860;

interface ColumnsProps {
  onRetry: (run: Run) => void;
  onDiscard: (run: Run) => void;
}

export function useDeadLetterColumns({ onRetry, onDiscard }: ColumnsProps): Column<Run>[] {
  const say = useWords(deadLettersWords);
  const ui = useWords(uiWords);
  const reasonName = useReasonName();
  const can = useCan();
  return useMemo(() => {
    const nameOf = (run: Run) => run.job_name ?? say('deleted_job', { id: run.job });
    const jobLink = (run: Run) => (
      <Link to="/runs/$run" params={{ run: run.id }} className="plain" preload="intent">
        <strong style={{ fontWeight: 550 }}>{nameOf(run)}</strong>
      </Link>
    );
    return [
      { id: 'state', header: ui('state'), width: 130, from: 430, cell: (run) => <StateBadge state={run.state} /> },
      { id: 'job', header: say('job'), width: 210, from: REASONS, cell: jobLink },
      {
        id: 'job_and_reason',
        header: say('job'),
        until: REASONS,
        cell: (run) => (
          <TwoLines
            first={jobLink(run)}
            second={
              <>
                <Time at={run.fire_time} show="relative" /> · {run.reason && reasonName(run.reason.code)}
              </>
            }
          />
        ),
      },
      {
        id: 'reason',
        header: say('reason'),
        from: REASONS,
        cell: (run) =>
          run.reason && (
            <span title={run.reason.detail}>
              {reasonName(run.reason.code)}
              {run.reason.detail && <span className="muted"> · {run.reason.detail}</span>}
            </span>
          ),
      },
      {
        id: 'attempts',
        header: say('attempts'),
        width: 92,
        align: 'right',
        from: 760,
        cell: (run) => <span className="num">{run.attempt}</span>,
      },
      { id: 'worker', header: say('worker'), width: 130, from: 1240, cell: (run) => run.worker?.name ?? '–' },
      {
        id: 'when',
        header: say('fire_time'),
        width: 92,
        from: REASONS,
        until: TIMES,
        cell: (run) => <Time at={run.fire_time} show="relative" />,
      },
      {
        id: 'fire_time',
        header: say('fire_time'),
        width: 226,
        from: TIMES,
        cell: (run) => <Time at={run.fire_time} />,
      },
      {
        id: 'actions',
        header: '',
        width: 106,
        align: 'right',
        cell: (run) =>
          can('operator', run.group) && (
            <Group gap={8} justify="flex-end" wrap="nowrap">
              <Tooltip label={say('retry')}>
                <ActionIcon aria-label={say('retry_of', { name: nameOf(run) })} onClick={() => onRetry(run)}>
                  <IconRefresh size={16} />
                </ActionIcon>
              </Tooltip>
              <Tooltip label={say('discard')}>
                <ActionIcon aria-label={say('discard_of', { name: nameOf(run) })} onClick={() => onDiscard(run)}>
                  <IconTrash size={16} />
                </ActionIcon>
              </Tooltip>
            </Group>
          ),
      },
      {
        id: 'log',
        header: '',
        width: 48,
        align: 'right',
        // Before that the line's link alone leads there.
        from: REASONS,
        cell: (run) => (
          <Tooltip label={say('log')}>
            <ActionIcon
              aria-label={say('log_of', { name: nameOf(run) })}
              renderRoot={(props) => <Link to="/runs/$run" params={{ run: run.id }} {...props} />}
            >
              <IconFileText size={16} />
            </ActionIcon>
          </Tooltip>
        ),
      },
    ];
  }, [say, ui, reasonName, can, onRetry, onDiscard]);
}

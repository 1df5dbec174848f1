import { IconAlertTriangle, IconCheck, IconCircleDashed, IconLoader } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import { useWords } from '#/i18n';
import { formatDuration, parseDuration } from '#/lib/duration';
import { count } from '#/lib/time';
import { Figure } from '#/ui/page';
import { Duration, Elapsed } from '#/ui/time';
import classes from './progress.module.css';
import type { MapProgress } from './queries';
import { subtasksWords } from './words';

const parts = ['done', 'failed', 'running', 'waiting'] as const;

/** Both levels of a map: how much was split, how much of it is processed, and how fast. */
export function Progress({
  progress,
  startedAt,
  finishedAt,
  compact = false,
}: {
  progress: MapProgress;
  startedAt?: string | null | undefined;
  finishedAt?: string | null | undefined;
  compact?: boolean;
}) {
  const say = useWords(subtasksWords);
  const { phase, total, done, failed, waiting } = progress;
  const running = progress.running ?? 0;
  const amounts = { done, failed, running, waiting };
  const splitting = phase === 'splitting';
  const remaining = parseDuration(progress.remaining);
  const share = total === 0 ? 0 : (done + failed) / total;
  return (
    <div className={classes.progress}>
      <Level
        name={say('level1')}
        state={phase === 'waiting' ? 'waiting' : splitting ? 'going' : 'done'}
        words={say(splitting ? 'split_so_far' : 'split_all', { count: count(total) })}
      >
        <div className={classes.bar} data-busy={splitting}>
          <span data-part={splitting ? 'running' : 'done'} style={{ width: phase === 'waiting' ? 0 : '100%' }} />
        </div>
      </Level>
      <Level
        name={say('level2')}
        state={
          phase === 'ended' || phase === 'reducing'
            ? failed > 0
              ? 'failed'
              : 'done'
            : done + running > 0
              ? 'going'
              : 'waiting'
        }
        words={`${count(done + failed)} / ${count(total)} · ${(share * 100).toFixed(share > 0.999 && share < 1 ? 2 : share === 1 ? 0 : 1)}%`}
      >
        <div
          className={classes.bar}
          role="progressbar"
          aria-label={say('level2')}
          aria-valuemin={0}
          aria-valuemax={total}
          aria-valuenow={done + failed}
        >
          {parts.map(
            (part) =>
              amounts[part] > 0 && (
                <span key={part} data-part={part} style={{ flexGrow: amounts[part], flexBasis: 2 }} />
              ),
          )}
        </div>
        <ul className={classes.legend}>
          {parts.map((part) => (
            <li key={part}>
              <span className={classes.swatch} data-part={part} aria-hidden />
              {say(part)} <strong className="num">{count(amounts[part])}</strong>
            </li>
          ))}
        </ul>
      </Level>
      {phase === 'reducing' && <Level name={say('level3')} state="going" words={say('phase.reducing')} />}
      {!compact && (
        <div className={classes.figures}>
          <Figure name={say('total')}>{count(total)}</Figure>
          <Figure name={say('rate')}>
            {progress.per_second === null || progress.per_second === undefined
              ? averageRate(progress, startedAt, finishedAt)
              : count(Math.round(progress.per_second))}
          </Figure>
          <Figure name={say('remaining')}>
            {remaining === undefined ? '–' : say('about', { time: formatDuration(remaining) })}
          </Figure>
          <Figure name={say('elapsed')}>
            {!startedAt ? (
              '–'
            ) : finishedAt ? (
              <Duration of={Date.parse(finishedAt) - Date.parse(startedAt)} />
            ) : (
              <Elapsed since={startedAt} />
            )}
          </Figure>
        </div>
      )}
    </div>
  );
}

/** How fast an ended map was on the whole. */
function averageRate(progress: MapProgress, startedAt?: string | null, finishedAt?: string | null): string {
  if (!startedAt || !finishedAt) return '–';
  const seconds = (Date.parse(finishedAt) - Date.parse(startedAt)) / 1_000;
  return seconds > 0 ? count(Math.round(progress.done / seconds)) : '–';
}

function Level({
  name,
  state,
  words,
  children,
}: {
  name: string;
  state: 'waiting' | 'going' | 'done' | 'failed';
  words: string;
  children?: ReactNode;
}) {
  const Icon = { waiting: IconCircleDashed, going: IconLoader, done: IconCheck, failed: IconAlertTriangle }[state];
  return (
    <div className={classes.level}>
      <div className={classes.head}>
        <span className={classes.name} data-state={state}>
          <Icon size={15} stroke={2.2} /> {name}
        </span>
        <span className="num muted">{words}</span>
      </div>
      {children}
    </div>
  );
}

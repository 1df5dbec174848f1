import { IconAlarm, IconBell, IconFlag, IconPlayerPlay } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import type { RunDetail } from '#/api/queries';
import { useWords } from '#/i18n';
import { formatDuration } from '#/lib/duration';
import { isFinal, stateLooks } from '#/ui/state';
import { Duration, Elapsed, Lateness, Time } from '#/ui/time';
import classes from './timeline.module.css';
import { runWords } from './words';

interface Step {
  id: 'armed' | 'due' | 'started' | 'finished';
  at: string | null | undefined;
  /** Who did it, where that is worth a word. */
  by?: string | null | undefined;
  /** Between this step and the one before. */
  gap?: ReactNode;
}

const icons = { armed: IconBell, due: IconAlarm, started: IconPlayerPlay, finished: IconFlag };

/** The life of the attempt that is shown: armed, due, started, finished, with what lies between. */
export function Timeline({ run, attempt }: { run: RunDetail; attempt: number }) {
  const say = useWords(runWords);
  const tried = run.attempts.find((tried) => tried.attempt === attempt) ?? run.attempts.at(-1);
  if (!tried) return null;
  // The owner arms; so does a standby when it hears too little of the owner. The worker takes whichever comes first.
  const armed = run.timeline.find((entry) => entry.attempt === tried.attempt && entry.event === 'armed');
  const over = !tried.current || isFinal(run.state) || run.state === 'failed';
  const aheadBy = armed ? Date.parse(tried.due_at) - Date.parse(armed.at) : 0;
  const lateBy = tried.started_at ? Date.parse(tried.started_at) - Date.parse(tried.due_at) : undefined;

  const due: Step = { id: 'due', at: tried.due_at };
  const arming: Step[] = armed ? [{ id: 'armed', at: armed.at, by: armed.detail }] : [];
  // A run that is triggered is due first, and armed at once.
  const [first, second] = aheadBy >= 0 ? [...arming, due] : [due, ...arming];
  if (second) {
    const time = formatDuration(Math.abs(aheadBy));
    second.gap = say(aheadBy >= 0 ? 'gap_armed' : 'gap_armed_after', { time });
  }

  const steps: Step[] = [
    ...(first ? [first] : []),
    ...(second ? [second] : []),
    {
      id: 'started',
      at: tried.started_at,
      by: tried.started_at ? tried.worker?.name : undefined,
      gap:
        lateBy !== undefined ? (
          <>
            {say('gap_late')} <Lateness of={lateBy} />
          </>
        ) : !over ? (
          <Time at={tried.due_at} show="relative" />
        ) : undefined,
    },
    {
      id: 'finished',
      at: over ? tried.finished_at : undefined,
      gap: tried.started_at ? (
        over && tried.finished_at ? (
          <>
            {say('gap_ran')} <Duration of={Date.parse(tried.finished_at) - Date.parse(tried.started_at)} />
          </>
        ) : (
          <>
            {say('runs_now')} <Elapsed since={tried.started_at} />
          </>
        )
      ) : undefined,
    },
  ];

  const tone = stateLooks[run.state]?.tone ?? 'slate';
  return (
    <ol className={classes.timeline} aria-label={say('timeline')}>
      {steps.map((step, index) => {
        const Icon = icons[step.id];
        const reached = Boolean(step.at);
        const next = !reached && Boolean(steps[index - 1]?.at) && !over;
        return (
          <li
            key={step.id}
            className={classes.step}
            data-reached={reached}
            data-next={next}
            data-tone={step.id === 'finished' && tried.current ? tone : undefined}
          >
            {index > 0 && (
              <span className={classes.gap}>
                <span className={classes.gapText}>{step.gap}</span>
              </span>
            )}
            <span className={classes.dot}>
              <Icon size={15} stroke={2} />
            </span>
            <span className={classes.words}>
              <strong>{say(`step.${step.id}`)}</strong>
              {step.at ? (
                <>
                  <Time at={step.at} show="clock" />
                  {step.by && <span className={classes.by}>{say('by', { who: step.by })}</span>}
                </>
              ) : (
                <span className="muted">{over ? say('never') : say('not_yet')}</span>
              )}
            </span>
          </li>
        );
      })}
    </ol>
  );
}

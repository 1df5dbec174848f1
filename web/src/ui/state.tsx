import {
  IconBan,
  IconBellOff,
  IconCircleCheckFilled,
  IconCircleDashed,
  IconClockX,
  IconPlayerPlayFilled,
  IconPlayerSkipForwardFilled,
  IconSkull,
  IconXboxXFilled,
} from '@tabler/icons-react';
import type { ComponentType } from 'react';
import type { Schemas } from '#/api/client';
import { known, useWords } from '#/i18n';
import classes from './state.module.css';
import { uiWords } from './words';

export type RunState = Schemas['RunState'];

export const runStates: readonly RunState[] = [
  'planned',
  'running',
  'succeeded',
  'failed',
  'dead',
  'timed_out',
  'cancelled',
  'skipped',
  'missed',
];

/** Whether nothing more happens to a run in this state by itself. A failed one awaits its next attempt. */
export function isFinal(state: RunState): boolean {
  return state !== 'planned' && state !== 'running' && state !== 'failed';
}

/** A colour of the tokens. */
export type Tone = 'slate' | 'blue' | 'green' | 'red' | 'plum' | 'orange' | 'olive';

type Icon = ComponentType<{ size?: number | string; stroke?: number | string; className?: string }>;

/** Each state has an icon of its own outline, so that it is told without colour. */
export const stateLooks: Record<RunState, { tone: Tone; icon: Icon }> = {
  planned: { tone: 'slate', icon: IconCircleDashed },
  running: { tone: 'blue', icon: IconPlayerPlayFilled },
  succeeded: { tone: 'green', icon: IconCircleCheckFilled },
  failed: { tone: 'red', icon: IconXboxXFilled },
  dead: { tone: 'plum', icon: IconSkull },
  timed_out: { tone: 'orange', icon: IconClockX },
  cancelled: { tone: 'slate', icon: IconBan },
  skipped: { tone: 'olive', icon: IconPlayerSkipForwardFilled },
  missed: { tone: 'orange', icon: IconBellOff },
};

interface BadgeProps {
  tone: Tone;
  icon: Icon;
  children: string;
  title?: string;
}

/** An icon and a word in one tone. */
export function ToneBadge({ tone, icon: Icon, children, title }: BadgeProps) {
  return (
    <span className={classes.badge} data-tone={tone} title={title}>
      <Icon size={13} stroke={2.2} className={classes.icon} />
      {children}
    </span>
  );
}

/** The state of a run. */
export function StateBadge({ state, title }: { state: string; title?: string }) {
  const say = useWords(uiWords);
  const looks = stateLooks[state as RunState] ?? stateLooks.planned;
  const key = `state.${state}`;
  return (
    <ToneBadge tone={looks.tone} icon={looks.icon} title={title}>
      {known(uiWords, key) ? say(key) : state}
    </ToneBadge>
  );
}

/** What made a run. */
export function useTriggerName(): (trigger: string) => string {
  const say = useWords(uiWords);
  return (trigger) => {
    const key = `trigger.${trigger}`;
    return known(uiWords, key) ? say(key) : trigger;
  };
}

/** The short word of a reason. */
export function useReasonName(): (code: string) => string {
  const say = useWords(uiWords);
  return (code) => {
    const key = `reason.${code}`;
    return known(uiWords, key) ? say(key) : code;
  };
}

export interface Outcome {
  run: string;
  state: RunState;
  title?: string;
}

const TALL = 16;

/** The pixels of one bar and its gap: in a list, and where there is room. */
const STEP = 5;
const LARGE_STEP = 10;

const HEIGHTS: Partial<Record<RunState, number>> = { succeeded: 8, planned: 4, running: 14, skipped: 4, cancelled: 4 };

interface OutcomesProps {
  outcomes: readonly Outcome[];
  /** With the counts in words beside them. */
  large?: boolean;
}

/** The last outcomes as bars, newest right: tall is trouble, low is nothing done, so that colour is not needed. */
export function Outcomes({ outcomes, large = false }: OutcomesProps) {
  const say = useWords(uiWords);
  if (outcomes.length === 0) return <span className="muted">{say('no_outcomes')}</span>;
  const counts = new Map<RunState, number>();
  for (const { state } of outcomes) counts.set(state, (counts.get(state) ?? 0) + 1);
  const list = [...counts].map(([state, count]) => `${count} ${say(`state.${state}`)}`).join(', ');
  const scale = large ? LARGE_STEP / STEP : 1;
  const bars = (
    <svg
      className={classes.outcomes}
      role="img"
      aria-label={say('outcomes', { list })}
      viewBox={`0 0 ${outcomes.length * STEP} ${TALL}`}
      width={outcomes.length * STEP * scale}
      height={TALL * scale}
    >
      <title>{list}</title>
      {outcomes.map((outcome, index) => {
        const height = HEIGHTS[outcome.state] ?? TALL;
        return (
          <rect
            key={outcome.run}
            data-tone={stateLooks[outcome.state]?.tone ?? 'slate'}
            x={index * STEP}
            y={(TALL - height) / 2}
            width={3.5}
            height={height}
            rx={1}
          />
        );
      })}
    </svg>
  );
  if (!large) return bars;
  return (
    <div className={classes.large}>
      {bars}
      <span className="muted" aria-hidden>
        {list}
      </span>
    </div>
  );
}

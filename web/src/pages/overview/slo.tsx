import { IconAlertTriangle, IconCircleCheck, IconCircleX } from '@tabler/icons-react';
import type { Schemas } from '#/api/client';
import { useWords } from '#/i18n';
import { formatDuration, parseDuration } from '#/lib/duration';
import { count } from '#/lib/time';
import { Panel } from '#/ui/page';
import { ToneBadge } from '#/ui/state';
import classes from './page.module.css';
import { overviewWords } from './words';

/** Below this share of its budget an objective wants a look. */
const LOW = 0.25;

/** A share as people write it: no more nines than there are. */
export function percent(share: number): string {
  const text = (share * 100).toFixed(share > 0.999 && share < 1 ? 3 : 2);
  return `${text.replace(/\.?0+$/, '')}%`;
}

/** The objective for lateness with what is left of its budget. */
export function Slo({ slo }: { slo: Schemas['SloView'] }) {
  const say = useWords(overviewWords);
  const left = slo.budget_left;
  const time = (text: string) => formatDuration(parseDuration(text) ?? 0);
  return (
    <Panel
      title={say('slo')}
      actions={
        left < 0 ? (
          <ToneBadge tone="red" icon={IconCircleX}>
            {say('slo_over')}
          </ToneBadge>
        ) : left < LOW ? (
          <ToneBadge tone="orange" icon={IconAlertTriangle}>
            {say('slo_low')}
          </ToneBadge>
        ) : (
          <ToneBadge tone="green" icon={IconCircleCheck}>
            {say('slo_ok')}
          </ToneBadge>
        )
      }
    >
      <div className={classes.slo}>
        <div>
          <span className={`num ${classes.sloShare}`}>
            {slo.share === null || slo.share === undefined ? '–' : percent(slo.share)}
          </span>{' '}
          <span className="muted">{slo.total === 0 ? say('slo_none') : say('slo_good')}</span>
        </div>
        <div className="muted">
          {say('slo_text', {
            objective: percent(slo.objective),
            target: time(slo.target),
            window: time(slo.window),
          })}
        </div>
        <div>
          <div className={classes.sloHead}>
            <span>{say('slo_budget')}</span>
            <strong className="num">{percent(Math.max(left, -9.99))}</strong>
          </div>
          <div
            className={classes.sloBar}
            data-tone={left < 0 ? 'red' : left < LOW ? 'orange' : 'green'}
            role="meter"
            aria-label={say('slo_budget')}
            aria-valuemin={0}
            aria-valuemax={100}
            aria-valuenow={Math.round(Math.max(0, left) * 100)}
          >
            <span style={{ width: `${Math.max(0, Math.min(1, left)) * 100}%` }} />
          </div>
          <div className={`muted num ${classes.sloFoot}`}>
            {say('slo_spent', { spent: count(slo.spent), budget: count(Math.floor(slo.budget)) })}
          </div>
        </div>
      </div>
    </Panel>
  );
}

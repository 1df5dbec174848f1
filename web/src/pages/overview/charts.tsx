import type { Schemas } from '#/api/client';
import { useWords } from '#/i18n';
import { formatDuration, parseDuration } from '#/lib/duration';
import { count } from '#/lib/time';
import { Chart } from '#/ui/chart';
import classes from './page.module.css';
import { overviewWords } from './words';

type Overview = Schemas['Overview'];

/** What the window looked like, step by step. */
export default function Charts({ overview }: { overview: Overview }) {
  const say = useWords(overviewWords);
  const { points } = overview;
  const step = parseDuration(overview.step) ?? 60_000;
  // A bar stands over the middle of its step.
  const times = points.map((point) => (Date.parse(point.at) + step / 2) / 1000);
  const millis = (value: number | null | undefined) => (value === null || value === undefined ? null : value / 1000);
  // The newest step is not over: its end, and with it its bar, lies after now.
  const newest = points.at(-1);
  const to = Math.max(Date.parse(overview.to), newest ? Date.parse(newest.at) + step : 0);
  const range: [number, number] = [Date.parse(overview.from) / 1000, to / 1000];
  const days = range[1] - range[0] > 36 * 3600;
  return (
    <div className={classes.pair}>
      <Chart
        title={say('chart_runs_step', { step: formatDuration(step) })}
        kind="bars"
        days={days}
        range={range}
        series={[
          { label: say('succeeded'), colour: '--c-bar' },
          { label: say('failed'), colour: '--s-red' },
          { label: say('missed'), colour: '--s-orange' },
        ]}
        // Stacked: each series includes those that are drawn over it.
        data={[
          times,
          points.map((point) => point.succeeded + point.failed + point.missed),
          points.map((point) => point.failed + point.missed),
          points.map((point) => point.missed),
        ]}
        format={(value) => (Number.isInteger(value) ? count(value) : '')}
      />
      <Chart
        title={say('chart_lateness')}
        kind="lines"
        days={days}
        range={range}
        series={[
          { label: 'p50', colour: '--c-accent' },
          { label: 'p99', colour: '--s-orange', dash: [6, 3] },
          { label: say('chart_max'), colour: '--s-red', dash: [2, 3] },
        ]}
        data={[
          times,
          points.map((point) => millis(point.lateness_p50_us)),
          points.map((point) => millis(point.lateness_p99_us)),
          points.map((point) => millis(point.lateness_max_us)),
        ]}
        format={formatDuration}
      />
    </div>
  );
}
